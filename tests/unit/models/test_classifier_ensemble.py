"""Ensembles of classifiers: classes combined as the members' log odds, one member is the plain model, saved and read back."""

from pathlib import Path

import numpy as np
import pytest
import torch

from heedful.models.backbones import Backbone, Reading, body_of
from heedful.models.ensemble import Combine, Ensemble
from heedful.models.heads import ScalarHead, log_odds, mean_head
from heedful.models.reward import RewardModel, load_reward_model
from heedful.models.sequence_classifier import Scale
from heedful.testing.tiny import tiny_causal, tiny_tokenizer
from tests.tolerances import FP32, FP32_SUM

TEXTS = ["hot ?"] * 5, ["open the window", "drink", "you fool !", "close the door , you !", "why so hot ?"]
TEMPERATURE = 2.5


def backbone() -> Backbone:
    tokenizer = tiny_tokenizer()
    return body_of(tiny_causal(tokenizer, seed=3), tokenizer, Reading())


def heads(members: int) -> list[ScalarHead]:
    made = [ScalarHead(backbone().width, seed=n) for n in range(2 * members)]
    for number, head in enumerate(made):
        head.bias.data = torch.tensor(0.3 * number)
    return made


def ensemble(members: int, combine: Combine = "mean") -> Ensemble:
    scale = Scale(temperature=TEMPERATURE)
    return Ensemble(backbone(), heads(members), classes=2, combine=combine, variance_weight=0.5, scale=scale)


def test_log_odds_and_the_mean_head_by_hand() -> None:
    assert log_odds(torch.tensor([[3.0, 1.0, -2.0, 5.0]])).tolist() == [[2.0, -7.0]]
    first, second = ScalarHead(2, zero=True), ScalarHead(2, zero=True)
    first.weight.data, second.weight.data = torch.tensor([1.0, 2.0]), torch.tensor([3.0, -6.0])
    second.bias.data = torch.tensor(4.0)
    mean = mean_head([first, second])
    assert (mean.weight.tolist(), mean.bias.item()) == ([2.0, -2.0], 2.0)


@pytest.mark.parametrize("combine", ["mean", "worst", "mean_minus_variance"])
def test_classes_and_scores_are_combined_of_what_members_say_alone(combine: Combine) -> None:
    whole, three = ensemble(3, combine), heads(3)
    alone = [RewardModel(backbone(), three[2 * n : 2 * n + 2]).raw_batched(*TEXTS).double().numpy() for n in range(3)]
    wanted = np.stack([raw[:, 0] for raw in alone]) / TEMPERATURE
    odds = np.stack([raw[:, 0] - raw[:, 1] for raw in alone])
    by_hand = {
        "mean": lambda x: x.mean(0),
        "worst": lambda x: x.min(0),
        "mean_minus_variance": lambda x: x.mean(0) - 0.5 * np.square(x - x.mean(0)).mean(0),
    }[combine]
    np.testing.assert_allclose(whole.score(*TEXTS), by_hand(wanted), atol=FP32)  # type: ignore[arg-type]
    unwanted = 1 / (1 + np.exp(by_hand(odds) / TEMPERATURE))
    np.testing.assert_allclose(whole.probability_unwanted(*TEXTS), unwanted, atol=FP32)
    assert whole.member_scores(*TEXTS).shape == (5, 3)


@pytest.mark.parametrize("combine", ["mean", "worst", "mean_minus_variance"])
def test_one_member_is_the_plain_model(combine: Combine) -> None:
    plain = RewardModel(backbone(), heads(1), Scale(temperature=TEMPERATURE))
    one = ensemble(1, combine)
    assert one.score(*TEXTS) == plain.score(*TEXTS)
    assert one.probability_better([0.7]) == plain.probability_better([0.7])
    np.testing.assert_allclose(one.probability_unwanted(*TEXTS), plain.probability_unwanted(*TEXTS), atol=FP32)
    scaled, wanted = one.calibrated(*TEXTS), plain.calibrated(*TEXTS)
    np.testing.assert_allclose(scaled.score(*TEXTS), wanted.score(*TEXTS), atol=FP32)  # type: ignore[arg-type]
    assert scaled.probability_better([0.7]) == pytest.approx(wanted.probability_better([0.7]), abs=FP32)
    assert scaled.probability_unwanted(*TEXTS) == one.probability_unwanted(*TEXTS), "a scale moves no class"


def test_saved_and_loaded_it_says_the_same(tmp_path: Path) -> None:
    whole = ensemble(3, "worst").calibrated(*TEXTS)
    whole.save(tmp_path / "model")
    loaded = load_reward_model(tmp_path / "model")
    assert isinstance(loaded, Ensemble)
    assert (loaded.classes, len(loaded.scales), len(loaded.heads)) == (2, 3, 6)
    assert loaded.score(*TEXTS) == whole.score(*TEXTS)
    assert loaded.probability_unwanted(*TEXTS) == whole.probability_unwanted(*TEXTS)


def test_averaged_heads_keep_their_classes() -> None:
    whole = ensemble(3)
    scores, chances = whole.score(*TEXTS), whole.probability_unwanted(*TEXTS)
    one = RewardModel(*whole.averaged(), Scale(temperature=TEMPERATURE))
    np.testing.assert_allclose(one.score(*TEXTS), scores, atol=FP32_SUM)  # type: ignore[arg-type]
    np.testing.assert_allclose(one.probability_unwanted(*TEXTS), chances, atol=FP32_SUM)
