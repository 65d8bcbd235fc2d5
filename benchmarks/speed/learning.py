"""Do both sides learn the same? Five seeds each of our PPO and of TRL's: held-out reward against KL and against time.

    python benchmarks/speed/run.py --only learning

One fine-tuned model, one reward model, one set of prompts and settings, fp32 on both sides, one run at a time, the
sides in turn. The learning rate is the rival's best of three on prompts and a seed of their own, and ours is the same.
The clock holds training alone. One examiner judges both sides' weights (`learning_exam.py`). What stays different is
the algorithm: our value head stands on the policy's trunk and starts at 0, TRL's has a model of its own that starts as
the reward model; our old log-probs come from a forward, TRL's from its sampler; TRL puts the score one token behind the
end. Our rollout scores the text, with its tokens made anew and EOS behind it; TRL and the examiner score the sampled
tokens. Rate, batch, epochs, clip ranges, KL coefficient, gamma, lambda, temperature, EOS penalty and whitening are the
same; TRL has k1 for the KL and never clips gradients, and whether we do so too is chosen (`CHOICES`). Every run is kept
in `rows/`, and an interrupted part goes on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import NO_TARGET, row
from benchmarks.speed.duel import Pace, environment, kept
from benchmarks.speed.environment import rival_python
from benchmarks.speed.learning_curves import (
    Curve,
    Point,
    geometric_interval,
    lead_at_equal_kl,
    t_interval,
    time_share,
)
from benchmarks.speed.learning_side import EVERY, KL_COEF, LOG, ROWS, checkpoint

HERE = Path(__file__).resolve().parent
COMMAND = "make bench-speed ARGS='--only learning'"
SEEDS = (1, 2, 3, 4, 5)
TUNING_SEED = 101
RATES = (1e-4, 3e-4, 1e-3)
CHOICES = {
    "as-trl": (),
    "own": ("--max-grad-norm", "1", "--kl-estimator", "exact"),
    "own-half-value": ("--max-grad-norm", "1", "--kl-estimator", "exact", "--value-weight", "0.05"),
}
"""What we may choose for ourselves at the rival's rate, where the rival had the choice of the rate: as many tries each."""
ITERATIONS = 30
LONGER = 1.5
"""We go on for so many times the rival's episodes, for the time to its last reward; what is read at equal KL ends with them."""
OURS, RIVAL = "ours", "trl"
DONE = "done"
"""Stands beside a log that is complete."""
Record = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """Where things lie and how long runs are; `prompts` limits each part in a trial."""

    work: Path
    rows: Path
    iterations: int = ITERATIONS
    every: int = EVERY
    batch: int = ROWS
    prompts: int | None = None

    @property
    def models(self) -> Path:
        """The models of this check."""
        return self.work / "learning"

    def length(self, side: str, part: str) -> int:
        """Iterations of a run of this side; runs to choose by have the rival's episodes on both sides."""
        return int(self.iterations * LONGER) if (side, part) == (OURS, "heldout") else self.iterations


def learning(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Run what is not there yet; return the figures. The picture lies beside them."""
    plan = Plan(HERE / "work", HERE / "rows")
    started = time.monotonic()
    build(plan)
    start = examined(plan, "heldout", plan.rows / "learning-start.jsonl", [None])[0]
    lr = tuned_rate(plan)
    choice = tuned_choice(plan, lr)
    found: dict[str, list[list[Record]]] = {OURS: [], RIVAL: []}
    for number, seed in enumerate(SEEDS):
        for side in (OURS, RIVAL):
            found[side].append(trained(plan, Run(side, lr, seed, "heldout", choice if side == OURS else "")))
        print(f"seed {number + 1} of {len(SEEDS)} done after {time.monotonic() - started:.0f} s", flush=True)
    curves = {side: [curve(start, records) for records in runs] for side, runs in found.items()}
    equal = [curve(start, [r for r in run if r["iteration"] <= plan.iterations]) for run in found[OURS]]
    plot(curves, start["spread"], HERE / "learning.svg")
    told = f"learning, rate {lr:g}, ours {choice}, {plan.iterations * plan.batch} episodes"
    return figures(curves, equal, start, told) + paces(found)


def build(plan: Plan) -> None:
    """Make the models where they are not there yet."""
    command = [sys.executable, str(HERE / "learning_models.py"), "--out", str(plan.models)]
    subprocess.run(command + (["--prompts", str(plan.prompts)] if plan.prompts else []), check=True)


@dataclass(frozen=True)
class Run:
    """One training: `part` is what it is examined on, `choice` one of `CHOICES` (ours alone)."""

    side: str
    lr: float
    seed: int
    part: str
    choice: str = ""

    @property
    def name(self) -> str:
        """Name of its files."""
        return "-".join(filter(None, ("learning", self.side, self.choice, f"{self.lr:g}", str(self.seed), self.part)))


def command(plan: Plan, run: Run, folder: Path) -> list[str]:
    """Return the command of a run."""
    python = Path(sys.executable) if run.side == OURS else rival_python(plan.work / "trl112")
    settings = {
        "models": plan.models,
        "out": folder,
        "seed": run.seed,
        "lr": run.lr,
        "iterations": plan.length(run.side, run.part),
        "every": plan.every,
        "rows": plan.batch,
    }
    script = HERE / ("learning_ours.py" if run.side == OURS else "learning_rival.py")
    told = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    return [str(python), str(script), *told, *CHOICES.get(run.choice, ())]


def trained(plan: Plan, run: Run) -> list[Record]:
    """Return the examined checkpoints of a run, from its file where it is there; else train and examine it."""
    path = plan.rows / f"{run.name}.jsonl"
    length = plan.length(run.side, run.part)
    known = kept(path)
    if known and known[-1]["iteration"] == length:
        return known
    path.unlink(missing_ok=True)  # of runs of another length
    folder = plan.work / "runs" / run.name
    log = folder / LOG
    if not ((folder / DONE).is_file() and len(kept(log)) == length):
        train(plan, run, folder)
    steps = [line for line in kept(log) if line["kept"]]
    weights = [checkpoint(folder, line["iteration"]) for line in steps]
    records = examined(plan, run.part, path, weights, steps)
    shutil.rmtree(folder)
    last = records[-1]
    print(f"{run.name}: {last['seconds']:.0f} s, reward {last['reward']:.2f}, KL {last['kl']:.1f} nats", flush=True)
    return records


def train(plan: Plan, run: Run, folder: Path) -> None:
    """Train, with a look at the machine's pace before and after it.

    Raises:
        SystemExit: it failed; the end of what it wrote is told.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    told, pace = folder / "told.log", Pace()
    before = pace.milliseconds()
    with told.open("w", encoding="utf-8") as file:
        done = subprocess.run(command(plan, run, folder), stdout=file, stderr=subprocess.STDOUT, env=environment())
    if done.returncode:
        raise SystemExit(f"{run.name} failed:\n{told.read_text(encoding='utf-8', errors='replace')[-2000:]}")
    paces = [before, pace.milliseconds()]
    lines = [line | {"pace": paces} for line in kept(folder / LOG)]
    (folder / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (folder / DONE).touch()


def examined(
    plan: Plan, part: str, path: Path, weights: Sequence[Path | None], steps: Sequence[Record] = ({"iteration": 0},)
) -> list[Record]:
    """Return the marks of checkpoints beside what their run told of them; kept in `path`, whole or not at all."""
    known = kept(path)
    if len(known) == len(weights):
        return known
    from benchmarks.speed.learning_exam import Examiner

    examiner = Examiner(plan.models, part)
    records = [step | asdict(examiner.examine(one)) for one, step in zip(weights, steps, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".tmp")
    beside.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    beside.replace(path)
    return records


def tuned_rate(plan: Plan) -> float:
    """Return the rate at which the rival ends best."""
    return best({lr: Run(RIVAL, lr, TUNING_SEED, "tune") for lr in RATES}, plan)


def tuned_choice(plan: Plan, lr: float) -> str:
    """Return the choice with which we end best at that rate."""
    return best({choice: Run(OURS, lr, TUNING_SEED, "tune", choice) for choice in CHOICES}, plan)


def best(runs: dict[Any, Run], plan: Plan) -> Any:
    """Return whose run ends with the most reward less KL cost, on the prompts that are kept for choices."""
    ends = {}
    for key, run in runs.items():
        last = trained(plan, run)[-1]
        ends[key] = last["reward"] - KL_COEF * last["kl"]
        print(f"{run.name}: reward less KL cost {ends[key]:.3f}", flush=True)
    return max(ends, key=lambda key: ends[key])


def curve(start: Record, records: Sequence[Record]) -> list[Point]:
    """Return a run as a curve."""
    return [Point(0.0, start["reward"], 0.0)] + [Point(r["seconds"], r["reward"], r["kl"]) for r in records]


def figures(
    curves: dict[str, list[list[Point]]], equal: Sequence[Curve], start: Record, told: str
) -> list[dict[str, Any]]:
    """Return the rows: the two figures of the check, and the levels behind them."""
    spread, count = start["spread"], len(curves[RIVAL])
    leads = [lead_at_equal_kl(ours, rival) for ours, rival in zip(equal, curves[RIVAL], strict=True)]
    shares = [time_share(ours, rival) for ours, rival in zip(curves[OURS], curves[RIVAL], strict=True)]
    lead = t_interval([value / spread for value, _ in leads])
    rows = [
        row(
            f"{told}: held-out reward at equal KL, ours less TRL's",
            *lead,
            "sd of the fine-tuned model's score",
            "interval > -0.1",
            count,
            COMMAND,
        ),
        row(
            f"{told}: time to TRL's last reward, ours / TRL",
            *geometric_interval(shares),
            "share",
            "<= 0.3333",
            count,
            COMMAND,
        ),
        row("learning: the KL at which both were read", *spread_of([kl for _, kl in leads]), count, COMMAND),
        row("learning: the fine-tuned model's reward", start["reward"], None, None, "reward", NO_TARGET, 1, COMMAND),
        row("learning: its sd over answers", spread, None, None, "reward", NO_TARGET, 1, COMMAND),
    ]
    for side, runs in ((OURS, equal), (RIVAL, curves[RIVAL])):
        for name, unit in (("reward", "reward"), ("kl", "nats per answer"), ("seconds", "s")):
            ends = [float(getattr(run[-1], name)) for run in runs]
            rows.append(row(f"{told}: {side} {name} at the end", *spread_of(ends, unit), count, COMMAND))
    return rows


def spread_of(values: Sequence[float], unit: str = "nats per answer") -> tuple[float, float, float, str, str]:
    """Return median, least and greatest, unit, and that there is no bar."""
    return statistics.median(values), min(values), max(values), unit, NO_TARGET


def paces(found: dict[str, list[list[Record]]]) -> list[dict[str, Any]]:
    """Return how fast the machine was around the runs of each side: a fixed matmul, so that a disturbed hour is seen."""
    rows = []
    for side, runs in found.items():
        seen = [pace for run in runs for pace in run[-1]["pace"]]
        rows.append(
            row(f"learning: a fixed matmul around the runs, {side}", *spread_of(seen, "ms"), len(seen), COMMAND)
        )
    return rows


def plot(curves: dict[str, list[list[Point]]], spread: float, path: Path) -> None:
    """Draw every seed's held-out reward against KL and against time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    looks = {OURS: ("#1f5fa8", "ours", "-"), RIVAL: ("#b5541c", "TRL 1.12.0", "--")}
    for panel, (name, label) in zip(
        panels, (("kl", "KL from the start, nats per answer"), ("seconds", "time, s")), strict=True
    ):
        for side, runs in curves.items():
            color, called, line = looks[side]
            for number, run in enumerate(runs):
                across = [getattr(point, name) for point in run]
                up = [point.reward for point in run]
                panel.plot(across, up, line, marker="o", ms=3, lw=1, color=color, label=None if number else called)
        panel.set_xlabel(label)
        panel.grid(True, alpha=0.2)
    panels[0].set_ylabel(f"held-out reward (sd at the start: {spread:.2f})")
    panels[0].legend(frameon=False, title=f"{len(curves[RIVAL])} seeds each")
    figure.savefig(path, format="svg", metadata={"Date": None})
