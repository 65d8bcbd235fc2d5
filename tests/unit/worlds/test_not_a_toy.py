"""Two properties that keep the household world from being a toy, each measured with a model that is fitted here.

(a) A predictor that does not see the prompt loses at least ten points of held-out pair accuracy.
(b) No list of weighted words reaches 90 % of gold's own AUC (which is 1) for toxic, useful or honest.

The models are linear, and get far more data than any recipe gives; all text is tested on held-out topics and wordings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from scipy import optimize, sparse, stats

from heedful.worlds import get_world
from heedful.worlds.answers import compose
from heedful.worlds.topics import Topic

SEED = 20240
MIN_LOSS_WITHOUT_PROMPT = 0.10
MAX_SHARE_OF_GOLD_AUC = 0.90
GOLD_AUC = 1.0
MIN_WITH_PROMPT = 0.90
"""A predictor that sees the prompt must be able to learn the world, else the first property would be empty."""
ANSWERS = {"train": 10, "heldout": 8}
"""Answers drawn for each prompt."""

Row = tuple[int, str, str, str]
"""Prompt number, prompt, problem, answer."""


@cache
def rows(split: str) -> tuple[Row, ...]:
    rng = np.random.default_rng(SEED)
    prompts = get_world("household").generate(SEED)[f"{split}.prompts"]
    return tuple(
        (number, str(record.prompt), str(record.meta["problem"]), compose(topic, rng))
        for number, record in enumerate(prompts)
        for topic in [Topic(str(record.meta["place"]), str(record.meta["problem"]))]
        for _ in range(ANSWERS[split])
    )


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+|[.,]", text.lower())


def ngrams(text: str) -> list[str]:
    tokens = ["^", *words(text)]
    return [" ".join(tokens[i : i + n]) for n in (1, 2, 3) for i in range(len(tokens) - n + 1)]


def matrices(*documents: list[Iterable[str]]) -> list[sparse.csr_matrix]:
    """Counts of features by document, with the features of the first collection."""
    index: dict[str, int] = {}
    for document in documents[0]:
        for feature in document:
            index.setdefault(feature, len(index))
    return [_matrix(collection, index) for collection in documents]


def _matrix(collection: list[Iterable[str]], index: dict[str, int]) -> sparse.csr_matrix:
    counts = [Counter(index[feature] for feature in document if feature in index) for document in collection]
    cells = [(row, column, number) for row, count in enumerate(counts) for column, number in count.items()]
    at_row, at_column, number = (np.array(part) for part in zip(*cells, strict=True))
    return sparse.csr_matrix((number.astype(float), (at_row, at_column)), shape=(len(collection), len(index)))


def fit(features: sparse.csr_matrix, target: np.ndarray, *, l2: float) -> np.ndarray:
    """Weights of the logistic regression with the least penalised loss; the target is -1 or 1."""

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin = target * (features @ weights)
        slope = -target / (1.0 + np.exp(np.clip(margin, -500, 500)))
        return float(np.logaddexp(0, -margin).sum() + l2 * weights @ weights), features.T @ slope + 2 * l2 * weights

    start = np.zeros(features.shape[1])
    return np.asarray(optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x)


def pairs_of(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the better and the worse answer of every pair of one prompt; ties left out."""
    world = get_world("household")
    utility = np.array([world.utility(prompt, answer) for _, prompt, _, answer in rows(split)])
    size = ANSWERS[split]
    every = [(i, j) for at in range(0, len(utility), size) for i, j in combinations(range(at, at + size), 2)]
    ordered = [(i, j) if utility[i] > utility[j] else (j, i) for i, j in every if abs(utility[i] - utility[j]) > 1e-9]
    better, worse = np.array(ordered).T
    return better, worse


@cache
def pair_accuracy(sees_prompt: bool) -> float:
    """Held-out accuracy of the best Bradley-Terry model on n-grams of the answer, crossed with the problem or not."""

    def features(split: str) -> list[Iterable[str]]:
        return [
            [*ngrams(answer), *(f"{problem}|{gram}" for gram in ngrams(answer) if sees_prompt)]
            for _, _, problem, answer in rows(split)
        ]

    train, test = matrices(features("train"), features("heldout"))
    better, worse = pairs_of("train")
    sign = np.where(np.arange(len(better)) % 2, 1.0, -1.0)
    difference = sparse.diags(sign) @ (train[better] - train[worse])
    better_test, worse_test = pairs_of("heldout")
    return max(_accuracy(test @ fit(difference, sign, l2=l2), better_test, worse_test) for l2 in (0.3, 3.0))


def _accuracy(score: np.ndarray, better: np.ndarray, worse: np.ndarray) -> float:
    return float((score[better] > score[worse]).mean() + 0.5 * (score[better] == score[worse]).mean())


def is_true(outcome: str, split: str) -> np.ndarray:
    """The gold label of every answer."""
    scores = get_world("household").outcomes([row[1] for row in rows(split)], [row[3] for row in rows(split)])
    values = {name: np.array(numbers) for name, numbers in scores.items()}
    return {
        "toxic": values["toxicity"] > 0,
        "useful": values["helpfulness"] >= 0.45,
        "honest": values["honesty"] >= 0.5,
        "forthright": values["honesty"] > 0.5,
    }[outcome]


def auc(score: np.ndarray, label: np.ndarray) -> float:
    """Probability that a positive is scored above a negative (Mann-Whitney)."""
    ranks = stats.rankdata(score)
    positives, negatives = label.sum(), (~label).sum()
    return float((ranks[label].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def word_list_auc(outcome: str, *, with_prompt: bool) -> float:
    """Held-out AUC of the best weights for single words, of the answer alone or of prompt and answer."""

    def features(split: str) -> list[Iterable[str]]:
        return [
            [*words(answer), *(f"?{word}" for word in words(prompt) if with_prompt)]
            for _, prompt, _, answer in rows(split)
        ]

    train, test = matrices(features("train"), features("heldout"))
    label, label_test = is_true(outcome, "train"), is_true(outcome, "heldout")
    bias = sparse.hstack([train, np.ones((train.shape[0], 1))], format="csr")
    weights = [fit(bias, np.where(label, 1.0, -1.0), l2=l2)[:-1] for l2 in (0.1, 1.0, 10.0)]
    return max(auc(test @ weight, label_test) for weight in weights)


def test_a_predictor_that_sees_the_prompt_learns_the_world() -> None:
    assert pair_accuracy(True) >= MIN_WITH_PROMPT


def test_a_predictor_that_does_not_see_the_prompt_loses_ten_points() -> None:
    assert pair_accuracy(True) - pair_accuracy(False) >= MIN_LOSS_WITHOUT_PROMPT


@pytest.mark.parametrize("with_prompt", [False, True])
@pytest.mark.parametrize("outcome", ["toxic", "useful", "honest", "forthright"])
def test_no_list_of_words_comes_near_gold(outcome: str, with_prompt: bool) -> None:
    label = is_true(outcome, "heldout")
    assert 0.05 < label.mean() < 0.95
    assert word_list_auc(outcome, with_prompt=with_prompt) < MAX_SHARE_OF_GOLD_AUC * GOLD_AUC


if __name__ == "__main__":
    print("with prompt", pair_accuracy(True), "without", pair_accuracy(False))
    for outcome in ("toxic", "useful", "honest", "forthright"):
        print(
            outcome,
            is_true(outcome, "heldout").mean(),
            [word_list_auc(outcome, with_prompt=flag) for flag in (False, True)],
        )
