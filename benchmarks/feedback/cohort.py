"""A thousand labelers, a million rankings: time and memory of the flags, the agreement, alpha, accuracy, the consensus.

python benchmarks/feedback/cohort.py     prints one line of JSON; a process of its own, so that its peak is its own
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from heedful.numerics.cohorts import AnswerBlock, Cohort, cohort_agreement, cohort_alpha
from heedful.numerics.kemeny import consensus_levels
from heedful.numerics.one_coin import labeler_accuracy
from heedful.numerics.reliability import find_unreliable

LABELERS = 1000
RANKINGS = 1_000_000
OVERLAP, COMPLETIONS = 3, 4
BAD = {"random": 50, "reversed": 20, "as displayed": 30}
"""How many labelers of each kind there are; the first numbers."""
NOISE = 0.87


def main() -> None:
    """Measure each part after the other, in one process."""
    started = time.perf_counter()
    cohort = simulated(LABELERS, RANKINGS)
    ready, before = time.perf_counter() - started, peak()
    parts: dict[str, Callable[[], Any]] = {
        "flags": lambda: find_unreliable(cohort, seed=0),
        "agreement": lambda: [cohort_agreement(cohort, convention, seed=0) for convention in ("S1", "S2")],
        "alpha": lambda: cohort_alpha(cohort),
        "accuracy of labelers (one coin)": lambda: labeler_accuracy(cohort),
        "consensus": lambda: [consensus_levels(block.levels) for block in cohort.blocks],
    }
    found: dict[str, Any] = {"seconds": {}, "peak_mb": {}, "input_mb": before, "simulation_s": ready}
    for name, part in parts.items():
        started = time.perf_counter()
        result = part()
        found["seconds"][name] = time.perf_counter() - started
        found["peak_mb"][name] = peak()
        if name == "flags":
            found |= outcome(result)
    print(json.dumps(found))


def outcome(tests: dict[str, Any]) -> dict[str, int]:
    """Return how many bad labelers were flagged, and how many others."""
    bad = {name(number) for number in range(sum(BAD.values()))}
    flagged = {labeler for labeler, test in tests.items() if test.flagged}
    return {"bad_flagged": len(flagged & bad), "bad": len(bad), "careful_flagged": len(flagged - bad)}


def simulated(labelers: int, rankings: int) -> Cohort:
    """Return a cohort in which the first labelers are bad, by `BAD`."""
    rng = np.random.default_rng(0)
    tasks = rankings // OVERLAP
    who = distinct(rng, tasks, labelers)
    shown = rng.random((tasks, OVERLAP, COMPLETIONS), dtype=np.float32).argsort(axis=2).astype(np.int8)
    noise = rng.normal(size=(tasks, OVERLAP, COMPLETIONS)).astype(np.float32)
    seen = rng.normal(size=(tasks, 1, COMPLETIONS)).astype(np.float32) + np.float32(NOISE) * noise
    kind = np.repeat([0, 1, 2, 3], [*BAD.values(), labelers - sum(BAD.values())])[who][..., None]
    seen = np.select([kind == 0, kind == 1, kind == 2], [noise, -seen, -shown.astype(np.float32)], seen)
    levels = (-seen).argsort(axis=2).argsort(axis=2).astype(np.int8)
    return Cohort(tuple(name(number) for number in range(labelers)), (AnswerBlock(who, levels, shown),))


def distinct(rng: np.random.Generator, tasks: int, labelers: int) -> NDArray[np.int64]:
    """Return different labelers for every task; a task that drew one twice draws again."""
    who = np.sort(rng.integers(0, labelers, size=(tasks, OVERLAP)), axis=1)
    while (again := (np.diff(who, axis=1) == 0).any(axis=1)).any():
        who[again] = np.sort(rng.integers(0, labelers, size=(int(again.sum()), OVERLAP)), axis=1)
    return who


def name(number: int) -> str:
    """Return a labeler's name, in the order of numbers."""
    return f"labeler-{number:05d}"


def peak() -> float:
    """Return the most memory this process has held, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
