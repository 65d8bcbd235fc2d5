"""The teacher that learning from pairs and learning from rankings share: lessons, a loss over them, held-out pairs to judge by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor

from heedful.engines.fitting import Fit, Unit
from heedful.engines.rewards.ensembling import member_draws
from heedful.engines.rewards.heldout_pairs import HeldoutPairs
from heedful.models.roles import L, Learner
from heedful.records.types import Record

STAGE = "reward"
Draws = Sequence[Sequence[float]]
"""Per member, how often it sees each lesson."""


class Lesson(Protocol):
    """What is learnt in one piece."""

    @property
    def unit(self) -> Unit:
        """The lesson as the fitting loop sees it."""
        ...


Piece = TypeVar("Piece", bound=Lesson)


class ComparisonTeacher(Generic[Piece]):
    """Fits a reward model to lessons and judges it on held-out pairs.

    Args:
        lessons: a model to what it learns from, its texts read as it reads them.
        loss_sum: the model, lessons, and how often each member sees them, to the sum of their losses in nats.
        heldout: the pairs to judge by.
        learnt: what is counted of the lessons, by name.
        resample: every member of an ensemble learns from a bootstrap of the lessons of its own.
    """

    def __init__(
        self,
        lessons: Callable[[Learner], Sequence[Piece]],
        loss_sum: Callable[[Learner, Sequence[Piece], Draws], Tensor],
        heldout: HeldoutPairs,
        learnt: Mapping[str, Any],
        *,
        resample: bool,
        seed: int,
    ) -> None:
        self._lessons = lessons
        self._loss_sum = loss_sum
        self._heldout = heldout
        self._learnt = learnt
        self._resample = resample
        self._seed = seed

    def job(self, model: Learner) -> Fit:
        """Return what the fitting loop needs."""
        lessons = self._lessons(model)
        draws = member_draws(len(model.heads), len(lessons), resample=self._resample, seed=self._seed)

        def loss_sum(part: list[int]) -> Tensor:
            return self._loss_sum(model, [lessons[i] for i in part], draws[:, part].tolist())

        units = [lesson.unit for lesson in lessons]
        return Fit(STAGE, list(model.parameters()), units, loss_sum, lambda: self._heldout.measure(model))

    def finished(self, model: L) -> L:
        """Nothing is fitted after the weights."""
        return model

    def settled(self, model: L) -> L:
        """Return the model with the temperature that makes the held-out votes most likely."""
        return self._heldout.tempered(model)

    def judge(self, model: Learner) -> dict[str, Any]:
        """Return how much was learnt from, and what `HeldoutPairs` measures."""
        return {**self._learnt, **self._heldout.judge(model)}

    def scored(self, model: Learner) -> Iterator[Record]:
        """Yield the held-out pairs with both scores in `meta`."""
        return self._heldout.scored(model)
