"""What a finished run says about the monitors: was the right alert raised, how late, and how much gold was lost by then."""

from __future__ import annotations

from typing import Any

import numpy as np
from benchmarks.monitors.failures import Failure, Variant

Run = dict[str, Any]
GOLD_ZERO = -3.0
"""The least that gold can say; gold reward is counted from here, so that a share of it means something."""
FALLEN = 0.1
KEPT = ("alerts", "rows", "gold", "symptom", "seconds")
"""Of a run in `rows/`, so that other thresholds can be tried without running it again."""
SMOOTH = 3
"""Iterations whose gold is averaged: the mean of one has a standard error of about 0.1."""


def judged(run: Run, failure: Failure, variant: Variant) -> dict[str, Any]:
    """Return what counts of a run with a planted failure."""
    right = [alert for alert in run["alerts"] if alert["monitor"] in failure.right]
    begun = onset(run, variant)
    first = right[0] if right else None
    found: dict[str, Any] = {"right": bool(right), "begun": bool(right) or begun is not None}
    found |= {"onset": begun, "monitor": None, "iteration": None, "delay": None}
    if first is not None:
        at = first["iteration"]
        found |= {"monitor": first["monitor"], "iteration": at, "in_time": in_time(run["gold"], at)}
        found["delay"] = 0 if begun is None else max(0, at - begun)
    others = {alert["monitor"] for alert in run["alerts"]} - set(failure.right)
    kept = {name: run[name] for name in KEPT}
    return {**found, "others": sorted(others), "iterations": len(run["gold"]), **kept}


def onset(run: Run, variant: Variant) -> int | None:
    """Return the iteration in which a failure began: switched on, or grown beyond the start; None where it never did."""
    if variant.switched is not None:
        return variant.switched
    symptom = run["symptom"]
    return next((i for i, value in enumerate(symptom) if value >= symptom[0] + variant.grown), None)


def in_time(gold: list[float], at: int) -> bool:
    """Return whether gold had not yet fallen a tenth below its peak at an iteration (else the last one, if the run ended in it)."""
    if not gold:
        return True
    heights = smoothed(gold) - GOLD_ZERO
    at = min(at, len(heights) - 1)
    return bool(heights[at] >= (1 - FALLEN) * heights[: at + 1].max())


def smoothed(values: list[float], window: int = SMOOTH) -> np.ndarray:
    """Return trailing means; the first ones of fewer values."""
    return np.array([np.mean(values[max(0, i + 1 - window) : i + 1]) for i in range(len(values))])


def counted(run: Run) -> dict[str, Any]:
    """Return what counts of a healthy run: how often it was warned, and whether it was ended."""
    ends = [alert for alert in run["alerts"] if alert["action"] != "warn"]
    warned = [f"{alert['monitor']} {alert['iteration']}" for alert in run["alerts"] if alert["action"] == "warn"]
    return {"stopped": bool(ends), "warnings": len(warned), **{name: run[name] for name in KEPT}}
