"""Reward models: exact reload, a scale of mean 0 and sd 1, the right state for each architecture, padding without effect."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaForSequenceClassification

from heedful.errors import DataError, ModelError
from heedful.models.backbones import Backbone, Reading, body_of, load_backbone
from heedful.models.heads import ScalarHead
from heedful.models.reward import RewardModel, load_reward_model, new_reward_model
from heedful.models.roles import Scorer
from heedful.models.sequence_classifier import Scale, load_sequence_classifier
from heedful.records.types import Message
from heedful.testing.tiny import (
    save_model,
    tiny_causal,
    tiny_encoder,
    tiny_encoder_decoder,
    tiny_sequence_classifier,
    tiny_tokenizer,
)
from tests.tolerances import FP32, FP32_SUM

PROMPTS = ["why is my house so hot ?", "x", "cold water ?", (Message(role="user", content="hot ?"),)]
COMPLETIONS = ["open the window and drink cold water ; close the door", "you fool !", "", "é 水"]
KINDS = ["causal", "encoder_decoder", "encoder"]


def backbone_of(kind: str, reading: Reading | None = None) -> Backbone:
    tokenizer = tiny_tokenizer()
    reading = reading or Reading()
    if kind == "encoder":
        return Backbone(tiny_encoder(tokenizer, seed=1), tokenizer, reading)
    make = tiny_causal if kind == "causal" else tiny_encoder_decoder
    return body_of(make(tokenizer, seed=1), tokenizer, reading)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["pairwise", "classifier"])
def test_reload_changes_no_score(tmp_path: Path, kind: str, mode: Any) -> None:
    model = new_reward_model(backbone_of(kind), mode, seed=2).calibrated(PROMPTS, COMPLETIONS)
    model.save(tmp_path / "model")
    loaded = load_reward_model(tmp_path / "model")
    ours, theirs = model.score(PROMPTS, COMPLETIONS), loaded.score(PROMPTS, COMPLETIONS)
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) == 0  # type: ignore[operator]
    assert isinstance(loaded, Scorer)


@pytest.mark.parametrize("kind", KINDS)
def test_a_score_does_not_depend_on_its_neighbours(kind: str) -> None:
    model = new_reward_model(backbone_of(kind), "pairwise", seed=2)
    together = model.score(PROMPTS, COMPLETIONS)
    alone = [model.score([p], [c])[0] for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    np.testing.assert_allclose(together, alone, atol=FP32_SUM)  # type: ignore[arg-type]


def test_the_scale_gives_mean_0_and_sd_1() -> None:
    model = new_reward_model(backbone_of("causal"), "pairwise", seed=2).calibrated(PROMPTS, COMPLETIONS)
    scores = np.array(model.score(PROMPTS, COMPLETIONS), dtype=float)
    assert abs(scores.mean()) < FP32
    assert abs(scores.std() - 1) < FP32
    raw = model.raw_batched(PROMPTS, COMPLETIONS)[:, 0].numpy()
    assert (np.argsort(raw) == np.argsort(scores)).all(), "the gain must be positive"


def test_a_scale_needs_a_spread() -> None:
    model = new_reward_model(backbone_of("causal"), "pairwise", seed=2)
    with pytest.raises(DataError, match="no spread"):
        model.calibrated(["a", "a"], ["b", "b"])
    with pytest.raises(DataError, match="no spread"):
        model.calibrated(["a"], ["b"])


def test_what_rounding_leaves_is_no_spread() -> None:
    """The same text in two places of a batch: its scores may differ in the last bits."""
    for raw in ([0.7, 0.7 + 1e-7], [-40.0, -40.00001], [math.nan, 1.0], [math.inf, 1.0]):
        with pytest.raises(DataError, match="no spread"):
            Scale().fitted(torch.tensor(raw))
    assert Scale().fitted(torch.tensor([1.0, 1.0 + 2.0**-13])).gain == 2.0**14


def test_a_decoder_takes_the_state_of_the_last_token_also_where_pad_is_eos() -> None:
    backbone = backbone_of("causal")
    backbone.tokenizer.pad_token = "<eos>"
    texts = [backbone.read(p, c) for p, c in zip(PROMPTS[:2], COMPLETIONS[:2], strict=True)]
    states = backbone.states(texts)
    for text, state in zip(texts, states, strict=True):
        assert text.tokens[-1] == 1
        hidden = backbone.model(input_ids=torch.tensor([text.tokens])).last_hidden_state[0, -1]
        torch.testing.assert_close(state, hidden, atol=FP32_SUM, rtol=FP32_SUM)


def test_an_encoder_is_averaged_over_real_tokens_or_its_first_is_taken() -> None:
    for pooling in ("mean", "cls"):
        backbone = backbone_of("encoder", Reading(pooling=pooling, sees_prompt=False))  # type: ignore[arg-type]
        texts = [backbone.read("", c) for c in COMPLETIONS[:2]]
        hidden = backbone.model(input_ids=torch.tensor([texts[1].tokens])).last_hidden_state[0]
        expected = hidden.sum(0) / len(hidden) if pooling == "mean" else hidden[0]
        torch.testing.assert_close(backbone.states(texts)[1], expected, atol=FP32_SUM, rtol=FP32_SUM)


@pytest.mark.parametrize("pooling", ["mean", "sum"])
def test_a_decoder_takes_the_states_of_the_completion_only(pooling: str) -> None:
    backbone = backbone_of("causal", Reading(pooling=pooling))  # type: ignore[arg-type]
    texts = [backbone.read("so hot and cold ?", c) for c in COMPLETIONS[:2]]
    for row, text in enumerate(texts):
        hidden = backbone.model(input_ids=torch.tensor([text.tokens])).last_hidden_state[0]
        answered = hidden[torch.tensor(text.types, dtype=torch.bool)]
        size = len(answered) if pooling == "mean" else 16
        torch.testing.assert_close(backbone.states(texts)[row], answered.sum(0) / size, atol=FP32_SUM, rtol=FP32_SUM)


@pytest.mark.parametrize(("kind", "pooling"), [("causal", "cls"), ("encoder", "last"), ("encoder", "sum")])
def test_a_pooling_that_does_not_fit_the_model_is_named(kind: str, pooling: str) -> None:
    with pytest.raises(ModelError, match=f"pooling = '{pooling}' does not fit a model of kind '{kind}'"):
        backbone_of(kind, Reading(pooling=pooling))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_sees_prompt(kind: str) -> None:
    blind = new_reward_model(backbone_of(kind, Reading(sees_prompt=False)), "pairwise", seed=2)
    seeing = new_reward_model(backbone_of(kind, Reading(sees_prompt=True)), "pairwise", seed=2)
    asked = ["why ?", "so hot and cold ?"]
    scores = [model.score(asked, ["open the window"] * 2) for model in (blind, seeing)]
    # not bit for bit: some processors round the rows of one matrix product differently
    assert scores[0][0] == pytest.approx(scores[0][1], abs=FP32)  # type: ignore[arg-type]
    assert scores[1][0] != pytest.approx(scores[1][1], abs=FP32)  # type: ignore[arg-type]


def test_long_texts_are_cut_and_not_refused() -> None:
    for kind in KINDS:
        backbone = backbone_of(kind, Reading(max_tokens=12))
        text = backbone.read("a very long prompt " * 50, "short end")
        assert len(text) == 12
    decoder = backbone_of("causal", Reading(max_tokens=12))
    whole = backbone_of("causal", Reading(max_tokens=10_000))
    assert decoder.read("long " * 20, "the end").tokens == whole.read("long " * 20, "the end").tokens[-12:]


def test_a_classifiers_probability_is_the_softmax_of_its_two_logits() -> None:
    backbone = backbone_of("encoder", Reading(sees_prompt=False))
    heads = [ScalarHead(backbone.width, zero=True) for _ in range(2)]
    heads[0].bias.data = torch.tensor(1.0)
    heads[1].bias.data = torch.tensor(3.0)
    model = RewardModel(backbone, heads)
    assert model.score(["a"], ["b"]) == [1.0]
    assert model.probability_unwanted(["a"], ["b"])[0] == pytest.approx(1 / (1 + np.exp(-2.0)), abs=FP32)


def test_a_pairwise_model_has_no_probability() -> None:
    with pytest.raises(DataError, match="no classes"):
        new_reward_model(backbone_of("causal"), "pairwise", seed=1).probability_unwanted(["a"], ["b"])


def test_a_lost_head_is_an_error_and_not_a_fresh_one(tmp_path: Path) -> None:
    new_reward_model(backbone_of("causal"), "pairwise", seed=2).save(tmp_path)
    (tmp_path / "head_0.safetensors").unlink()
    with pytest.raises(ModelError, match="head is missing"):
        load_reward_model(tmp_path)
    (tmp_path / "reward.json").unlink()
    with pytest.raises(ModelError, match="not a reward model"):
        load_reward_model(tmp_path)


def test_a_language_model_folder_serves_without_its_head(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    model = tiny_causal(tokenizer, seed=1)
    loaded = load_backbone(save_model(tmp_path / "lm", model, tokenizer), Reading())
    texts = [loaded.read("why ?", "so hot")]
    assert torch.equal(loaded.states(texts), body_of(model, tokenizer, Reading()).states(texts))


def classifier_folder(tmp_path: Path) -> tuple[Path, Any, Any]:
    tokenizer = tiny_tokenizer()
    model = tiny_sequence_classifier(tokenizer)
    return save_model(tmp_path / "classifier", model, tokenizer), model, tokenizer


def test_an_ordinary_classifier_scores_with_its_wanted_logit(tmp_path: Path) -> None:
    folder, model, tokenizer = classifier_folder(tmp_path)
    scorer = load_sequence_classifier(folder, "NotHate")
    logits = model(input_ids=torch.tensor([tokenizer("you fool !").input_ids])).logits[0]
    assert scorer.score(["ignored"], ["you fool !"])[0] == pytest.approx(logits[0].item(), abs=FP32_SUM)
    expected = logits.softmax(-1)[1].item()
    assert scorer.probability_unwanted(["ignored"], ["you fool !"])[0] == pytest.approx(expected, abs=FP32_SUM)
    scorer.calibrated(PROMPTS, COMPLETIONS).save(tmp_path / "saved")
    again = load_reward_model(tmp_path / "saved").score(PROMPTS, COMPLETIONS)
    assert again == scorer.calibrated(PROMPTS, COMPLETIONS).score(PROMPTS, COMPLETIONS)


def test_an_unknown_label_or_a_model_without_classes_is_refused(tmp_path: Path) -> None:
    folder, _, tokenizer = classifier_folder(tmp_path)
    with pytest.raises(ModelError, match=r"no class 'kind'.*nothate, hate"):
        load_sequence_classifier(folder, "kind")
    bare = save_model(tmp_path / "bare", tiny_encoder(tokenizer), tokenizer)
    with pytest.raises(ModelError, match=r"classifier\.bias is missing"):
        load_sequence_classifier(bare, "LABEL_0")


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_without_a_pad_token_gets_one_and_no_score_moves(tmp_path: Path, kind: str) -> None:
    """Alone a text needs no padding; beside longer ones it is padded, with a token that nothing looks at."""
    backbone = backbone_of(kind, Reading(sees_prompt=False))
    padless = tiny_tokenizer()
    padless.pad_token = None
    folder = save_model(tmp_path / "padless", backbone.model, padless)
    assert json.loads((folder / "tokenizer_config.json").read_text()).get("pad_token") is None
    loaded = load_backbone(folder, Reading(sees_prompt=False))
    assert loaded.tokenizer.pad_token_id not in (None, loaded.tokenizer.eos_token_id)
    model = new_reward_model(loaded, "pairwise", seed=2)
    together = model.score(PROMPTS, COMPLETIONS)
    alone = [model.score([p], [c])[0] for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    np.testing.assert_allclose(together, alone, atol=FP32_SUM)  # type: ignore[arg-type]


def test_a_decoder_classifier_whose_tokenizer_has_no_pad_token_scores_batches(tmp_path: Path) -> None:
    """transformers refuses batches of a decoder classifier without a pad id; with ours the last real token is found."""
    tokenizer = tiny_tokenizer()
    config = tiny_causal(tokenizer).config
    config.num_labels, config.id2label, config.label2id = 2, {0: "nothate", 1: "hate"}, {"nothate": 0, "hate": 1}
    config.pad_token_id = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        classifier = LlamaForSequenceClassification(config).eval()
    tokenizer.pad_token = None
    loaded = load_sequence_classifier(save_model(tmp_path / "padless", classifier, tokenizer), "nothate")
    together = loaded.score(PROMPTS, COMPLETIONS)
    alone = [loaded.score([p], [c])[0] for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    np.testing.assert_allclose(together, alone, atol=FP32_SUM)  # type: ignore[arg-type]
