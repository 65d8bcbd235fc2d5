"""The rounds of stage 1: critique, revision, and the next round from there, for many answers side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from heedful.engines.judging import Skipped
from heedful.engines.revisions.revision_gates import fault, unchanged, without_announcement
from heedful.engines.revisions.writing import ToWrite, Writer
from heedful.records.constitution import Constitution, Principle, draw
from heedful.records.formats import ASSISTANT, HUMAN
from heedful.records.layouts import MARKERS, conversation, critique_prompt, revision_example, revision_prompt
from heedful.records.seeds import derive_seed
from heedful.records.types import Completion, Prompt, Revision

_TURN = re.compile("|".join(map(re.escape, MARKERS)))
_REQUEST = re.compile("|".join(re.escape(marker) for marker in MARKERS if marker not in (HUMAN, ASSISTANT)))


@dataclass(frozen=True)
class Rounds:
    """How answers are revised.

    Args:
        principles: what is drawn from, for each round of each answer by itself.
        number: of rounds.
        examples: worked examples, as text.
        gates: the gates of form that hold: names of `revision_gates`.
        max_repetition: see there.
        constitution: its digest.
        seed: of all draws.
    """

    principles: tuple[Principle, ...]
    number: int
    examples: str
    gates: frozenset[str]
    max_repetition: float
    constitution: str
    seed: int


def worked_examples(constitution: Constitution, count: int) -> str:
    """Return the first `count` worked examples, one after another."""
    return "".join(map(revision_example, constitution.revisions[:count]))


def unforged(prompt: Prompt) -> Prompt:
    """Return a prompt in which no quoted turn marker is one: a space stands in it. Others stay as they are."""
    if isinstance(prompt, str):
        # a whole conversation as text is made of turns of people and assistants
        whole = conversation(prompt) == prompt
        return (_REQUEST if whole else _TURN).sub(_apart, prompt)
    return tuple(turn.model_copy(update={"content": _TURN.sub(_apart, turn.content)}) for turn in prompt)


def _apart(found: re.Match[str]) -> str:
    return found[0].replace("\n\n", "\n\n ", 1)


def revised(answers: Sequence[Completion], how: Rounds, writer: Writer) -> list[Revision]:
    """Return all rounds of these answers, answer by answer; each depends on the seed, the answer's id and its text alone."""
    now = [answer.completion for answer in answers]
    done: list[list[Revision]] = [[] for _ in answers]
    for number in range(1, how.number + 1):
        rows = [_Round(answer, text, number, how) for answer, text in zip(answers, now, strict=True)]
        critiques = writer.write([row.to_criticise() for row in rows])
        asked = [i for i, critique in enumerate(critiques) if isinstance(critique, str)]
        written = dict(
            zip(
                asked, writer.write([rows[i].to_revise(str(critiques[i])) for i in asked]) if asked else [], strict=True
            )
        )
        for i, row in enumerate(rows):
            found, goes_on = row.record(critiques[i], written.get(i), writer)
            done[i].append(found)
            if goes_on and found.revision is not None:
                now[i] = found.revision
    return [row for rows in done for row in rows]


class _Round:
    def __init__(self, answer: Completion, text: str, number: int, how: Rounds) -> None:
        self._answer, self._text, self._number, self._how = answer, text, number, how
        self._key = (how.seed, answer.id, number)
        (self._principle,) = draw(how.principles, derive_seed(*self._key, "principle"))[:1]
        self._asked = how.examples + conversation(unforged(answer.prompt))
        self._quoted = f" {_TURN.sub(_apart, text)}"

    def to_criticise(self) -> ToWrite:
        text = critique_prompt(self._asked, self._quoted, self._principle)
        return ToWrite(text, derive_seed(*self._key, "critique"))

    def to_revise(self, critique: str) -> ToWrite:
        text = revision_prompt(self._asked, self._quoted, self._principle, f" {critique}")
        return ToWrite(text, derive_seed(*self._key, "revision"))

    def record(self, critique: str | Skipped, written: str | Skipped | None, writer: Writer) -> tuple[Revision, bool]:
        """Return the round's record, and whether the next one starts from its revision."""
        skip = next((one for one in (critique, written) if isinstance(one, Skipped)), None)
        revision, prefixed, why = None, False, None if skip is None else f"{skip.kind}: {skip.detail}"
        if isinstance(written, str) and isinstance(critique, str):
            revision, prefixed, why = self._gated(written, critique)
        found = Revision(
            id=f"{self._answer.id}/r{self._number}",
            prompt_id=self._answer.prompt_id,
            prompt=self._answer.prompt,
            completion_id=self._answer.id,
            round=self._number,
            answer=self._text,
            principle=self._principle.name,
            critique=critique if isinstance(critique, str) else None,
            revision=revision,
            skipped=why,
            prefixed=prefixed,
            by=writer.name,
            version=writer.version,
            constitution=self._how.constitution,
        )
        return found, why in (None, "unchanged")

    def _gated(self, written: str, critique: str) -> tuple[str, bool, str | None]:
        gates = self._how.gates
        text, prefixed = without_announcement(written) if "prefix" in gates else (written, False)
        why = fault(text, self._text, critique, gates=gates, max_repetition=self._how.max_repetition)
        if why == "empty":
            return text, prefixed, "prefix" if prefixed else "empty"
        if why is not None:
            return text, prefixed, why
        return text, prefixed, "unchanged" if "unchanged" in gates and unchanged(text, self._text) else None
