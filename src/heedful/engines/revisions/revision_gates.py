"""Gates for revisions: what is no revision, or not worth learning from, by its text alone; and announcements taken off."""

from __future__ import annotations

import re
from collections.abc import Collection

from heedful.numerics.repetition import seq_rep_of

_OPENING = r"(?:(?:sure|certainly|of course|okay|ok|absolutely)[,.!]?\s+)?"
_KIND = r"(?:revis|rewrit|improv|updat|edit|correct|alternativ|new)\w*"
_ANNOUNCED = re.compile(
    rf"{_OPENING}(?:here(?:'s|\u2019s| is)|this is|(?=(?:a|an|the|my)\s+{_KIND}))\s*(?:(?:a|an|the|my|one)\s+)?(?:\w+\s+){{0,2}}?"
    rf"{_KIND}\b[^:\n]{{0,60}}(?P<end>:\s*|\n+|$)",
    re.IGNORECASE,
)
_REVIEWS = re.compile(
    r"(?:(?:the|this)\s+)?(?:(?:assistant|ai|model)(?:'s|\u2019s)?\s+(?:\w+\s+)?(?:response|answer|reply)\b|"
    r"(?:response|answer|reply)\s+(?:is|was|could|should)\b|(?:assistant|ai|model)\s+(?:should|could|says|said)\b)",
    re.IGNORECASE,
)
_SPEAKS = re.compile(r"^\s*(?:Human|Assistant|CritiqueRequest|Critique|RevisionRequest|Revision)\s*:", re.MULTILINE)


def without_announcement(text: str) -> tuple[str, bool]:
    """Return a revision without "Here is a revised response:" and the like before it, and whether that stood there.

    Only an announcement that ends in a colon or fills its line is taken off.
    """
    found = _ANNOUNCED.match(text)
    return (text, False) if found is None else (text[found.end() :].strip(), True)


def fault(revision: str, answer: str, critique: str, *, gates: Collection[str], max_repetition: float) -> str | None:
    """Return why the chain cannot go on from a revision: "empty", "role_confusion", "collapsed", or None.

    Args:
        gates: the faults that count; an empty text always does.
        revision: without its announcement.
        answer: what it revises; a fault that this has too is not the revision's.
        critique: what it follows.
        max_repetition: share of repeated 4-grams of words above which a text has collapsed.
    """
    if not re.search(r"\w", revision):
        return "empty"
    if "role_confusion" in gates and _confused(revision, answer, critique):
        return "role_confusion"
    if "collapsed" in gates and seq_rep_of(revision) > max_repetition:
        return "collapsed"
    return None


def _confused(revision: str, answer: str, critique: str) -> bool:
    if _same(revision, critique) or _SPEAKS.search(revision):
        return True
    return bool(_REVIEWS.match(revision)) and not _REVIEWS.match(answer)


def unchanged(revision: str, answer: str) -> bool:
    """Return whether two texts differ in nothing but blanks."""
    return _same(revision, answer)


def _same(one: str, other: str) -> bool:
    return one.split() == other.split()
