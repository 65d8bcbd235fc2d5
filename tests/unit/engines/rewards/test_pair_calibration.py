"""The temperature of pairs: found again where it is known, measured on the other half, and no score moves."""

import numpy as np
import pytest
from numpy.typing import NDArray

from heedful.engines.rewards.heldout_pairs import HeldoutPairs
from heedful.engines.rewards.pair_calibration import FEWEST_PAIRS, calibration_figures, pair_temperature, vote_shares
from heedful.models.backbones import Backbone, Reading, body_of
from heedful.models.ensemble import Ensemble
from heedful.models.reward import RewardModel, load_reward_model, new_reward_model
from heedful.models.sequence_classifier import Scale, SequenceClassifier
from heedful.records.types import Preference
from heedful.testing.tiny import tiny_causal, tiny_sequence_classifier, tiny_tokenizer
from tests.tolerances import FP32, FP64, STANDARD_ERRORS

SAMPLING = 0.1
"""Of a temperature fitted to 8,000 votes: about three standard errors."""


def pair(number: int = 0, **fields: object) -> Preference:
    known = {"prompt": "p", "chosen": f"water {number}", "rejected": f"fool {number}", "task_id": str(number)}
    return Preference.model_validate(known | fields)


def voted(temperature: float, pairs: int = 8000) -> tuple[NDArray[np.float64], list[Preference]]:
    """Leads, and pairs whose vote follows sigmoid(lead / temperature); the side with the vote is chosen."""
    rng = np.random.default_rng(3)
    leads = rng.normal(0, 2, pairs)
    won = rng.random(pairs) < 1 / (1 + np.exp(-leads / temperature))
    return np.where(won, leads, -leads), [pair(i) for i in range(pairs)]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found_again(temperature: float) -> None:
    leads, pairs = voted(temperature)
    assert pair_temperature(leads, vote_shares(pairs)) == pytest.approx(temperature, rel=SAMPLING)


def test_error_before_and_after_by_the_other_half() -> None:
    leads, pairs = voted(3.0)
    found = calibration_figures(leads, 1.0, pairs, seed=0)
    assert found["calibration_error_before"] > 0.1
    assert found["calibration_error"] < 0.03
    assert sum(row["n"] for row in found["calibration"]) == len(pairs)
    for row in found["calibration"]:
        error = (row["confidence"] * (1 - row["confidence"]) / row["n"]) ** 0.5
        assert abs(row["confidence"] - row["accuracy"]) < STANDARD_ERRORS * error + 0.01, row


def test_the_halves_hold_whole_tasks() -> None:
    leads, pairs = voted(1.0, 4 * FEWEST_PAIRS)
    one_task = [row.model_copy(update={"task_id": "same"}) for row in pairs]
    assert calibration_figures(leads, 1.0, one_task, seed=0) == {}, "one task cannot be on both sides"


def test_few_pairs_have_no_temperature() -> None:
    leads, pairs = voted(3.0, FEWEST_PAIRS - 1)
    assert pair_temperature(leads, vote_shares(pairs)) == 1.0
    assert calibration_figures(leads, 1.0, pairs, seed=0) == {}


def test_what_is_foretold_are_votes_where_they_were_counted() -> None:
    """Two of three votes and a tie: 2.5 / 3, not the smoothed 0.7; p where nobody counted."""
    rows = [pair(p=0.7, wins=2, ties=1, n=3, source="rankings"), pair(p=0.7, source="judge"), pair()]
    assert vote_shares(rows) == pytest.approx([2.5 / 3, 0.7, 1.0])


def model() -> RewardModel:
    tokenizer = tiny_tokenizer()
    return new_reward_model(body_of(tiny_causal(tokenizer, seed=1), tokenizer, Reading()), "pairwise", seed=1)


def test_a_temperature_moves_no_score_and_is_saved(tmp_path) -> None:
    texts = ["hot ?"] * 6, [f"water {i}" for i in range(6)]
    plain = model().calibrated(*texts)
    tempered = plain.tempered(4.0)
    assert tempered.score(*texts) == plain.score(*texts)
    # A lead of 4 reward units means odds of e to 1, whatever the gain.
    assert tempered.probability_better([4.0, 0.0, -4.0]) == pytest.approx(
        [np.e / (1 + np.e), 0.5, 1 / (1 + np.e)], abs=FP32
    )
    tempered.save(tmp_path / "model")
    loaded = load_reward_model(tmp_path / "model")
    assert isinstance(loaded, RewardModel)
    assert loaded.scale == tempered.scale
    assert loaded.probability_better([1.0]) == tempered.probability_better([1.0])
    assert loaded.calibrated(*texts).score(*texts) == plain.score(*texts)


def test_each_kind_of_model_divides_a_lead_by_its_temperature_once() -> None:
    """Raw numbers 3 and 1, gain 0.5, temperature 4, bias 7: P = 1 / (1 + exp(-(3 - 1) / 4)) however the score is written."""
    wanted = 0.6224593312018546
    scale = Scale(gain=0.5, bias=7.0, temperature=4.0)
    # A classifier's scores are of logits that are divided already: 0.5 * 3 / 4 + 7 and 0.5 * 1 / 4 + 7.
    divided, whole = [7.375 - 7.125], [8.5 - 7.5]
    plain = model()
    tokenizer = tiny_tokenizer()
    two = new_reward_model(plain.backbone, "classifier", seed=1)
    hub = Backbone(tiny_sequence_classifier(tokenizer), tokenizer, Reading(sees_prompt=False))
    for scorer, lead in (
        (RewardModel(plain.backbone, plain.heads, scale), whole),
        (RewardModel(two.backbone, two.heads, scale), divided),
        (SequenceClassifier(hub, 0, "any", scale), divided),
        (Ensemble(plain.backbone, plain.heads, scale=scale), whole),
    ):
        assert scorer.probability_better(lead) == pytest.approx([wanted], abs=FP64)


def test_a_classifiers_probability_goes_by_its_logits() -> None:
    """What the heads say, by hand: sigmoid of the wanted head's difference over the temperature."""
    plain = new_reward_model(model().backbone, "classifier", seed=1)
    scorer = RewardModel(plain.backbone, plain.heads, Scale(gain=3.0, bias=-2.0, temperature=0.5))
    texts = ["hot ?"] * 2, ["water", "you fool !"]
    raw = scorer.raw_batched(*texts)[:, 0].double()
    one, other = scorer.score(*texts)
    assert one is not None
    assert other is not None
    said = scorer.probability_better([one - other])
    assert said == pytest.approx([1 / (1 + np.exp(-float(raw[0] - raw[1]) / 0.5))], abs=FP32)


def test_held_out_pairs_give_the_model_its_temperature() -> None:
    rows = [pair(i, p=0.75) for i in range(FEWEST_PAIRS)]
    scorer = model()
    tempered = HeldoutPairs(rows, taught=[], seed=0).tempered(scorer)
    scores = np.array(
        scorer.score([row.prompt for row in rows] * 2, [*(r.chosen for r in rows), *(r.rejected for r in rows)])
    )
    leads = scores[: len(rows)] - scores[len(rows) :]
    assert tempered.scale.temperature == pytest.approx(pair_temperature(leads, np.full(len(rows), 0.75)))
    assert HeldoutPairs(rows[1:], taught=[], seed=0).tempered(scorer) is scorer
