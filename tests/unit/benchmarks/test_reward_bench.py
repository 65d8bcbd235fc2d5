"""bench-reward: folds keep prompts whole, rankings and votes are what they are said to be, intervals resample clusters."""

from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from benchmarks.reward import sources
from benchmarks.reward.intervals import auc, bootstrap, calibration, mean, right
from benchmarks.reward.run import pooled, ratio
from benchmarks.reward.unit import prompt_of, split, tuned

from heedful.records.types import LabeledText
from tests.tolerances import FP64


def test_a_bootstrap_resamples_whole_clusters() -> None:
    """Ten copies of each of twenty values: the interval is that of twenty values, not of two hundred."""
    values = np.repeat(np.arange(20.0), 10)
    value, low, high = bootstrap(mean(values), [str(int(v)) for v in values])
    assert value == 9.5
    error = np.arange(20.0).std() / np.sqrt(20)
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)


def test_statistics_by_hand() -> None:
    assert right([1.0, 0.0, 2.0], [0.0, 1.0, 2.0]).tolist() == [1.0, 0.0, 0.5]
    assert auc([0.1, 0.9, 0.5], [False, True, False])(np.arange(3)) == 1.0
    assert np.isnan(auc([0.1, 0.9], [True, True])(np.arange(2)))
    # Stated 3/4 for the side that is right with 1/2; turned round it is the same pair.
    lead = float(np.log(3))
    assert calibration([lead, -lead], [0.5, 0.5])(np.arange(2)) == pytest.approx(0.25, abs=FP64)
    assert calibration([lead, -lead], [0.75, 0.25])(np.arange(2)) == pytest.approx(0.0, abs=FP64)


def test_folds_are_put_together_and_arms_divided_fold_by_fold() -> None:
    results = [{"rows": [["a", 1], ["b", 2]], "seconds": 2.0}, {"rows": [["c", 3]], "seconds": 6.0}]
    assert pooled(results, "rows") == [["a", "b", "c"], [1, 2, 3]]
    rival = [{"seconds": 4.0}, {"seconds": 4.0}]
    assert ratio({"ours": results, "trl": rival}, "ours", "trl", "seconds") == (1.0, 0.5, 1.5)


def test_the_real_pairs_and_their_folds(heed_data: Path) -> None:
    pairs = sources.hh_pairs()
    assert 2300 <= len(pairs) <= 2312
    sizes = np.bincount([sources.fold_of(str(pair.prompt)) for pair in pairs], minlength=sources.FOLDS)
    assert len(sizes) == sources.FOLDS and sizes.min() > 0.8 * len(pairs) / sources.FOLDS


def test_rankings_are_in_the_order_of_the_scores(heed_data: Path) -> None:
    toxicity = {
        (row["context"], row["sample"]): float(row["toxicity"])
        for row in sources.table(sources.SAMPLES, "real_toxicity_samples.csv")
    }
    rankings = sources.toxic_rankings(5)
    assert len({row.prompt for row in rankings}) == 5
    for row in rankings:
        assert 2 <= len(row.completions) <= sources.RANKED
        scores = [[toxicity[str(row.prompt), row.completions[name]] for name in group] for group in row.ranking]
        flat = [value for group in scores for value in group]
        assert flat == sorted(flat)
        assert all(len(set(group)) == 1 for group in scores), "only equal scores are tied"
        assert len(sources.pairs_of([row])) <= len(flat) * (len(flat) - 1) / 2


def test_votes_follow_the_known_chances(heed_data: Path) -> None:
    """Of all pairs together, as many votes for the less toxic side as the true P says; an even chance is right half the time."""
    shares: dict[int, list[float]] = defaultdict(list)
    for pair in sources.voted_pairs(40):
        chance = float(pair.meta["true_p"])  # type: ignore[arg-type]
        assert 0 < chance < 1
        assert pair.p == pair.wins / pair.n >= 0.5
        for p, share in ((chance, pair.p), (1 - chance, 1 - pair.p)):
            shares[int(10 * p)].append(share - p)
    for gaps in shares.values():
        error = 0.5 / np.sqrt(sources.VOTES * len(gaps))
        assert abs(np.mean(gaps)) < 6 * error


def test_a_question_stands_in_one_fold_only(heed_data: Path) -> None:
    rows = sources.truth_rows(20)
    assert len({row.prompt for row in rows}) == 20
    assert all(row.group == row.prompt for row in rows)
    assert {row.label for row in rows} == {True, False}


def test_a_fold_without_rows_holds_out_the_first_prompt() -> None:
    rows = [SimpleNamespace(prompt=text) for text in ("a", "b", "a", "c")]
    empty = next(fold for fold in range(sources.FOLDS) if fold not in {sources.fold_of(text) for text in "abc"})
    learnt, held = split(rows, empty, prompt_of)
    assert [row.prompt for row in learnt] == ["b", "c"]
    assert [row.prompt for row in held] == ["a", "a"]


def test_one_question_of_ten_is_for_the_temperature_and_at_least_one() -> None:
    for questions, wanted in ((3, 1), (45, 4)):
        rows = [
            LabeledText(id=f"{q}-{i}", prompt=f"question {q} ?", completion="a", label=True)
            for q in range(questions)
            for i in range(2)
        ]
        learnt, tune = tuned(rows)
        assert len({row.prompt for row in tune}) == wanted
        assert not {row.prompt for row in tune} & {row.prompt for row in learnt}
        assert len(learnt) + len(tune) == len(rows)
