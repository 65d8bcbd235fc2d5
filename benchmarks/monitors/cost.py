"""What watching costs: the seconds of the monitors' own work in a run, over all of its seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.monitors.failures import Variant
from benchmarks.monitors.starts import reward_model
from benchmarks.monitors.trial import run_trial

from heedful.engines.aligning import AlignmentRun


def cost_shares(seed: int) -> float:
    """Return the share of a run's time that the monitors take, with a reward model whose states they watch, without gold."""
    spent = [0.0]

    def timed(work: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            began = time.perf_counter()
            try:
                return work(*args)
            finally:
                spent[0] += time.perf_counter() - began

        return wrapped

    def plant(run: AlignmentRun) -> None:
        run.watch.after_rollout = timed(run.watch.after_rollout)  # type: ignore[method-assign]
        run.watch._monitors.look = timed(run.watch._monitors.look)  # type: ignore[method-assign]

    found = run_trial(seed, Variant(plant=plant, reward=reward_model))
    return spent[0] / float(found["seconds"])
