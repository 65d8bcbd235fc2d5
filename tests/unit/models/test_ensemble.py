"""Ensembles: combined by hand, members are what they would be alone, saved and read back, scaled, weights averaged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from heedful.engines.watch.monitor_columns import EnsembleScorer
from heedful.errors import DataError, ModelError
from heedful.models.adapters import add_lora, add_sibling, with_adapter
from heedful.models.backbones import Backbone, Reading, body_of
from heedful.models.ensemble import Combine, Ensemble, adapter_name, combined
from heedful.models.heads import ScalarHead
from heedful.models.reward import RewardModel, load_reward_model
from heedful.models.roles import Scorer
from heedful.testing.tiny import tiny_causal, tiny_encoder, tiny_encoder_decoder, tiny_tokenizer
from tests.tolerances import FP32, FP32_SUM, FP64

PROMPTS = ["hot ?"] * 5
COMPLETIONS = ["open the window", "drink", "you fool !", "close the door , you !", "why so hot ?"]
KINDS = ["causal", "encoder", "encoder_decoder"]
MEMBERS = 3


def backbone_of(kind: str = "causal") -> Backbone:
    tokenizer = tiny_tokenizer()
    if kind == "encoder":
        return Backbone(tiny_encoder(tokenizer, seed=3), tokenizer, Reading())
    make = tiny_causal if kind == "causal" else tiny_encoder_decoder
    return body_of(make(tokenizer, seed=3), tokenizer, Reading())


def ensemble(kind: str = "causal", *, adapters: bool = True, combine: Combine = "mean") -> Ensemble:
    """Members with adapters that are no longer 0, as after training."""
    backbone = backbone_of(kind)
    heads = [ScalarHead(backbone.width, seed=n) for n in range(MEMBERS)]
    adapted: Any = None
    if adapters:
        adapted = add_lora(backbone.model, r=2, alpha=4.0, targets="all-linear", seed=0, name=adapter_name(0))
        for n in range(1, MEMBERS):
            add_sibling(adapted, adapter_name(0), adapter_name(n), seed=n)
        generator = torch.Generator().manual_seed(5)
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return Ensemble(backbone, heads, adapted=adapted, combine=combine)


def test_combining_by_hand() -> None:
    scores = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 0.0]])
    assert combined(scores, "mean").tolist() == [3.0, 0.0]
    assert combined(scores, "worst").tolist() == [1.0, 0.0]
    # Squared distances from the mean 3: 4, 1, 9; their mean is 14/3.
    assert combined(scores, "mean_minus_variance", 0.5).tolist() == pytest.approx([3 - 0.5 * 14 / 3, 0.0])


def test_members_are_kept_for_whoever_watches_and_no_score_changes() -> None:
    watched, plain = ensemble(), ensemble()
    assert isinstance(watched, EnsembleScorer)
    watched.keep_members = True
    assert watched.score(PROMPTS, COMPLETIONS) == plain.score(PROMPTS, COMPLETIONS)
    assert plain.members is None
    assert watched.members is not None
    assert torch.equal(watched.members, plain.member_scores(PROMPTS, COMPLETIONS))


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_scores_as_its_adapter_and_head_would_alone(kind: str) -> None:
    whole = ensemble(kind)
    scores = whole.member_scores(PROMPTS, COMPLETIONS)
    for n in range(MEMBERS):
        with with_adapter(whole.adapted, adapter_name(n)):
            alone = RewardModel(whole.backbone, [whole.heads[n]]).score(PROMPTS, COMPLETIONS)
        np.testing.assert_allclose(scores[:, n], alone, atol=FP32)  # type: ignore[arg-type]
    assert scores.std(1).min() > 0.01, "the members differ"


@pytest.mark.parametrize("adapters", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_scores_the_same(tmp_path: Path, kind: str, adapters: bool) -> None:
    whole = ensemble(kind, adapters=adapters, combine="worst").calibrated(PROMPTS, COMPLETIONS).tempered(2.0)
    expected = whole.score(PROMPTS, COMPLETIONS)
    whole.save(tmp_path / "model")
    assert whole.score(PROMPTS, COMPLETIONS) == expected, "saving changes nothing"
    loaded = load_reward_model(tmp_path / "model")
    assert isinstance(loaded, Ensemble)
    assert isinstance(loaded, Scorer)
    assert loaded.score(PROMPTS, COMPLETIONS) == expected
    assert (loaded.combine, loaded.scale, loaded.scales) == ("worst", whole.scale, whole.scales)
    size = sum(file.stat().st_size for file in (tmp_path / "model").rglob("backbone/*.safetensors"))
    assert size < 1.2 * sum(4 * p.numel() for name, p in whole.backbone.model.named_parameters() if "lora_" not in name)


@pytest.mark.parametrize("combine", ["mean", "worst", "mean_minus_variance"])
def test_members_and_what_is_combined_of_them_get_mean_0_and_sd_1(combine: Combine) -> None:
    whole = ensemble(combine=combine).calibrated(PROMPTS, COMPLETIONS)
    members = whole.member_scores(PROMPTS, COMPLETIONS).numpy()
    scores = np.array(whole.score(PROMPTS, COMPLETIONS), dtype=float)
    for column in [*members.T, scores]:
        assert abs(column.mean()) < FP64
        assert abs(column.std() - 1) < FP64
    expected = combined(torch.from_numpy(members), combine).numpy()
    np.testing.assert_allclose(scores, (expected - expected.mean()) / expected.std(), atol=FP64)
    again = whole.calibrated(PROMPTS, COMPLETIONS)
    np.testing.assert_allclose(again.score(PROMPTS, COMPLETIONS), scores, atol=FP64)  # type: ignore[arg-type]


def test_averaged_heads_are_the_mean_of_the_members() -> None:
    whole = ensemble(adapters=False)
    expected = whole.score(PROMPTS, COMPLETIONS)
    np.testing.assert_allclose(RewardModel(*whole.averaged()).score(PROMPTS, COMPLETIONS), expected, atol=FP32_SUM)  # type: ignore[arg-type]


def test_averaged_adapters_add_the_mean_of_what_each_adds() -> None:
    whole = ensemble()
    layer = whole.backbone.model.layers[0].mlp.up_proj
    base = layer.base_layer.weight.detach().clone()
    added = torch.stack(
        [2.0 * layer.lora_B[adapter_name(n)].weight @ layer.lora_A[adapter_name(n)].weight for n in range(MEMBERS)]
    )  # alpha / r = 2
    backbone, _ = whole.averaged()
    merged = backbone.model.layers[0].mlp.up_proj
    torch.testing.assert_close(merged.weight, base + added.mean(0).detach(), atol=FP32, rtol=FP32)
    assert not [name for name, _ in backbone.model.named_parameters() if "lora_" in name]


def test_all_members_can_be_trained_and_the_base_cannot() -> None:
    names = [name for name, _ in ensemble().parameters()]
    assert all("lora_" in name or name.startswith("head.") for name in names)
    for n in range(MEMBERS):
        assert sum(f".{adapter_name(n)}." in name for name in names) > 0
    assert sum(name.startswith("head.") for name in names) == 2 * MEMBERS


def test_gradients_reach_every_member_and_only_its_own(tmp_path: Path) -> None:
    whole = ensemble()
    texts = [whole.backbone.read(p, c) for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    whole.raw(texts)[:, 1].sum().backward()
    touched = {name for name, p in whole.parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert any(f".{adapter_name(1)}." in name for name in touched)
    assert not [name for name in touched if f".{adapter_name(0)}." in name or name.startswith("head.0")]


def test_an_ensemble_has_no_classes_and_no_spread_is_named(tmp_path: Path) -> None:
    whole = ensemble()
    with pytest.raises(DataError, match="this ensemble has no classes"):
        whole.probability_unwanted(PROMPTS, COMPLETIONS)
    with pytest.raises(DataError, match="no spread"):
        whole.calibrated(["a", "a"], ["b", "b"])


def test_a_missing_member_is_named(tmp_path: Path) -> None:
    ensemble().save(tmp_path / "model")
    (tmp_path / "model" / adapter_name(1) / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"member_1: no adapter_model.safetensors"):
        load_reward_model(tmp_path / "model")
