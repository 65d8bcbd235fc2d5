"""The refusal detector on answers of models it has not learned from: XSTest's completions, one model family left out at a time."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from heedful.models.refusals import KINDS, Kind, RefusalDetector
from heedful.numerics.statistics import Estimate, clustered_mean

FAMILIES = {
    "gpt4": "GPT-4",
    "llama2new": "Llama 2",
    "llama2orig": "Llama 2",
    "mistralguard": "Mistral with guard prompt",
    "mistralinstruct": "Mistral",
}
"""File to model family; both files of Llama 2 are one. Mistral's differ in the system prompt alone: `STRICT` joins them too."""
STRICT = {**FAMILIES, "mistralguard": "Mistral"}
LABELS: dict[str, Kind] = {"1_full_compliance": "none", "3_partial_refusal": "partial", "2_full_refusal": "full"}
SEED = 5


class Labeled(NamedTuple):
    """An answer and the kind of its request, with what two people, and they together, call it."""

    file: str
    topic: str
    prompt: str
    answer: str
    people: tuple[Kind, Kind]
    kind: Kind


def rows(data: Path) -> list[Labeled]:
    """Return all labeled answers."""
    found = []
    for file in FAMILIES:
        with (data / "xstest" / f"xstest_v2_completions_{file}.csv").open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                people = (LABELS[row["annotation_1"]], LABELS[row["annotation_2"]])
                found.append(
                    Labeled(file, row["type"], row["prompt"], row["completion"], people, LABELS[row["final_label"]])
                )
    return found


def left_out(answers: Sequence[Labeled], families: Mapping[str, str]) -> list[Kind]:
    """Return what the detector calls each answer, having learned from the other families only."""
    said: list[Kind] = ["none"] * len(answers)
    for family in dict.fromkeys(families.values()):
        inside = [i for i, row in enumerate(answers) if families[row.file] == family]
        others = [row for row in answers if families[row.file] != family]
        detector = RefusalDetector.fit([row.answer for row in others], [row.kind for row in others])
        for i, kind in zip(inside, detector.kinds([answers[i].answer for i in inside]), strict=True):
            said[i] = kind
    return said


def accuracy(answers: Sequence[Labeled], said: Sequence[Kind]) -> Estimate:
    """Return how often full refusal against not is right; its interval resamples prompts."""
    right = [(kind == "full") == (row.kind == "full") for kind, row in zip(said, answers, strict=True)]
    return clustered_mean(np.array(right, dtype=float), [row.prompt for row in answers], seed=SEED)


def agreement(answers: Sequence[Labeled]) -> float:
    """Return how often the two people agree on full refusal against not."""
    return sum((row.people[0] == "full") == (row.people[1] == "full") for row in answers) / len(answers)


def by_kind_of_error(answers: Sequence[Labeled], said: Sequence[Kind], families: Mapping[str, str]) -> str:
    """Return, per family, how many answers are full refusals and are not, and what the wrong ones are, as a Markdown table."""
    lines = [
        "| left out | full | called otherwise | not full | partial called full | none called full |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for family in dict.fromkeys(families.values()):
        counts: Counter[tuple[Kind, bool]] = Counter(
            (row.kind, kind == "full") for row, kind in zip(answers, said, strict=True) if families[row.file] == family
        )
        whole = counts["full", True] + counts["full", False]
        cells = (whole, counts["full", False], counts.total() - whole, counts["partial", True], counts["none", True])
        lines.append(f"| {family} | " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


_CANNOT = re.compile(
    r"^\W*(?:(?:i'm )?sorry|i apologi[sz]e|unfortunately)?\W*(?:but )?(?:as an ai[^,.]*, )?"
    r"(?:i )?(?:can(?:'t|not)|am unable|do(?:n't| not) have|(?:'m|am) not able)",
    re.IGNORECASE,
)


def conventions(answers: Sequence[Labeled]) -> str:
    """Return what people call answers that begin with "I cannot" to one kind of requests, by family, as a Markdown table."""
    lines = ["| family | people: full | people: partial | people: none |", "| --- | --- | --- | --- |"]
    asked = [row for row in answers if "privacy" in row.topic and _CANNOT.match(row.answer.replace("\u2019", "'"))]
    for family in dict.fromkeys(FAMILIES.values()):
        counts = Counter(row.kind for row in asked if FAMILIES[row.file] == family)
        lines.append(f"| {family} | {counts['full']} | {counts['partial']} | {counts['none']} |")
    return "\n".join(lines)


def confusion(answers: Sequence[Labeled], said: Sequence[Kind]) -> str:
    """Return the confusion matrix as a Markdown table."""
    counts = Counter((row.kind, kind) for row, kind in zip(answers, said, strict=True))
    lines = [
        "| people say | " + " | ".join(f"detector: {kind}" for kind in KINDS) + " |",
        "| --- |" + " --- |" * len(KINDS),
    ]
    lines += [f"| {kind} | " + " | ".join(str(counts[kind, other]) for other in KINDS) + " |" for kind in KINDS]
    return "\n".join(lines)
