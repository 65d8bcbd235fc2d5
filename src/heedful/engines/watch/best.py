"""The best checkpoint of a run: the weights at the highest gold reward, else at the highest score while all monitors were quiet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

Named = Iterable[tuple[str, Parameter]]


class BestCheckpoint:
    """A copy of the trainable weights, on the CPU, taken before the update of the iteration that was best so far.

    Args:
        by: the column that is compared, `gold_mean` or `score_mean`.
    """

    def __init__(self, by: str) -> None:
        self.by = by
        self.iteration: int | None = None
        self.value: float | None = None
        self._weights: dict[str, Tensor] = {}

    def offer(self, iteration: int, row: Mapping[str, float], quiet: bool, weights: Named) -> None:
        """Take the weights where the row is the best so far; the first one is always taken."""
        value = row.get(self.by)
        if value is None or (self.value is not None and (value <= self.value or not quiet)):
            return
        self.iteration, self.value = iteration, value
        self._weights = {name: parameter.detach().cpu().clone() for name, parameter in weights}

    def restore_into(self, weights: Named) -> None:
        """Write the best weights, bit for bit, over the present ones."""
        with torch.no_grad():
            for name, parameter in weights:
                parameter.copy_(self._weights[name])

    def state(self) -> dict[str, Any]:
        """Return what JSON can hold; the weights are in `tensors`."""
        return {"iteration": self.iteration, "value": self.value}

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights."""
        return dict(self._weights)

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go on from a state."""
        self.iteration, self.value = state["iteration"], state["value"]
        self._weights = dict(tensors)
