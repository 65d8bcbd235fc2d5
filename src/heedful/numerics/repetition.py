"""How far completions repeat: themselves, and each other. Words are those of `numerics.words`: also without white space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from heedful.numerics.trends import correlation
from heedful.numerics.words import joined, words_of

_MOST_PHRASES = 200
"""Phrases of which it is asked whether they go with the score."""
Phrase = str
"""Some words, as `joined` writes them."""


def seq_rep(texts: Sequence[str], n: int = 4) -> float:
    """Return the mean share of n-grams that a text says again, in [0, 1]; a text with fewer words repeats nothing.

        seq-rep-n = 1 - |unique n-grams| / |n-grams|

    Source: Welleck et al. 2019, arXiv:1908.04319.
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
        counts.update({joined(gram) for n in range(1, longest + 1) for gram in _grams(text, n)})
    return {phrase: count / len(texts) for phrase, count in counts.items() if count >= least * len(texts)}


def most_spread(before: Mapping[Phrase, float], now: Mapping[Phrase, float]) -> tuple[Phrase, float]:
    """Return the phrase whose share of the texts grew most, the longer one in a draw, and by how much; ("", 0.0) if none grew."""
    growth = {phrase: share - before.get(phrase, 0.0) for phrase, share in now.items()}
    found = max(growth, key=lambda phrase: (growth[phrase], len(words_of(phrase)), phrase), default="")
    return (found, growth[found]) if found and growth[found] > 0 else ("", 0.0)


def most_rewarded(
    before: Mapping[Phrase, float],
    now: Mapping[Phrase, float],
    texts: Sequence[str],
    scores: Sequence[float],
    *,
    least_growth: float = 0.1,
    least_correlation: float = 0.5,
) -> tuple[Phrase, float]:
    """Return the phrase that spread most among those that go with a higher score, and by how much; ("", 0.0) if there is none.

    A phrase that every answer needs spreads too, but those who say it score no higher than those who do not.

    Args:
        before: shares at the start. now: shares in `texts`.
        texts: completions. scores: theirs.
        least_growth: phrases that spread less are passed over.
        least_correlation: Pearson's, between saying the phrase and the score.
    """
    growth = sorted(((now[each] - before.get(each, 0.0), len(words_of(each)), each) for each in now), reverse=True)
    spread = [(phrase, grown) for grown, _, phrase in growth if grown > least_growth][:_MOST_PHRASES]
    padded = [_padded(text) for text in texts]
    for phrase, grown in spread:
        said = _padded(phrase)
        if correlation([float(said in text) for text in padded], scores) > least_correlation:
            return phrase, grown
    return "", 0.0


def says(text: str, phrase: Phrase) -> bool:
    """Return whether a text holds a phrase, word for word."""
    return _padded(phrase) in _padded(text)


def _padded(text: str) -> str:
    """A blank before, between and after all words, so that a phrase is found at their borders alone."""
    return f" {' '.join(words_of(text))} "


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = words_of(text)
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
