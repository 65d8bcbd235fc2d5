"""A weighted sum of parts: the numbers are worked out by hand."""

from collections.abc import Sequence
from typing import Any

import pytest

from heedful.engines.scored import judge, score_all
from heedful.errors import DataError, HealthError
from heedful.models.roles import Scorer
from heedful.models.weighted_sum import Part, WeightedSum

TEXTS = ["first", "second"]


class Given:
    def __init__(self, *scores: float | None) -> None:
        self.scores = list(scores)
        self.columns: dict[str, Sequence[Any]] = {}

    def score(self, prompts: Any, completions: Any, **columns: Sequence[Any]) -> list[float | None]:
        self.columns = columns
        return self.scores


class Failing:
    def score(self, prompts: Any, completions: Any, **columns: Sequence[Any]) -> list[float | None]:
        raise DataError("row 1 has the score 'good'")


def test_the_sum_and_each_part_by_itself() -> None:
    scorer = WeightedSum({"kind": Part(Given(1.0, 3.0), 2.0), "brief": Part(Given(-4.0, 0.0), 0.5)})
    assert isinstance(scorer, Scorer)
    judged = judge(scorer, ["p"] * 2, TEXTS)
    assert judged.scores == [0.0, 6.0]
    assert judged.parts == {"kind": [1.0, 3.0], "brief": [-4.0, 0.0]}
    assert judged.metrics == {
        "score_mean.kind": 2.0,
        "score_sd.kind": 1.0,
        "scored_share.kind": 1.0,
        "score_mean.brief": -2.0,
        "score_sd.brief": 2.0,
        "scored_share.brief": 1.0,
    }
    assert score_all(scorer, ["p"] * 2, TEXTS) == [0.0, 6.0]


def test_a_part_of_weight_zero_is_only_watched() -> None:
    scorer = WeightedSum({"kind": Part(Given(1.0, 3.0)), "watched": Part(Given(9.0, 5.0), 0.0)})
    judged = judge(scorer, ["p"] * 2, TEXTS)
    assert judged.scores == [1.0, 3.0]
    assert judged.metrics["score_mean.watched"] == 7.0


def test_the_order_of_the_parts_does_not_matter() -> None:
    parts = {"a": Part(Given(0.1)), "b": Part(Given(1e16)), "c": Part(Given(-1e16))}
    turned = dict(reversed(parts.items()))
    assert score_all(WeightedSum(parts), ["p"], ["x"]) == score_all(WeightedSum(turned), ["p"], ["x"]) == [0.1]


def test_what_a_part_cannot_score() -> None:
    scorer = WeightedSum({"kind": Part(Given(1.0, 3.0)), "proof": Part(Given(None, 4.0), 2.0, missing=-1.0)})
    judged = judge(scorer, ["p"] * 2, TEXTS)
    assert judged.scores == [1.0 + 2.0 * -1.0, 3.0 + 2.0 * 4.0]
    assert (judged.metrics["score_mean.proof"], judged.metrics["scored_share.proof"]) == (4.0, 0.5)


def test_without_a_stand_in_such_a_row_is_refused() -> None:
    scorer = WeightedSum({"proof": Part(Given(2.0, None))})
    with pytest.raises(HealthError, match="reward part 'proof' gave None for row 1: 'second'"):
        scorer.score(["p"] * 2, TEXTS)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Given(0.0, float("nan")), "reward part 'kind' gave nan for row 1: 'second'"),
        (Given(0.0, float("-inf")), "reward part 'kind' gave -inf for row 1"),
        (Given(0.0), "reward part 'kind' returned 1 scores for 2 completions"),
    ],
)
@pytest.mark.parametrize("missing", [None, 0.0])
def test_a_bad_number_names_part_row_and_value(bad: Given, message: str, missing: float | None) -> None:
    scorer = WeightedSum({"good": Part(Given(1.0, 1.0)), "kind": Part(bad, missing=missing)})
    with pytest.raises(HealthError, match=message):
        scorer.score(["p"] * 2, TEXTS)


def test_the_error_of_a_part_gets_its_name() -> None:
    with pytest.raises(DataError, match="reward part 'judge': row 1 has the score 'good'"):
        WeightedSum({"judge": Part(Failing())}).score(["p"] * 2, TEXTS)


def test_weights_that_overflow_are_no_score() -> None:
    with pytest.raises(HealthError, match="the scorer gave inf for row 0"):
        score_all(WeightedSum({"kind": Part(Given(1e300), 1e300)}), ["p"], ["x"])


def test_columns_reach_the_parts() -> None:
    part = Given(1.0)
    WeightedSum({"kind": Part(part)}).score(["p"], ["x"], id=["7"])
    assert part.columns == {"id": ["7"]}


def test_what_arrived_is_hashed_in_order_and_only_once_all_parts_are_good() -> None:
    def arrived(*rounds: tuple[float, float | None]) -> str:
        far, near = Given(), Given()
        scorer = WeightedSum({"far": Part(far, remote=True), "near": Part(near)})
        for one, other in rounds:
            far.scores, near.scores = [one], [other]
            try:
                scorer.score(["p"], ["x"])
            except HealthError:
                assert other is None
        assert list(scorer.arrived) == ["far"]
        return scorer.arrived["far"]

    assert arrived((1.0, 0.0), (2.0, 0.0)) == arrived((1.0, 5.0), (2.0, 6.0))
    assert arrived((1.0, 0.0), (2.0, 0.0)) != arrived((2.0, 0.0), (1.0, 0.0))
    assert arrived((1.0, 0.0), (3.0, None), (2.0, 0.0)) == arrived((1.0, 0.0), (2.0, 0.0))
