"""What watching costs: the processor seconds of the monitors' own work, over those of the whole training loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.monitors.failures import Variant
from benchmarks.monitors.starts import reward_model
from benchmarks.monitors.trial import run_trial

from heedful.engines.aligning import AlignmentRun


def cost_share(seed: int) -> float:
    """Return the share of a run's time that the monitors take, with a reward model whose states they watch, without gold."""
    spent = {"watching": 0.0, "loop": 0.0}

    def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            began = time.process_time()
            try:
                return work(*args)
            finally:
                spent[name] += time.process_time() - began

        return wrapped

    def plant(run: AlignmentRun) -> None:
        run.watch.after_rollout = timed("watching", run.watch.after_rollout)  # type: ignore[method-assign]
        run.watch._monitors.look = timed("watching", run.watch._monitors.look)  # type: ignore[method-assign]
        run.loop = timed("loop", run.loop)  # type: ignore[method-assign]

    run_trial(seed, Variant(plant=plant, reward=reward_model))
    return spent["watching"] / spent["loop"]
