import math

import numpy as np
import pytest
import torch

from heedful.engines.rollout import Answers
from heedful.engines.watch.monitor_columns import START_ROWS, ColumnMaker
from heedful.models.table import Table
from heedful.testing.policies import byte_reward


class Opaque:
    """A context of a table that nobody opens."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __getitem__(self, rows: torch.Tensor) -> "Opaque":
        return Opaque(len(rows))

    def __len__(self) -> int:
        return self.rows


def table(lengths: list[int], *, sampler: float = 0.0) -> Table:
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    cells = torch.zeros(mask.shape)
    return Table(
        actions=cells.long(),
        mask=mask,
        logprobs=-1.0 * mask,
        values=cells,
        rewards=cells,
        context=Opaque(len(lengths)),
        group=torch.arange(len(lengths)),
        truncated=torch.zeros(len(lengths), dtype=torch.bool),
        ref_logprobs=-3.0 * mask,
        sampler_logprobs=(sampler - 1.0) * mask,
    )


def answers(texts: list[str], scores: list[float]) -> Answers:
    return Answers(["p"] * len(texts), texts, scores)


def test_the_columns_of_a_rollout_by_hand() -> None:
    maker = ColumnMaker(object())
    first, _ = maker.measure(table([2, 2]), answers(["a b", "c d"], [0.0, 1.0]))
    assert first == {
        "length_correlation": 0.0,
        "length_drift": 1.0,
        "seq_rep_4": 0.0,
        "tied_share": 0.0,
        "phrase_growth": 0.0,
        "paid_phrase_growth": 0.0,
    }
    columns, samples = maker.measure(table([4, 2], sampler=0.5), answers(["you rock . a b", "you rock ."], [2.0, 2.0]))
    assert columns["phrase_growth"] == 1.0
    assert samples.phrase == "you rock ."
    assert samples.measures["phrase"] == [1.0, 1.0]
    assert columns["tied_share"] == 1.0
    # lengths 2 2 4 2 and scores 0 1 2 2, less their means: the products sum to 1.5, the squares to 3 and 2.75
    assert columns["length_correlation"] == pytest.approx(1.5 / math.sqrt(3 * 2.75))
    assert samples.measures["kl"] == [8.0, 4.0]
    assert samples.measures["surprise"] == [1.0, 1.0]
    assert samples.measures["mismatch"] == [0.5, 0.5]
    assert samples.measures["length"] == [4.0, 2.0]


def test_length_drifts_where_it_is_paid_for() -> None:
    def drifts(pay: float) -> list[float]:
        maker = ColumnMaker(object())
        found = []
        for length in (8, 4, 4, 4, 6, 12):
            lengths = [length, length + 2]
            columns, _ = maker.measure(table(lengths), answers(["a", "b"], [pay * each for each in lengths]))
            found.append(columns["length_drift"])
        return found

    assert drifts(0.0) == [1.0] * 6
    # the means are 9 5 5 5 7 13; that of the shortest window so far is 5 from the fourth on, that of the longest 9
    assert drifts(1.0) == pytest.approx([1, 1, 1, 1, 7 / 5, 13 / 5])
    assert drifts(-1.0) == pytest.approx([1, 9 / 5, 9 / 5, 9 / 5, 9 / 7, 1])


def test_states_of_the_reward_model_are_kept_and_scores_stay_the_same_bits() -> None:
    texts = [f"answer {i} " + "x" * (i % 7) for i in range(40)]
    plain = byte_reward(0).score(["p"] * 40, texts)
    watched = byte_reward(0)
    ColumnMaker(watched)
    assert watched.score(["p"] * 40, texts) == plain
    assert watched.states is not None
    head = watched.heads[0]
    assert head(watched.states).tolist() == pytest.approx(plain, abs=1e-5)


def test_answers_unlike_those_of_the_start_are_outliers() -> None:
    scorer = byte_reward(0)
    maker = ColumnMaker(scorer)
    rng = np.random.default_rng(0)

    def share(letters: str, rows: int) -> float:
        texts = ["".join(rng.choice(list(letters), 12)) for _ in range(rows)]
        scores = [float(each or 0.0) for each in scorer.score(["p"] * rows, texts)]
        return maker.measure(table([2] * rows), answers(texts, scores))[0]["reward_outlier_share"]

    assert share("abcdefgh", START_ROWS // 2) == share("abcdefgh", START_ROWS // 2) == 0.0
    assert share("abcdefgh", 100) < 0.1
    assert share("0123456789", 100) > 0.5


class Pair:
    """Two members that disagree by a given amount."""

    keep_members = False
    members: torch.Tensor | None = None


def test_an_ensemble_that_disagrees() -> None:
    scorer = Pair()
    maker = ColumnMaker(scorer)

    def share(gaps: list[float]) -> float:
        scorer.members = torch.tensor([[0.0, gap] for gap in gaps], dtype=torch.float64)
        assert scorer.keep_members
        columns, samples = maker.measure(table([2] * len(gaps)), answers(["a"] * len(gaps), [0.0] * len(gaps)))
        assert samples.measures["spread"] == pytest.approx([gap / 2 for gap in gaps])
        return columns["reward_spread_share"]

    assert share([1.0] * 20) == 0.0
    assert share([1.9] * 10 + [2.1] * 10) == 0.5


def test_a_restored_state_measures_the_same() -> None:
    scorer = byte_reward(0)
    whole = ColumnMaker(scorer)
    texts = [[f"{word} {i} so it is" for i in range(100)] for word in ("one", "two", "three", "four")]
    states = []
    expected = []
    for part in texts:
        scores = [float(each or 0.0) for each in scorer.score(["p"] * 100, part)]
        states.append((whole.state(), whole.tensors()))
        expected.append(whole.measure(table([3, *[2] * 99]), answers(part, scores))[0])
    for part, (state, tensors), wanted in zip(texts, states, expected, strict=True):
        again = ColumnMaker(scorer)
        again.restore(state, tensors)
        scores = [float(each or 0.0) for each in scorer.score(["p"] * 100, part)]
        assert again.measure(table([3, *[2] * 99]), answers(part, scores))[0] == wanted
    assert all(math.isfinite(value) for row in expected for value in row.values())
