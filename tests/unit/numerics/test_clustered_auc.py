import numpy as np
import pytest

from heedful.errors import DataError
from heedful.numerics.statistics import clustered_auc, roc_auc
from tests.tolerances import FP64


def drawn(n: int, shift: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.4
    return rng.normal(size=n) + shift * labels, labels


def test_the_value_is_the_auc_and_lies_in_its_interval() -> None:
    scores, labels = drawn(200, 1.0, 0)
    found = clustered_auc(scores.round(1), labels, range(200), seed=1)
    assert found.value == pytest.approx(roc_auc(scores.round(1), labels), abs=FP64)
    assert found.low < found.value < found.high
    assert (found.n, found.clusters) == (200, 200)


def test_the_interval_has_the_width_that_hanley_and_mcneil_give() -> None:
    scores, labels = drawn(2000, 1.0, 2)
    found = clustered_auc(scores, labels, range(2000), seed=3, draws=2000)
    auc, m, n = found.value, int(labels.sum()), int((~labels).sum())
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    error = np.sqrt((auc * (1 - auc) + (m - 1) * (q1 - auc**2) + (n - 1) * (q2 - auc**2)) / (m * n))
    assert (found.high - found.low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.1)


def test_copies_of_a_row_tell_nothing_new() -> None:
    scores, labels = drawn(100, 1.0, 4)
    alone = clustered_auc(scores, labels, range(100), seed=5)
    copied = clustered_auc(np.repeat(scores, 20), np.repeat(labels, 20), np.repeat(np.arange(100), 20), seed=5)
    assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high), abs=FP64)
    torn_apart = clustered_auc(np.repeat(scores, 20), np.repeat(labels, 20), range(2000), seed=5)
    assert torn_apart.high - torn_apart.low < (alone.high - alone.low) / 3


def test_one_class_or_clusters_of_another_length_are_refused() -> None:
    with pytest.raises(DataError, match="both classes"):
        clustered_auc([0.0, 1.0], [True, True], [0, 1], seed=0)
    with pytest.raises(DataError, match="one label or cluster per row"):
        clustered_auc([0.0, 1.0], [True, False], [0], seed=0)
