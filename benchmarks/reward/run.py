"""make bench-reward: reward models on real labels, beside TRL 1.16 and beside simple rules.

    python benchmarks/reward/run.py [--only hh kwise ...] [--trial 12]
Every training is a process of its own and one file in `rows/`; what is finished is not done again. `--trial N` takes the first N
prompts (pairs) of one fold, writes to `work/trial/` and prints; it measures nothing worth keeping.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from benchmarks.results import NO_TARGET, publish, row  # noqa: E402
from benchmarks.reward import sources  # noqa: E402
from benchmarks.reward.intervals import auc, bootstrap, calibration, mean, right  # noqa: E402
from benchmarks.reward.unit import EPOCHS, LR, MAX_TOKENS, PAIRS, prompt_of, split  # noqa: E402
from benchmarks.speed.environment import rival_python  # noqa: E402

WORK = HERE / "work"
COMMAND = "make bench-reward"
WHEELS = ["torch==2.13.0", "transformers==5.23.0", "trl==1.16.0", "peft", "datasets", "psutil"]
OURS, RIVAL = "ours", "trl"
Rows = list[dict[str, Any]]


class Units:
    """Trainings of one part: run where they are missing, read where they are there.

    Args:
        trial: only the first so many prompts of fold 0; None is the real thing.
    """

    def __init__(self, trial: int | None) -> None:
        self._trial = trial
        self.folder = HERE / "rows" if trial is None else WORK / "trial"
        self.folds = list(range(sources.FOLDS)) if trial is None else [0]

    def of(self, part: str, arms: Sequence[str], folds: Sequence[int] | None = None) -> dict[str, Rows]:
        """Return the results of each arm, fold by fold; arms take turns, so that both see the same machine."""
        found: dict[str, Rows] = defaultdict(list)
        for fold in self.folds if folds is None else folds:
            for arm in arms:
                found[arm].append(self._one(part, fold, arm))
        return found

    def _one(self, part: str, fold: int, arm: str) -> dict[str, Any]:
        out = self.folder / f"{part}-{fold}-{arm}.json"
        if not out.is_file() or self._trial is not None:
            print(f"{part}, fold {fold}, {arm}", flush=True)
            command = self._rival(part, fold) if arm == RIVAL else self._unit(part, fold, arm)
            subprocess.run(
                [*command, "--out", str(out)], check=True, env={**os.environ, "TOKENIZERS_PARALLELISM": "false"}
            )
        result: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return result

    def _unit(self, part: str, fold: int, arm: str) -> list[str]:
        limit = [] if self._trial is None else ["--limit", str(self._trial)]
        return [sys.executable, str(HERE / "unit.py"), "--part", part, "--fold", str(fold), "--arm", arm, *limit]

    def _rival(self, part: str, fold: int) -> list[str]:
        from heedful.models.backbones import Reading, load_backbone

        backbone = load_backbone(sources.encoder(), Reading(max_tokens=MAX_TOKENS))
        sides = split(sources.hh_pairs(self._trial), fold, prompt_of)
        tokens = [
            [
                {"prompt": str(p.prompt)}
                | {s: backbone.read(p.prompt, getattr(p, s)).tokens for s in ("chosen", "rejected")}
                for p in side
            ]
            for side in sides
        ]
        settings = {"encoder": sources.encoder(), "epochs": EPOCHS, "pairs": PAIRS, "lr": LR, "seed": fold}
        path = WORK / f"{part}-{fold}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings | {"train": tokens[0], "test": tokens[1]}), encoding="utf-8")
        return [str(rival_python(WORK / "trl116", WHEELS)), str(HERE / "rival.py"), "--pairs", str(path)]


def pooled(results: Rows, name: str) -> list[list[Any]]:
    """Return the rows of all folds, column by column."""
    return [list(column) for column in zip(*(one for result in results for one in result[name]), strict=True)]


def ratio(results: dict[str, Rows], above: str, below: str, figure: str) -> tuple[float, float, float]:
    """Return the median over folds of one arm's figure over the other's, with the least and the greatest."""
    found = [a[figure] / b[figure] for a, b in zip(results[above], results[below], strict=True)]
    return statistics.median(found), min(found), max(found)


def hh(units: Units) -> Rows:
    """Our reward model beside TRL's RewardTrainer: accuracy, its difference, time and memory."""
    results = units.of("hh", [OURS, RIVAL])
    rows, hits = [], {}
    for arm in (OURS, RIVAL):
        prompts, chosen, rejected = pooled(results[arm], "scores")
        hits[arm] = right(chosen, rejected)
        rows.append(
            row(
                f"hh_rlhf, accuracy, {arm}",
                *bootstrap(mean(hits[arm]), prompts),
                "share",
                NO_TARGET,
                len(prompts),
                COMMAND,
            )
        )
    lead = bootstrap(mean(100 * (hits[OURS] - hits[RIVAL])), prompts)
    rows.append(row("hh_rlhf, accuracy, ours - TRL", *lead, "points", "interval > -2", len(prompts), COMMAND))
    for figure, unit in (("seconds", "time"), ("peak_mib", "peak memory")):
        found = ratio(results, OURS, RIVAL, figure)
        rows.append(row(f"hh_rlhf, {unit}, ours / TRL", *found, "ratio", "<= 0.7", len(units.folds), COMMAND))
    return [*rows, *levels(results, "hh_rlhf")]


def levels(results: dict[str, Rows], label: str) -> Rows:
    """Return the medians of seconds (on the clock, of the processor) and memory of each arm, with the least and greatest fold."""
    rows = []
    for arm, found in results.items():
        for figure, unit in (("seconds", "s"), ("processor_seconds", "s"), ("peak_mib", "MiB")):
            values = [result[figure] for result in found if figure in result]
            if values:
                spread = statistics.median(values), min(values), max(values)
                rows.append(row(f"{label}, {figure}, {arm}", *spread, unit, NO_TARGET, len(values), COMMAND))
    return rows


def hate(units: Units) -> Rows:
    """The classifier on HateCheck: AUC, and the share of each functionality that it gets right at P = 1/2."""
    results = units.of("hate", [OURS], folds=[0])
    templates, functionalities, chances, hateful = pooled(results[OURS], "rows")
    found = bootstrap(auc(chances, hateful), templates)
    rows = [row("hatecheck, ROC-AUC of hateful", *found, "AUC", NO_TARGET, len(chances), COMMAND)]
    for functionality in sorted(set(functionalities)):
        inside = [i for i, name in enumerate(functionalities) if name == functionality]
        hits = [float((chances[i] > 0.5) == hateful[i]) for i in inside]
        share = bootstrap(mean(hits), [templates[i] for i in inside])
        kind = "hateful" if hateful[inside[0]] else "not hateful"
        rows.append(row(f"hatecheck, {functionality} ({kind})", *share, "share right", NO_TARGET, len(hits), COMMAND))
    return rows


def kwise(units: Units) -> Rows:
    """Three ways to learn from the same rankings: accuracy on all pairs of held-out prompts, and seconds."""
    arms = ["pairwise", "plackett_luce", "all_pairs"]
    results = units.of("kwise", arms)
    rows, hits = [], {}
    for arm in arms:
        prompts, chosen, rejected = pooled(results[arm], "scores")
        hits[arm] = right(chosen, rejected)
        found = bootstrap(mean(hits[arm]), prompts)
        rows.append(row(f"real_toxicity, accuracy, {arm}", *found, "share", NO_TARGET, len(prompts), COMMAND))
    for arm in arms[1:]:
        lead = bootstrap(mean(100 * (hits[arm] - hits["pairwise"])), prompts)
        rows.append(
            row(f"real_toxicity, accuracy, {arm} - pairwise", *lead, "points", NO_TARGET, len(prompts), COMMAND)
        )
    return [*rows, *levels(results, "real_toxicity")]


def truth(units: Units) -> Rows:
    """The truth scorer beside a bag of words, split by question."""
    results = units.of("truth", [OURS, "words"])
    columns = {arm: pooled(results[arm], "rows") for arm in (OURS, "words")}
    questions, _, labels = columns[OURS]
    of = {arm: auc(columns[arm][1], labels) for arm in columns}
    n = len(labels)
    rows = [row(f"truthful_qa, AUC, {arm}", *bootstrap(of[arm], questions), "AUC", NO_TARGET, n, COMMAND) for arm in of]
    lead = bootstrap(lambda places: of[OURS](places) - of["words"](places), questions)
    rows.append(row("truthful_qa, AUC, ours - bag of words", *lead, "AUC", "interval > 0", n, COMMAND))
    return [*rows, *levels(results, "truthful_qa")]


def noise(units: Units) -> Rows:
    """Soft targets beside hard labels on generated votes of known noise: calibration against the true P, and accuracy."""
    results = units.of("noise", ["soft", "hard"])
    columns = {arm: pooled(results[arm], "rows") for arm in ("soft", "hard")}
    prompts, _, true_p = columns["soft"]
    n = len(prompts)
    error = {arm: calibration(columns[arm][1], true_p) for arm in columns}
    better = [1.0 if p > 0.5 else -1.0 for p in true_p]
    hits = {
        arm: right([b * lead for b, lead in zip(better, columns[arm][1], strict=True)], [0.0] * n) for arm in columns
    }
    label = "generated votes of known noise on real_toxicity"
    rows = []
    for arm in columns:
        rows.append(
            row(f"{label}, calibration error, {arm}", *bootstrap(error[arm], prompts), "share", NO_TARGET, n, COMMAND)
        )
        rows.append(
            row(f"{label}, accuracy, {arm}", *bootstrap(mean(hits[arm]), prompts), "share", NO_TARGET, n, COMMAND)
        )
    gap = bootstrap(lambda places: error["soft"](places) - error["hard"](places), prompts)
    rows.append(row(f"{label}, calibration error, soft - hard", *gap, "share", "interval < 0", n, COMMAND))
    lead = bootstrap(mean(hits["soft"] - hits["hard"]), prompts)
    rows.append(row(f"{label}, accuracy, soft - hard", *lead, "share", "interval > -0.01", n, COMMAND))
    return rows


PARTS: dict[str, Callable[[Units], Rows]] = {"hh": hh, "hate": hate, "kwise": kwise, "truth": truth, "noise": noise}


def main() -> None:
    """Measure what is asked for, part by part; each part's rows are written as soon as it is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--trial", type=int, help="only so many prompts of one fold; nothing is kept")
    args = parser.parse_args()
    units = Units(args.trial)
    for name in args.only:
        found = PARTS[name](units)
        publish((HERE if args.trial is None else WORK / "trial") / "results.json", name, found)


if __name__ == "__main__":
    main()
