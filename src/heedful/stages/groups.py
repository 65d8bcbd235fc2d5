"""What stages share: groups of settings (the optimizer, the adapter), and the name of a generated world."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from heedful.errors import ConfigError
from heedful.stages.spec import Beta, StageConfig


def check_world(name: str) -> None:
    """Raise ConfigError where no generated world has this name; names the nearest."""
    from heedful.worlds import get_world

    try:
        get_world(name)
    except ConfigError as error:
        raise ConfigError(f"world: {error}") from None


class OptimizerGroup(StageConfig):
    """AdamW with warm-up; weight decay on matrices only."""

    lr: float = Field(default=1e-4, gt=0)
    """Learning rate at its highest."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """How it falls to 0 after the warm-up."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of all optimizer steps over which the learning rate rises."""
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Decay of the moments."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the second moment's root."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""
    max_grad_norm: float | None = Field(default=1.0, gt=0)
    """Gradients are clipped to this norm once per optimizer step."""


class LoraGroup(StageConfig):
    """A low-rank adapter instead of full fine-tuning."""

    r: int = Field(default=16, ge=1)
    """Rank of the adapter."""
    alpha: float = Field(default=32.0, gt=0)
    """The adapter's update is scaled by alpha / r."""
    targets: str | list[str] = "all-linear"
    """Names of the linear layers that carry the adapter, or "all-linear"."""
