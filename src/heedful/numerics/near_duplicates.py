"""Near-duplicates among many short texts: an index that finds, exactly, the known text that is most like a new one.

    similarity = ROUGE-L F1 = 2 LCS / (m + n)

LCS is the longest common subsequence of words, m and n are how many words the two texts have. Words are those of `numerics.words`,
so that scripts without white space are compared character by character; punctuation at a word's ends does not count. Self-Instruct
removes what is at 0.7 or above (Wang et al. 2022, arXiv:2212.10560).
"""

from __future__ import annotations

import math
import unicodedata
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heedful.numerics.statistics import longest_common_subsequence
from heedful.numerics.words import words_of

_NOT_COUNTED = ("P", "S", "Z", "C")
"""Unicode categories that a word is stripped of at its ends: punctuation, symbols, separators, control characters."""
_ROUNDING = 1e-9
_Occurrence = tuple[str, int]
"""A word, and how often the text had said it before: as a set of these a text keeps its repetitions."""


@dataclass(frozen=True)
class Likeness:
    """The place of a known text, in order of `add`, and how like it is, in [0, 1]."""

    place: int
    similarity: float


class NearDuplicates:
    """Texts that are known. Finding compares the words of few of them, and the order of words only where those allow it.

    The LCS is at most the number of words that two texts share, each as often as both have it, so a text that shares too few
    cannot reach the threshold. Time for one text grows with how many others hold its rarer words.

    Args:
        threshold: similarity from which a text is a near-duplicate, in (0, 1].
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._texts: list[list[str]] = []
        self._lengths = array("i")
        self._holders: dict[_Occurrence, array[int]] = defaultdict(lambda: array("i"))

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str) -> int:
        """Remember a text; return its place."""
        words, place = compared_words(text), len(self._texts)
        self._texts.append(words)
        self._lengths.append(len(words))
        for occurrence in _occurrences(words):
            self._holders[occurrence].append(place)
        return place

    def nearest(self, text: str) -> Likeness | None:
        """Return the known text that is most like this one, the earliest of several; None where none reaches the threshold.

        Texts without any word are like each other alone.
        """
        words = compared_words(text)
        if not words:
            return next((Likeness(place, 1.0) for place, length in enumerate(self._lengths) if not length), None)
        best: Likeness | None = None
        for place, most in self._candidates(words):
            if best is not None and most < best.similarity:
                break
            theirs = self._texts[place]
            found = 2 * longest_common_subsequence(words, theirs) / (len(words) + len(theirs))
            if found >= self._threshold and (best is None or (-found, place) < (-best.similarity, best.place)):
                best = Likeness(place, found)
        return best

    def _candidates(self, words: Sequence[str]) -> Iterator[tuple[int, float]]:
        """Yield places with the most that their similarity can be, highest first, where that reaches the threshold."""
        holders = [
            np.frombuffer(self._holders[each], dtype=np.intc) for each in _occurrences(words) if each in self._holders
        ]
        holders.sort(key=len)
        # A text that shares `needed` of m words holds one of any m - needed + 1 of them: the rarest lead to the fewest texts.
        needed = math.ceil(self._threshold * len(words) / (2 - self._threshold) - _ROUNDING)
        rarest = holders[: max(0, len(holders) - needed + 1)]
        if not rarest:
            return
        places = np.unique(np.concatenate(rarest))
        shared = sum(_among(places, each) for each in holders)
        most = 2 * shared / (len(words) + np.frombuffer(self._lengths, dtype=np.intc)[places])
        able = np.flatnonzero(most >= self._threshold)
        for i in able[np.argsort(-most[able], kind="stable")].tolist():
            yield int(places[i]), float(most[i])


def _among(places: NDArray[np.intc], holder: NDArray[np.intc]) -> NDArray[np.int64]:
    """Return 1 for each place that is in `holder`, else 0; both ascend."""
    found = np.searchsorted(holder, places).clip(max=len(holder) - 1)
    hits: NDArray[np.int64] = np.equal(holder[found], places).astype(np.int64)
    return hits


def compared_words(text: str) -> list[str]:
    """Return the words that texts are compared by: in one Unicode form, without punctuation at their ends."""
    stripped = (_stripped(word) for word in words_of(unicodedata.normalize("NFKC", text)))
    return [word for word in stripped if word]


def _occurrences(words: Sequence[str]) -> Iterator[_Occurrence]:
    said: dict[str, int] = defaultdict(int)
    for word in words:
        yield word, said[word]
        said[word] += 1


def _stripped(word: str) -> str:
    first, last = 0, len(word)
    while first < last and _uncounted(word[first]):
        first += 1
    while last > first and _uncounted(word[last - 1]):
        last -= 1
    return word[first:last]


def _uncounted(character: str) -> bool:
    return not character.isalnum() and unicodedata.category(character)[0] in _NOT_COUNTED
