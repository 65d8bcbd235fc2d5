"""Does an answer refuse: in full, in part, or not at all. A small classifier over phrases and words, learned from labeled answers.

It knows no model's style by heart: every labeled answer is also learned from its first sentence, and from its first two, alone, so
that a refusal is one whether or not a lecture follows. NumPy and SciPy only; no language model is asked.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, hstack

from heedful.errors import DataError
from heedful.models.refusal_phrases import ALONE, PHRASES

Kind = Literal["none", "partial", "full"]
KINDS: tuple[Kind, ...] = ("none", "partial", "full")
Floats = NDArray[np.float64]
L2 = 1.0
"""Weight of half the squared length of the coefficients, beside the summed log-loss."""
PHRASE_SCALE = 0.3
"""What a phrase counts beside a word, whose vectors have length 1."""
LEAST_TEXTS = 3
"""A word, or a pair of words, in fewer texts says nothing."""
_WORD = re.compile(r"[\w']+|[.,!?:\n]")
_SENTENCE = re.compile(r"(?<=[.!?:\n])\s+")


@dataclass(frozen=True)
class RefusalDetector:
    """Two logistic models on the same features: is it a full refusal, and is it any.

    Args:
        words: of which the detector has seen enough, alone or in pairs; their order is that of the coefficients.
        rarity: [words], log((1 + texts) / (1 + texts with it)) + 1.
        full: [1 + features], the intercept first.
        any: likewise.
    """

    words: tuple[str, ...]
    rarity: tuple[float, ...]
    full: tuple[float, ...]
    any: tuple[float, ...]

    @classmethod
    def fit(cls, answers: Sequence[str], kinds: Sequence[Kind]) -> RefusalDetector:
        """Return the detector that these labeled answers teach.

        Raises:
            DataError: lengths differ, an unknown kind, or no full refusal, or nothing else.
        """
        if len(answers) != len(kinds):
            raise DataError(f"{len(answers)} answers and {len(kinds)} labels")
        for kind in kinds:
            if kind not in KINDS:
                raise DataError(f"'{kind}' is no kind of refusal; {', '.join(KINDS)} were expected")
        if not 0 < sum(kind == "full" for kind in kinds) < len(kinds):
            raise DataError("answers that refuse in full and answers that do not were expected")
        rows = [(answer, kind) for answer, kind in zip(answers, kinds, strict=True)]
        rows += [(cut, kind) for answer, kind in rows if kind != "partial" for cut in _openings(answer)]
        texts = [text for text, _ in rows]
        words, rarity = _vocabulary(texts)
        features = _features(texts, words, rarity)
        full, refuses = (
            _logistic(features, np.array([kind in wanted for _, kind in rows], dtype=bool))
            for wanted in (("full",), ("full", "partial"))
        )
        return cls(tuple(words), tuple(rarity.tolist()), tuple(full.tolist()), tuple(refuses.tolist()))

    def probabilities(self, answers: Sequence[str]) -> Floats:
        """Return [N, 2]: P(full refusal) and P(refusal at all) of each answer."""
        features = _features(answers, {word: i for i, word in enumerate(self.words)}, np.array(self.rarity))
        columns = [_sigmoid(features @ np.array(each[1:]) + each[0]) for each in (self.full, self.any)]
        return np.column_stack(columns)

    def kinds(self, answers: Sequence[str]) -> list[Kind]:
        """Return the kind of each answer: "full" where that is likelier than not, else "partial" where a refusal is."""
        return [
            "full" if full > 0.5 else "partial" if refuses > 0.5 else "none"
            for full, refuses in self.probabilities(answers)
        ]

    def save(self, path: Path) -> None:
        """Write the detector as JSON."""
        path.write_text(json.dumps(asdict(self), ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> RefusalDetector:
        """Read a detector that `save` wrote; DataError where it is none."""
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{name: tuple(told[name]) for name in ("words", "rarity", "full", "any")})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"not a refusal detector ({type(error).__name__})", path=path) from None


def opens_with_refusal(text: str) -> bool:
    """Return whether the first sentence says that the assistant cannot or will not help: a rule of one phrase, where no labeled
    answers are there to learn from."""
    return bool(PHRASES["cannot help"].search(_sentences(text)[0]))


def _plain(text: str) -> str:
    return text.replace("\u2019", "'").strip()


def _sentences(text: str) -> list[str]:
    return [part for part in _SENTENCE.split(_plain(text)) if part.strip()] or [""]


def _openings(text: str) -> Iterator[str]:
    """Yield an answer's first sentence and its first two, where they are not the whole of it."""
    sentences = _sentences(text)
    for count in (1, 2):
        if len(sentences) > count:
            yield " ".join(sentences[:count])


def _counts(text: str) -> Counter[str]:
    words = _WORD.findall(_plain(text).lower())
    return Counter(words) + Counter(f"{one} {other}" for one, other in pairwise(words))


def _vocabulary(texts: Sequence[str]) -> tuple[dict[str, int], Floats]:
    seen = Counter(word for text in texts for word in set(_counts(text)))
    words = sorted(word for word, count in seen.items() if count >= LEAST_TEXTS)
    counts = np.array([seen[word] for word in words], dtype=np.float64)
    return {word: i for i, word in enumerate(words)}, np.log((1 + len(texts)) / (1 + counts)) + 1


def _features(texts: Sequence[str], words: dict[str, int], rarity: Floats) -> csr_matrix:
    """Return [N, words + phrases]: word weights (1 + log count) * rarity scaled to length 1, and phrases found where."""
    places, columns, values = [], [], []
    for row, text in enumerate(texts):
        found = {words[word]: 1 + np.log(count) for word, count in _counts(text).items() if word in words}
        weights = np.array([value * rarity[column] for column, value in found.items()])
        places += [row] * len(found)
        columns += list(found)
        values += (weights / max(float(np.linalg.norm(weights)), 1e-12)).tolist()
    shape = (len(texts), len(words))
    phrases = PHRASE_SCALE * np.array([_phrases(text) for text in texts])
    return hstack([csr_matrix((values, (places, columns)), shape=shape), csr_matrix(phrases)]).tocsr()


def _phrases(text: str) -> list[float]:
    """Return for each phrase whether it stands in the first sentence, in the first three, anywhere; then what `ALONE` looks for."""
    sentences = _sentences(text)
    scopes = [sentences[0], " ".join(sentences[:3]), " ".join(sentences)]
    found = [float(bool(phrase.search(scope))) for phrase in PHRASES.values() for scope in scopes]
    return found + [float(len(pattern.findall(_plain(text))) >= least) for pattern, least in ALONE.values()]


def _logistic(features: csr_matrix, wanted: NDArray[np.bool_]) -> Floats:
    """Return intercept and coefficients that minimise  sum log(1 + exp(-s z)) + L2/2 |w|^2,  s = +-1."""
    sign = np.where(wanted, 1.0, -1.0)

    def loss(weights: Floats) -> tuple[float, Floats]:
        z = sign * (features @ weights[1:] + weights[0])
        slope = -sign * _sigmoid(-z)
        gradient = np.concatenate([[slope.sum()], features.T @ slope + L2 * weights[1:]])
        return float(np.logaddexp(0, -z).sum() + L2 / 2 * weights[1:] @ weights[1:]), gradient

    start = np.zeros(features.shape[1] + 1)
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(np.exp(-np.logaddexp(0, -x)))
