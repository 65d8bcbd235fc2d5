"""Judges whose verdicts are known: one applies a function, one obeys whatever it reads outside quoted answers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from heedful.engines.judging import Answered, Asked, Skipped
from heedful.records.layouts import read_options

_ORDER = re.compile(r"(?:answer is|choose|best response is):? *\(?([AB])\)?")


class ScriptedJudge:
    """Gives log-probs by a function of the two answers that a question quotes.

    Args:
        margin: (A's text, B's text) to log P(A) - log P(B), or the reason of a skip.
    """

    name, version = "scripted", "1"

    def __init__(self, margin: Callable[[str, str], float | Skipped]) -> None:
        self._margin = margin
        self.asked: list[Asked] = []

    def answer(self, asked: Sequence[Asked]) -> list[Answered | Skipped]:
        """Return log-probs that are normalised, and differ by the margin."""
        self.asked += asked
        return [self._one(one) for one in asked]

    def _one(self, asked: Asked) -> Answered | Skipped:
        margin = self._margin(*read_options(asked.text))
        if isinstance(margin, Skipped):
            return margin
        return Answered(logprobs=(-math.log1p(math.exp(-margin)), -math.log1p(math.exp(margin))))


class EchoJudge(ScriptedJudge):
    """The most gullible judge there can be: what stands outside the quoted answers and names a letter is its verdict.

    Else it decides by its margin. A quoted answer that breaks out of its quotes therefore rules.
    """

    def _one(self, asked: Asked) -> Answered | Skipped:
        order = _ORDER.search(outside_quotes(asked.text))
        if order is None:
            return super()._one(asked)
        return Answered(logprobs=(-0.01, -5.0) if order[1] == "A" else (-5.0, -0.01))


def outside_quotes(text: str) -> str:
    """Return a question without what stands between its longest brackets."""
    fence = max((len(run) for run in re.findall(r"\[+", text)), default=0)
    return re.sub(re.escape("[" * fence) + ".*?" + re.escape("]" * fence), "", text, flags=re.DOTALL) if fence else text
