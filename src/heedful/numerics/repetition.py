"""How far completions repeat: themselves, and each other. Words are lower-cased and split on white space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

Phrase = str
"""Some words, joined by single blanks."""


def seq_rep(texts: Sequence[str], n: int = 4) -> float:
    """Return the mean share of n-grams that a text says again, in [0, 1]; a text with fewer words repeats nothing.

        seq-rep-n = 1 - |unique n-grams| / |n-grams|

    Source: Welleck et al. 2019, arXiv:1908.04319, section 6.
    """
    return sum(seq_rep_of(text, n) for text in texts) / len(texts) if texts else 0.0


def seq_rep_of(text: str, n: int = 4) -> float:
    """Return the share of one text's n-grams that it had said before."""
    grams = _grams(text, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def phrase_shares(texts: Sequence[str], *, longest: int = 4, least: float = 0.0) -> dict[Phrase, float]:
    """Return the share of texts that hold each phrase of 1 to `longest` words, in (0, 1].

    Args:
        texts: completions.
        longest: words in a phrase at most.
        least: rarer phrases are left out.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update({" ".join(gram) for n in range(1, longest + 1) for gram in _grams(text, n)})
    return {phrase: count / len(texts) for phrase, count in counts.items() if count >= least * len(texts)}


def most_spread(before: Mapping[Phrase, float], now: Mapping[Phrase, float]) -> tuple[Phrase, float]:
    """Return the phrase whose share of the texts grew most, the longer one in a draw, and by how much; ("", 0.0) if none grew."""
    growth = {phrase: share - before.get(phrase, 0.0) for phrase, share in now.items()}
    found = max(growth, key=lambda phrase: (growth[phrase], len(phrase.split()), phrase), default="")
    return (found, growth[found]) if found and growth[found] > 0 else ("", 0.0)


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = text.lower().split()
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
