"""Numbers with their uncertainty: intervals and tests clustered by prompt, accuracy of scores, variety and overlap of
texts.

Rows that come from one prompt are not independent, so every interval here resamples whole clusters. Nothing uses a
global random generator: each function that draws takes a seed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heedful.errors import DataError
from heedful.numerics.words import words_of

Floats = NDArray[np.float64]
Clusters = Sequence[Hashable] | NDArray[Any]
"""The prompt (or task) of each row: any values that can be compared."""

_BLOCK = 4_000_000
"""Most resampled cells held at once: 32 MB."""


@dataclass(frozen=True)
class Estimate:
    """A number with a percentile bootstrap interval.

    `value` is the number on all rows, `low` and `high` bound it, `n` counts rows and `clusters` the prompts (or tasks)
    that were resampled. With one cluster there is nothing to resample: `low` and `high` equal `value`.
    """

    value: float
    low: float
    high: float
    n: int
    clusters: int

    def figures(self) -> dict[str, Any]:
        """Return the number as it is stored: value, low, high, n."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def wilson_interval(successes: float, trials: float, *, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval for a share.

        (p + z^2 / 2n  -+  z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    Args:
        successes: in [0, trials].
        trials: n > 0.
        level: coverage in (0, 1).

    Raises:
        DataError: no trial, or more successes than trials.

    Source: Wilson 1927.
    """
    from scipy.special import ndtri

    if trials <= 0 or not 0 <= successes <= trials:
        raise DataError(f"a share needs 0 <= successes <= trials and trials > 0, got {successes} of {trials}")
    z2 = float(ndtri(0.5 + level / 2)) ** 2
    share = successes / trials
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = np.sqrt(z2 * (share * (1 - share) / trials + z2 / (4 * trials**2))) / (1 + z2 / trials)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def clustered_mean(
    values: ArrayLike, clusters: Clusters, *, seed: int, draws: int = 2000, level: float = 0.95
) -> Estimate:
    """Return the mean of all rows; its interval resamples whole clusters.

    Args:
        values: [N], finite.
        clusters: [N], the prompt of each row.
        draws: bootstrap resamples.
        level: coverage in (0, 1).

    Raises:
        DataError: no row, lengths that differ, or a value that is not finite.
    """
    numbers = finite_rows(values, clusters)
    return clustered_ratio(numbers, np.ones_like(numbers), clusters, seed=seed, draws=draws, level=level)


def clustered_ratio(
    numerators: ArrayLike,
    denominators: ArrayLike,
    clusters: Clusters,
    *,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> Estimate:
    """Return sum(numerators) / sum(denominators); its interval resamples whole clusters.

    Resamples whose denominators sum to 0 are left out. `n` is the number of rows.

    Raises:
        DataError: no row, lengths that differ, a value that is not finite, or denominators that sum to 0.
    """
    above, below = finite_rows(numerators, clusters), finite_rows(denominators, clusters)
    if below.sum() == 0:
        raise DataError("a ratio needs denominators that do not sum to 0")
    sums = cluster_sums(np.stack([above, below], axis=1), clusters)
    totals = resampled_totals(sums, seed=seed, draws=draws)
    totals = totals[totals[:, 1] != 0]
    low, high = np.quantile(totals[:, 0] / totals[:, 1], [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(above.sum() / below.sum()), float(low), float(high), len(above), len(sums))


def paired_change(before: ArrayLike, after: ArrayLike, clusters: Clusters, *, seed: int, draws: int = 2000) -> Estimate:
    """Return the mean of after - before over rows that belong together; interval clustered by prompt.

    Args:
        before: [N]; row i of both is the same prompt and sample index.
        after: [N].
        clusters: [N], the prompt of each row.
    """
    return clustered_mean(
        finite_rows(after, clusters) - finite_rows(before, clusters), clusters, seed=seed, draws=draws
    )


def relative_change(
    before: ArrayLike, after: ArrayLike, clusters: Clusters, *, seed: int, draws: int = 2000
) -> Estimate | None:
    """Return the change over the mean before: -0.8 is a fall of 80 %; interval clustered by prompt.

        sum(after - before) / |sum(before)|

    Returns:
        None where some resample has a mean before of the other sign or 0: a relative change would then mean nothing.
    """
    first = finite_rows(before, clusters)
    sums = cluster_sums(np.stack([finite_rows(after, clusters) - first, first], axis=1), clusters)
    totals = resampled_totals(sums, seed=seed, draws=draws)
    base = first.sum()
    if base == 0 or bool((totals[:, 1] * base <= 0).any()):
        return None
    low, high = np.quantile(totals[:, 0] / np.abs(totals[:, 1]), [0.025, 0.975])
    return Estimate(float(sums[:, 0].sum() / abs(base)), float(low), float(high), len(first), len(sums))


def win_rate(before: ArrayLike, after: ArrayLike, clusters: Clusters, *, seed: int, draws: int = 2000) -> Estimate:
    """Return the share of rows where after beats before, a tie counting one half; interval clustered by prompt."""
    wins = (np.sign(finite_rows(after, clusters) - finite_rows(before, clusters)) + 1) / 2
    return clustered_mean(wins, clusters, seed=seed, draws=draws)


def sign_flip_test(differences: ArrayLike, clusters: Clusters, *, seed: int, draws: int = 10_000) -> float:
    """Return the two-sided p-value of "the mean difference is 0": signs are flipped by whole clusters.

        p = (1 + draws with |sum| at least as large as seen) / (1 + draws)

    Never 0; the smallest possible value is 1 / (1 + draws), or about 2 / 2**clusters where clusters are few.
    """
    sums = cluster_sums(finite_rows(differences, clusters)[:, None], clusters)[:, 0]
    seen = abs(sums.sum())
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // len(sums))
    extreme = 0
    for start in range(0, draws, rows):
        signs = rng.integers(0, 2, size=(min(rows, draws - start), len(sums)), dtype=np.int8) * 2.0 - 1.0
        extreme += int((np.abs(signs @ sums) >= seen * (1 - 1e-12)).sum())
    return (1 + extreme) / (1 + draws)


def roc_auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the probability that a wanted row scores above an unwanted one, a tie counting one half.

        AUC = (sum of the wanted rows' mid-ranks - m (m + 1) / 2) / (m (N - m))         m wanted rows

    Args:
        scores: [N], finite.
        labels: [N], truth values; True = wanted.

    Raises:
        DataError: lengths differ, a score is not finite, or only one class is there.

    Source: Mann and Whitney 1947.
    """
    from scipy.stats import rankdata

    wanted = np.asarray(labels, dtype=bool)
    numbers = finite_rows(scores, wanted)
    m = int(wanted.sum())
    if m in (0, len(wanted)):
        raise DataError("an AUC needs rows of both classes, found one only")
    return float((rankdata(numbers)[wanted].sum() - m * (m + 1) / 2) / (m * (len(wanted) - m)))


def clustered_auc(
    scores: ArrayLike, labels: ArrayLike, clusters: Clusters, *, seed: int, draws: int = 1000, level: float = 0.95
) -> Estimate:
    """Return `roc_auc`; its interval resamples whole clusters. Resamples with one class only are left out.

    Args:
        scores: [N], finite.
        labels: [N], truth values; True = wanted.
        clusters: [N], what is drawn together: the text's template or thread, else the row itself.

    Raises:
        DataError: as `roc_auc`, or clusters of another length.
    """
    value = roc_auc(scores, labels)
    wanted = np.asarray(labels, dtype=np.float64)
    levels, level_of = np.unique(finite_rows(scores, clusters), return_inverse=True)
    place, size = _places(clusters)
    rng = np.random.default_rng(seed)
    aucs = []
    for _ in range(draws):
        weights = np.bincount(rng.integers(0, size, size), minlength=size)[place].astype(np.float64)
        up, down = (np.bincount(level_of, weights * part, minlength=len(levels)) for part in (wanted, 1 - wanted))
        if up.any() and down.any():
            # a wanted row beats all unwanted ones of lower levels, and half of those of its own
            aucs.append(float(up @ (down.cumsum() - down / 2)) / (up.sum() * down.sum()))
    low, high = np.quantile(aucs, [(1 - level) / 2, (1 + level) / 2]) if aucs else (value, value)
    return Estimate(value, float(low), float(high), len(wanted), size)


def expected_calibration_error(
    probabilities: ArrayLike, labels: ArrayLike, *, weights: ArrayLike | None = None, bins: int = 10
) -> float:
    """Return the gap between stated and seen probability, averaged over equally wide bins by the weight of their rows.

        ECE = sum_b |sum_(i in b) w_i (y_i - p_i)| / sum_i w_i

    Args:
        probabilities: [N] of the wanted class, in [0, 1]; 1 falls into the last bin.
        labels: [N], truth values.
        weights: [N], above 0; none: every row weighs the same.
        bins: number of bins on [0, 1].

    Source: Naeini et al. 2015, for two classes.
    """
    wanted = np.asarray(labels, dtype=np.float64)
    numbers = finite_rows(probabilities, wanted)
    if numbers.min() < 0 or numbers.max() > 1:
        raise DataError("probabilities must lie in [0, 1]")
    weight = _weights(weights, wanted)
    place = np.minimum((numbers * bins).astype(int), bins - 1)
    gaps = np.bincount(place, weights=weight * (wanted - numbers), minlength=bins)
    return float(np.abs(gaps).sum() / weight.sum())


def fit_temperature(logits: ArrayLike, labels: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Return the temperature t that makes sigmoid(logit / t) the most likely, searched in [0.01, 100].

        minimise  - sum_i  w_i (y_i log sigmoid(l_i / t) + (1 - y_i) log sigmoid(-l_i / t))

    Args:
        logits: [N] of the wanted class, natural log odds.
        labels: [N], truth values or probabilities in [0, 1].
        weights: [N], above 0; none: every row weighs the same.

    Source: Guo et al. 2017, for two classes.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_expit

    wanted = np.asarray(labels, dtype=np.float64)
    numbers = finite_rows(logits, wanted)
    weight = _weights(weights, wanted)

    def loss(log_temperature: float) -> float:
        scaled = numbers / np.exp(log_temperature)
        return float(-(weight * (wanted * log_expit(scaled) + (1 - wanted) * log_expit(-scaled))).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.01), np.log(100)), method="bounded").x))


def distinct_n(samples: Sequence[str | Sequence[str]], n: int = 2) -> float | None:
    """Return the share of distinct n-grams within the samples of one prompt, in (0, 1].

    Args:
        samples: the completions of one prompt, as text (parted by `words_of`) or as lists of words.
        n: words per n-gram; no n-gram crosses from one sample into the next.

    Returns:
        None where no sample has n words.

    Source: Li et al. 2016.
    """
    counts: Counter[tuple[str, ...]] = Counter()
    for sample in samples:
        words = words_of(sample) if isinstance(sample, str) else list(sample)
        counts.update(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    return len(counts) / counts.total() if counts else None


def rouge_l(candidate: str, reference: str) -> float:
    """Return the F1 of the longest common subsequence of words, in [0, 1].

        P = LCS / words of the candidate,  R = LCS / words of the reference,  F1 = 2 P R / (P + R)

    Words are runs of a-z and 0-9 after lower-casing; no stemming. Equals `rougeL` of rouge_score 0.1.2 with
    `use_stemmer=False`. Source: Lin 2004.
    """
    ours, theirs = (re.findall(r"[a-z0-9]+", text.lower()) for text in (candidate, reference))
    if not ours or not theirs:
        return 0.0
    return 2 * longest_common_subsequence(ours, theirs) / (len(ours) + len(theirs))


def longest_common_subsequence(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """Return its length, one bit per word of `ours` (Hyyro 2004): a 0 bit marks a row where the table grows by one."""
    places: Counter[str] = Counter()
    for i, word in enumerate(ours):
        places[word] |= 1 << i
    full = (1 << len(ours)) - 1
    row = full
    for word in theirs:
        matches = row & places[word]
        row = ((row + matches) | (row - matches)) & full
    return len(ours) - row.bit_count()


def finite_rows(values: ArrayLike, clusters: Clusters) -> Floats:
    """Return the values as numbers, checked."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or len(numbers) != len(clusters) or not len(numbers):
        raise DataError(f"expected one label or cluster per row and at least one row: {numbers.shape}, {len(clusters)}")
    if not np.isfinite(numbers).all():
        raise DataError("a value is not finite; leave such rows out before")
    return numbers


def _weights(weights: ArrayLike | None, rows: Floats) -> Floats:
    """Return one weight per row, checked; 1 each where none are given."""
    if weights is None:
        return np.ones(len(rows))
    numbers = finite_rows(weights, rows)
    if numbers.min() <= 0:
        raise DataError("weights must be above 0; leave rows that shall not count out before")
    return numbers


def cluster_sums(columns: Floats, clusters: Clusters) -> Floats:
    """Return the sum of each column over each cluster, [C, k], clusters in order of appearance."""
    place, size = _places(clusters)
    return np.stack([np.bincount(place, weights=column, minlength=size) for column in columns.T], axis=1)


def _places(clusters: Clusters) -> tuple[NDArray[np.int64], int]:
    """Return each row's cluster as a number from 0, in order of appearance, and how many clusters there are."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters]), len(numbers)


def resampled_totals(sums: Floats, *, seed: int, draws: int) -> Floats:
    """Return the column totals of each bootstrap resample of the clusters, [draws, k]."""
    rng = np.random.default_rng(seed)
    size = len(sums)
    rows = max(1, _BLOCK // size)
    blocks = []
    for start in range(0, draws, rows):
        chosen = rng.integers(0, size, size=(min(rows, draws - start), size))
        blocks.append(np.stack([column[chosen].sum(axis=1) for column in sums.T], axis=1))
    return np.concatenate(blocks)
