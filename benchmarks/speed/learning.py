"""Do both sides learn the same? Five seeds each of our PPO and of TRL's: held-out reward against KL and against time.

    python benchmarks/speed/run.py --only learning

One fine-tuned model, one reward model, one set of prompts and settings, fp32 on both sides, one run at a time, the sides in turn. The
learning rate is the rival's best of three on prompts and a seed of their own, and ours is the same. The clock holds training alone.
One examiner judges both sides' weights (`learning_exam.py`). What stays different is the algorithm: our value head stands on the
policy's trunk and starts at 0, TRL's has a model of its own that starts as the reward model; our old log-probs come from a forward,
TRL's from its sampler; TRL puts the score one token behind the end. Our rollout scores the text, with its tokens made anew and EOS
behind it; TRL and the examiner score the sampled tokens. The estimator of KL (k1) and the whitening (Bessel) are TRL's on both sides,
and no side clips gradients, since TRL does not. Every run is kept in `rows/`, and an interrupted part goes on.
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
from benchmarks.speed.duel import Pace, environment
from benchmarks.speed.environment import rival_python
from benchmarks.speed.learning_curves import (
    Curve,
    Point,
    geometric_interval,
    lead_at_equal_kl,
    t_interval,
    time_share,
)
from benchmarks.speed.learning_side import EVERY, LOG, ROWS, checkpoint

HERE = Path(__file__).resolve().parent
COMMAND = "make bench-speed ARGS='--only learning'"
SEEDS = (1, 2, 3, 4, 5)
TUNING_SEED = 101
RATES = (1e-4, 3e-4, 1e-3)
ITERATIONS = 30
LONGER = 1.5
"""We go on for so many times the rival's episodes, for the time to its last reward; what is read at equal KL ends with its episodes."""
OURS, RIVAL = "ours", "trl"
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

    def length(self, side: str) -> int:
        """Iterations of a run of this side."""
        return int(self.iterations * LONGER) if side == OURS else self.iterations


def learning(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Run what is not there yet; return the figures. The picture lies beside them."""
    plan = Plan(HERE / "work", HERE / "rows")
    started = time.monotonic()
    build(plan)
    start = examined(plan, "heldout", plan.rows / "learning-start.jsonl", [None])[0]
    lr = tuned(plan)
    found: dict[str, list[list[Record]]] = {OURS: [], RIVAL: []}
    for number, seed in enumerate(SEEDS):
        for side in (OURS, RIVAL):
            found[side].append(trained(plan, side, lr, seed, "heldout"))
        print(f"seed {number + 1} of {len(SEEDS)} done after {time.monotonic() - started:.0f} s", flush=True)
    curves = {side: [curve(start, records) for records in runs] for side, runs in found.items()}
    equal = [curve(start, [r for r in run if r["iteration"] <= plan.iterations]) for run in found[OURS]]
    plot(curves, start["spread"], HERE / "learning.svg")
    return figures(curves, equal, start, lr, plan.iterations * plan.batch) + paces(found)


def build(plan: Plan) -> None:
    """Make the models where they are not there yet."""
    command = [sys.executable, str(HERE / "learning_models.py"), "--out", str(plan.models)]
    subprocess.run(command + (["--prompts", str(plan.prompts)] if plan.prompts else []), check=True)


def command(plan: Plan, side: str, folder: Path, lr: float, seed: int) -> list[str]:
    """Return the command of a run."""
    python = Path(sys.executable) if side == OURS else rival_python(plan.work / "trl112")
    settings = {
        "models": plan.models,
        "out": folder,
        "seed": seed,
        "lr": lr,
        "iterations": plan.length(side),
        "every": plan.every,
        "rows": plan.batch,
    }
    script = HERE / ("learning_ours.py" if side == OURS else "learning_rival.py")
    return [str(python), str(script), *(text for k, v in settings.items() for text in (f"--{k}", str(v)))]


def trained(plan: Plan, side: str, lr: float, seed: int, part: str) -> list[Record]:
    """Return the examined checkpoints of a run, from its file where it is complete; else train and examine it."""
    path = plan.rows / f"learning-{side}-{lr:g}-{seed}-{part}.jsonl"
    known = read(path)
    if known and known[-1]["iteration"] == plan.length(side):
        return known
    folder = plan.work / "runs" / path.stem
    log = folder / LOG
    if not (log.is_file() and len(read(log)) == plan.length(side)):
        train(plan, side, folder, lr, seed)
    steps = [line for line in read(log) if line["kept"]]
    weights = [checkpoint(folder, line["iteration"]) for line in steps]
    records = examined(plan, part, path, weights, steps)
    shutil.rmtree(folder)
    last = records[-1]
    print(f"{path.stem}: {last['seconds']:.0f} s, reward {last['reward']:.2f}, KL {last['kl']:.1f} nats", flush=True)
    return records


def train(plan: Plan, side: str, folder: Path, lr: float, seed: int) -> None:
    """Run one training, with a look at the machine's pace before and after it.

    Raises:
        SystemExit: it failed; the end of what it wrote is told.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    told, pace = folder / "told.log", Pace()
    before = pace.milliseconds()
    with told.open("w", encoding="utf-8") as file:
        run = subprocess.run(
            command(plan, side, folder, lr, seed), stdout=file, stderr=subprocess.STDOUT, env=environment()
        )
    if run.returncode:
        raise SystemExit(f"{side}, seed {seed}: failed:\n{told.read_text(encoding='utf-8', errors='replace')[-2000:]}")
    paces = [before, pace.milliseconds()]
    lines = [line | {"pace": paces} for line in read(folder / LOG)]
    (folder / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def examined(
    plan: Plan, part: str, path: Path, weights: Sequence[Path | None], steps: Sequence[Record] = ({"iteration": 0},)
) -> list[Record]:
    """Return the marks of checkpoints beside what their run told of them; kept in `path`, whole or not at all."""
    known = read(path)
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


def read(path: Path) -> list[Record]:
    """Return the lines of a file; none where there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def tuned(plan: Plan) -> float:
    """Return the rate at which the rival ends best: reward less KL cost, on the prompts that are kept for choices."""
    from benchmarks.speed.learning_side import KL_COEF

    ends = {}
    for lr in RATES:
        last = trained(plan, RIVAL, lr, TUNING_SEED, "tune")[-1]
        ends[lr] = last["reward"] - KL_COEF * last["kl"]
        print(f"TRL, rate {lr:g}: reward less KL cost {ends[lr]:.3f} on the tuning prompts", flush=True)
    return max(ends, key=lambda lr: ends[lr])


def curve(start: Record, records: Sequence[Record]) -> list[Point]:
    """Return a run as a curve."""
    return [Point(0.0, start["reward"], 0.0)] + [Point(r["seconds"], r["reward"], r["kl"]) for r in records]


def figures(
    curves: dict[str, list[list[Point]]], equal: Sequence[Curve], start: Record, lr: float, episodes: int
) -> list[dict[str, Any]]:
    """Return the rows: the two figures of the check, and the levels behind them."""
    spread, count = start["spread"], len(curves[RIVAL])
    leads = [lead_at_equal_kl(ours, rival) for ours, rival in zip(equal, curves[RIVAL], strict=True)]
    shares = [time_share(ours, rival) for ours, rival in zip(curves[OURS], curves[RIVAL], strict=True)]
    lead = t_interval([value / spread for value, _ in leads])
    told = f"learning, rate {lr:g}, {episodes} episodes"
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
        rows.append(row(f"learning: a fixed matmul around the runs, {side}", *spread_of(seen, "ms"), len(seen), COMMAND))
    return rows


def plot(curves: dict[str, list[list[Point]]], spread: float, path: Path) -> None:
    """Draw every seed's held-out reward against KL and against time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    looks = {OURS: ("#1f5fa8", "ours", "-"), RIVAL: ("#b5541c", "TRL 1.12.0", "--")}
    for panel, (name, label) in zip(panels, (("kl", "KL from the start, nats per answer"), ("seconds", "time, s")), strict=True):
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
