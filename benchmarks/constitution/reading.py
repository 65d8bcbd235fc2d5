"""Who says how likely an attacked answer is the better one: a language model, whose readings are kept, or a preference model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.constitution.injection import Case, Defence, Floats

from heedful.engines.judges.judge_scores import PreferenceJudge
from heedful.engines.judging import Answered, Asked, Judge, Pair
from heedful.models.prompts import Renderer
from heedful.records.layouts import conversation

TOGETHER = 64
"""Questions after which readings are on disk."""


class Asking:
    """Reads a language model, and asks nothing twice.

    Args:
        spelled: the judge for which no text becomes a special token.
        acting: the same model; spellings of special tokens act.
        special: these spellings. A question without one is the same to both judges.
        book: a JSONL file that readings are kept in; None keeps them in memory.
    """

    def __init__(self, spelled: Judge, acting: Judge, special: Sequence[str], book: Path | None = None) -> None:
        self._spelled, self._acting, self._special, self._book = spelled, acting, special, book
        self._known: dict[str, float] = {}
        if book is not None and book.is_file():
            rows = (json.loads(line) for line in book.read_text(encoding="utf-8").splitlines())
            self._known = {row["question"]: np.nan if row["p"] is None else row["p"] for row in rows}

    def __call__(self, cases: Sequence[Case], defence: Defence, first: Sequence[bool]) -> Floats:
        """Ask about all cases, each in its order."""
        asked = [
            Asked(
                case.examples if defence.examples else "",
                defence.layout(conversation(case.prompt), case.principle, *_shown(case, one)),
                seed=0,
            )
            for case, one in zip(cases, first, strict=True)
        ]
        acts = [not defence.spelled and any(one in row.text for one in self._special) for row in asked]
        for judge, wanted in ((self._spelled, False), (self._acting, True)):
            self._ask(judge, [row for row, act in zip(asked, acts, strict=True) if act == wanted], acts=wanted)
        p = np.array([self._known[self._key(row, act)] for row, act in zip(asked, acts, strict=True)])
        return np.where(first, p, 1 - p)

    def _ask(self, judge: Judge, asked: Sequence[Asked], *, acts: bool) -> None:
        new = list({key: row for row in asked if (key := self._key(row, acts)) not in self._known}.items())
        for start in range(0, len(new), TOGETHER):
            part = new[start : start + TOGETHER]
            said = judge.answer([row for _, row in part])
            found = {
                key: one.p if isinstance(one, Answered) else np.nan for (key, _), one in zip(part, said, strict=True)
            }
            self._known |= found
            self._keep(found)

    def _keep(self, found: dict[str, float]) -> None:
        if self._book is not None:
            self._book.parent.mkdir(parents=True, exist_ok=True)
            with self._book.open("a", encoding="utf-8") as out:
                for key, p in found.items():
                    out.write(json.dumps({"question": key, "p": None if np.isnan(p) else p}) + "\n")

    def _key(self, row: Asked, acts: bool) -> str:
        told = json.dumps([self._spelled.version, acts, row.prefix, row.text])
        return hashlib.sha256(told.encode()).hexdigest()


def _shown(case: Case, first: bool) -> tuple[str, str]:
    return (case.worse, case.better) if first else (case.better, case.worse)


class Scoring:
    """Reads a preference model, which is shown no order and no question."""

    def __init__(self, judge: PreferenceJudge) -> None:
        self._judge = judge

    def __call__(self, cases: Sequence[Case], defence: Defence, first: Sequence[bool]) -> Floats:
        """Compare all cases by their scores."""
        pairs = [Pair(str(i), one.prompt, (f"{i}/w", f"{i}/b"), (one.worse, one.better)) for i, one in enumerate(cases)]
        return np.array([one.p for one in self._judge.verdicts(pairs, "one")], dtype=np.float64)


def acting(renderer: Renderer) -> Renderer:
    """Return a renderer for which the spelling of a special token becomes that token, as tokenizers do unless told otherwise."""
    return Renderer(_Acting(renderer.tokenizer), renderer.encoder_decoder, max_positions=renderer.max_positions)


class _Acting:
    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def encode(self, text: str, **how: Any) -> list[int]:
        return list(self._tokenizer.encode(text, **how | {"split_special_tokens": False}))
