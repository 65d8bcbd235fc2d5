"""The roles that parts play for each other, as Protocols: whoever fits the shape may play."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor
from torch.nn import Parameter

from heedful.models.table import Context, Evaluation, Table
from heedful.records.types import Prompt


@runtime_checkable
class Scorer(Protocol):
    """Judges text. It gets text and tokenizes it itself; None means "cannot be scored"."""

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[str], **columns: Sequence[Any]
    ) -> list[float | None]:
        """Return one number per completion; higher is better."""
        ...


@runtime_checkable
class Policy(Protocol):
    """Judges its own decisions again, with gradients."""

    def evaluate(self, table: Table) -> Evaluation:
        """Return log-probs, values and entropies [B, T] of the table's actions under the present weights."""
        ...

    def trainable(self) -> Iterable[tuple[str, Parameter]]:
        """Return the named parameters that an optimizer may change."""
        ...


@runtime_checkable
class Rollout(Protocol):
    """Plays episodes with the present policy: for text, answers prompts; for games, plays them."""

    def __call__(self, contexts: Context, seeds: Sequence[int]) -> Table:
        """Return one row per context; `seeds` gives each row its own random numbers."""
        ...


class Generator(Protocol):
    """Turns prompts into completions."""

    def generate(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[tuple[str, Tensor, bool]]:
        """Return text, tokens and whether the completion ended by itself."""
        ...
