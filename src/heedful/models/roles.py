"""The roles that parts play for each other, as Protocols: whoever fits the shape may play."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, runtime_checkable

from torch import Tensor
from torch.nn import Parameter

from heedful.models.table import Context, Evaluation, Table
from heedful.records.types import Prompt

if TYPE_CHECKING:
    from heedful.models.backbones import Backbone, Text
    from heedful.models.heads import ScalarHead
    from heedful.models.sequence_classifier import Scale


@runtime_checkable
class Scorer(Protocol):
    """Judges text. It gets text and tokenizes it itself; None means "cannot be scored"."""

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[str], **columns: Sequence[Any]
    ) -> list[float | None]:
        """Return one number per completion; higher is better."""
        ...


class Preferring(Scorer, Protocol):
    """A scorer that knows what a lead in score means."""

    def probability_better(self, leads: Sequence[float]) -> list[float]:
        """Return P(the first completion is better) in [0, 1] for leads of one completion's score over another's."""
        ...


class Learner(Scorer, Protocol):
    """A scorer that can be taught: a reward model, or an ensemble of them with M members."""

    backbone: Backbone
    heads: list[ScalarHead]
    scale: Scale

    def parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield the named parameters that may be trained."""
        ...

    def raw(self, texts: Sequence[Text]) -> Tensor:
        """Return one number per text and member [B, M] (of a classifier two, [B, 2 M]), before any scale, with gradients where they
        are on."""
        ...

    def raw_batched(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> Tensor:
        """Return `raw` for many texts, in their order; no gradients."""
        ...

    def combined(self, members: Tensor) -> Tensor:
        """Return one number [N] per text from those of the members [N, M]."""
        ...

    def scaled(self, scale: Scale) -> Self:
        """Return the same scorer with this scale."""
        ...

    def tempered(self, spread: float) -> Self:
        """Return the same scorer, whose lead of `spread` reward units means odds of e to 1."""
        ...

    def probability_unwanted(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[float]:
        """Return P(unwanted class) in [0, 1]; DataError where it has no classes."""
        ...


L = TypeVar("L", bound=Learner)


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
