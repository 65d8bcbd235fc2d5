"""Where metrics go: metrics.jsonl always; TensorBoard or wandb where asked, under the names of TRL's trainers.

metrics.jsonl uses our glossary's names. People come with dashboards made for TRL, so the writers translate.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import JsonValue

from heedful.engines.progress import say
from heedful.errors import ConfigError, HealthError
from heedful.records.artifacts import Workspace

TRL_NAMES = {
    "score_mean": "objective/scores",
    "kl_estimate": "objective/kl",
    "rollout_entropy": "objective/entropy",
    "reward_mean": "objective/rlhf_reward",
    "entropy": "policy/entropy_avg",
    "approx_kl": "policy/approxkl_avg",
    "clip_fraction": "policy/clipfrac_avg",
    "policy_loss": "loss/policy_avg",
    "value_loss": "loss/value_avg",
    "value_clip_fraction": "val/clipfrac_avg",
    "ratio_mean": "val/ratio",
    "episodes_per_second": "eps",
    "lr": "lr",
    "iteration": "iteration",
    "loss": "train/loss",
    "grad_norm": "train/grad_norm",
    "epoch": "train/epoch",
}
"""Our name to TRL's; what has no counterpart goes under `heed/`. TRL's `objective/kl` is the sampled (k1) sum per sequence."""
VARIABLE = "HEED_TRACKER"
"""The environment variable behind `heed run --tracker`."""
STEPS = ("iteration", "optimizer_step")
"""What a row is numbered by: the first of these that it has."""
HEADLINE = ("score_mean", "kl_per_sequence", "entropy", "length_mean")
"""What the terminal shows of an iteration."""


@contextlib.contextmanager
def tracked_by(name: str | None) -> Iterator[None]:
    """Let every MetricWriter that is made inside the block write to this tracker too; None leaves it to the environment."""
    before = os.environ.get(VARIABLE)
    try:
        if name is not None:
            os.environ[VARIABLE] = name
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before


class Tracker(Protocol):
    """Something that draws curves."""

    def write(self, metrics: Mapping[str, float], step: int) -> None:
        """Take the metrics of one step."""

    def close(self) -> None:
        """Write what is left."""


class MetricWriter:
    """Writes each row of metrics to the workspace, and to the tracker that HEED_TRACKER names; closes it at the end of a `with`.

    A tracker draws, it changes no number; so it is no setting of a stage, and another one makes nothing run again.

    Args:
        out: its `metrics.jsonl` gets every row.

    Raises:
        ConfigError: the tracker is unknown, or its library is not installed.
    """

    def __init__(self, out: Workspace) -> None:
        self._out = out
        self._tracker = _open(os.environ.get(VARIABLE) or "none", out.path)

    def __enter__(self) -> MetricWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, row: Mapping[str, float]) -> None:
        """Log one row and show its headline.

        Raises:
            HealthError: a metric is not finite; the row is not logged.
        """
        for name, value in row.items():
            if isinstance(value, float) and not math.isfinite(value):
                message = f"{name} is {value} at {_place(row)}; a finite number was expected"
                raise HealthError(message, metric=name)
        self._out.log({**row})
        if self._tracker is not None:
            self._tracker.write(to_trl_names(row), step=_step(row))
        if "iteration" in row:
            say(headline(row))

    def close(self) -> None:
        """Close the tracker."""
        if self._tracker is not None:
            self._tracker.close()


def to_trl_names(row: Mapping[str, JsonValue]) -> dict[str, float]:
    """Return the numbers of a row under TRL's names; the others keep ours, under `heed/`. TRL's `non_score_reward` is derived."""
    numbers = {name: float(value) for name, value in row.items() if isinstance(value, int | float)}
    named = {TRL_NAMES.get(name) or _part_name(name): value for name, value in numbers.items()}
    if "kl_coef" in numbers and "kl_estimate" in numbers:
        named["objective/non_score_reward"] = -numbers["kl_coef"] * numbers["kl_estimate"]
    return named


def _part_name(name: str) -> str:
    """What GRPOTrainer calls the metric of one reward function among several; any other name of ours goes under `heed/`."""
    metric, _, part = name.partition(".")
    kind = {"score_mean": "mean", "score_sd": "std"}.get(metric)
    return f"rewards/{part}/{kind}" if part and kind else f"heed/{name}"


def headline(row: Mapping[str, float]) -> str:
    """Return the line that people read while it runs."""
    shown = ", ".join(f"{name} {row[name]:.3f}" for name in HEADLINE if name in row)
    return f"{_place(row)}: {shown}" if shown else _place(row)


def _place(row: Mapping[str, float]) -> str:
    name = next((name for name in STEPS if name in row), "row")
    return f"{name.replace('_', ' ')} {_step(row)}"


def _step(row: Mapping[str, float]) -> int:
    return next((int(row[name]) for name in STEPS if name in row), 0)


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ConfigError(_missing("tensorboard")) from None
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"))

    def write(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, folder: Path) -> None:
        try:
            import wandb
        except ImportError:
            raise ConfigError(_missing("wandb")) from None
        # The id is the artifact's digest, so a run that goes on after a kill goes on in the same curves.
        self._run: Any = wandb.init(project="heedful", id=folder.stem, resume="allow", dir=str(folder))

    def write(self, metrics: Mapping[str, float], step: int) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        self._run.finish()


def _open(tracker: str, folder: Path) -> Tracker | None:
    match tracker:
        case "none":
            return None
        case "tensorboard":
            return _TensorBoard(folder)
        case "wandb":
            return _Wandb(folder)
    raise ConfigError(f"{VARIABLE}={tracker}: no such tracker; 'none', 'tensorboard' or 'wandb' was expected")


def _missing(library: str) -> str:
    return f'{VARIABLE}={library}: {library} is not installed; run: pip install "heedful[{library}]"'
