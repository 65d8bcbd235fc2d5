import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from heedful.errors import ConfigError, ModelError
from heedful.models.opening import (
    LoraShape,
    base_of,
    check_adapter,
    open_generator,
    open_model,
    open_policy,
    save_policy,
)
from heedful.models.policy import LanguagePolicy
from heedful.testing.policies import byte_causal, byte_encoder_decoder, byte_tokenizer
from heedful.testing.tiny import save_model
from tests.families import ALL, LORA_TARGETS, some_decisions, some_prompts
from tests.tolerances import EXACT

LORA = LoraShape(r=4, alpha=8.0, targets="all-linear")
BUILDERS = {"causal": byte_causal, "encoder_decoder": byte_encoder_decoder}
either_kind = pytest.mark.parametrize("kind", BUILDERS)
either_method = pytest.mark.parametrize("lora", [LORA, None], ids=["lora", "full"])
PROMPTS, (ACTIONS, MASK) = some_prompts(), some_decisions()


@pytest.fixture
def source(kind: str, tmp_path: Path) -> Path:
    return save_model(tmp_path / "first" / "model", BUILDERS[kind](0), byte_tokenizer())


def opened(source: Path, lora: LoraShape | None, seed: int = 0) -> tuple[LanguagePolicy, object]:
    return open_policy(source, lora=lora, temperature=1.0, precision="fp32", seed=seed)


@torch.no_grad()
def logits(policy: LanguagePolicy) -> Tensor:
    states = policy.trunk.states(PROMPTS, ACTIONS, MASK)
    return states.head(states.inputs)


def shaken(policy: LanguagePolicy) -> LanguagePolicy:
    generator = torch.Generator().manual_seed(0)
    for _, value in policy.trainable():
        value.data.add_(0.1 * torch.randn(value.shape, generator=generator))
    return policy


def saved(policy: LanguagePolicy, source: Path, root: Path) -> Path:
    (root / "model").mkdir(parents=True)
    save_policy(policy, source, root / "model", root)
    return root / "model"


@either_kind
@either_method
def test_a_trained_policy_reads_back_bit_for_bit(source: Path, lora: LoraShape | None, tmp_path: Path) -> None:
    policy = shaken(opened(source, lora)[0])
    folder = saved(policy, source, tmp_path / "second")
    assert torch.equal(logits(open_generator(folder)), logits(policy))
    assert (tmp_path / "second" / "value_head.safetensors").is_file()
    assert (folder / "base.json").is_file() is (lora is not None)


@either_kind
@either_method
def test_a_policy_starts_from_its_reference(source: Path, lora: LoraShape | None) -> None:
    policy, reference = opened(source, lora)
    beside = policy.evaluate_beside(reference, PROMPTS, ACTIONS, MASK)
    assert torch.equal(beside.logprobs, beside.ref_logprobs)
    assert beside.values.abs().max() == EXACT


@pytest.mark.parametrize("kind", ["causal"])
def test_a_folder_with_an_adapter_goes_on_training_it_beside_a_frozen_copy(source: Path, tmp_path: Path) -> None:
    first = shaken(opened(source, LORA)[0])
    folder = saved(first, source, tmp_path / "second")
    policy, reference = opened(folder, LORA)
    assert torch.equal(logits(policy), logits(first))
    names = [name for name, _ in policy.trainable() if not name.startswith("value_head")]
    assert names
    assert all(".policy." in name for name in names)
    shaken(policy)
    beside = policy.evaluate_beside(reference, PROMPTS, ACTIONS, MASK)
    expected = logits(first).log_softmax(-1).gather(1, ACTIONS[MASK][:, None])[:, 0]
    assert torch.equal(beside.ref_logprobs[MASK], expected)
    assert (beside.exact_kl[MASK] > 0).all()
    reference.check_unchanged()
    third = saved(policy, folder, tmp_path / "third")
    assert base_of(third)[0] == str(source.resolve())
    assert torch.equal(logits(open_generator(third)), logits(policy))


@pytest.mark.parametrize("kind", ["causal"])
def test_the_pointer_to_the_base_is_relative_so_that_a_store_can_be_moved(source: Path, tmp_path: Path) -> None:
    folder = saved(shaken(opened(source, LORA)[0]), source, tmp_path / "second")
    expected = logits(open_generator(folder))
    assert json.loads((folder / "base.json").read_text())["base"] == "../../first/model"
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("first", "second"):
        (tmp_path / name).rename(moved / name)
    assert torch.equal(logits(open_generator(moved / "second" / "model")), expected)


@pytest.mark.parametrize("kind", ["causal"])
def test_a_generator_trains_nothing(source: Path) -> None:
    assert list(open_generator(source).trainable()) == []


@pytest.mark.parametrize("kind", ["causal"])
def test_seeds_give_adapters(source: Path) -> None:
    def first(seed: int) -> Tensor:
        return next(value for name, value in opened(source, LORA, seed)[0].trainable() if "lora_A" in name)

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))


@either_method
@pytest.mark.parametrize("family", ["t5gemma", "switch", "umt5"])
def test_families_with_a_head_of_their_own_open_as_policies(
    family: str, lora: LoraShape | None, tmp_path: Path
) -> None:
    model = ALL[family]()
    folder = save_model(tmp_path / "model", model, byte_tokenizer())
    shape = lora and LoraShape(lora.r, lora.alpha, LORA_TARGETS[family])
    policy, reference = opened(folder, shape)
    beside = policy.evaluate_beside(reference, PROMPTS, ACTIONS, MASK)
    assert torch.equal(beside.logprobs, beside.ref_logprobs)
    assert beside.values.abs().max() == EXACT


@pytest.fixture
def adapted(tmp_path: Path) -> Path:
    """A folder with a trained adapter of LORA's shape on a base, as `sft` writes it."""
    source = save_model(tmp_path / "first" / "model", byte_causal(0), byte_tokenizer())
    return saved(shaken(opened(source, LORA)[0]), source, tmp_path / "second")


def test_all_weights_of_an_adapter_cannot_be_trained(adapted: Path) -> None:
    with pytest.raises(ConfigError, match=r"method = \"full\".*adapter.*heed export"):
        opened(adapted, None)


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({}, None),
        ({"r": 4, "alpha": 8, "targets": "all-linear"}, None),
        ({"r": 16}, r"align\.policy\.r = 16, but.*r = 4"),
        ({"alpha": 32.0}, r"align\.policy\.alpha = 32\.0, but.*alpha = 8\.0"),
        ({"targets": ["q_proj"]}, r"align\.policy\.targets = \['q_proj'\], but"),
    ],
)
def test_what_was_asked_of_an_adapter_must_be_what_it_is(
    adapted: Path, asked: dict[str, Any], complaint: str | None
) -> None:
    policy, _ = opened(adapted, LORA)
    if complaint is None:
        check_adapter(policy, asked)
        return
    with pytest.raises(ConfigError, match=complaint) as caught:
        check_adapter(policy, asked)
    assert "\n" not in str(caught.value)


def test_an_adapter_on_some_layers_is_not_one_on_all(tmp_path: Path) -> None:
    source = save_model(tmp_path / "first" / "model", byte_causal(0), byte_tokenizer())
    first, _ = opened(source, LoraShape(r=4, alpha=8.0, targets=["q_proj", "v_proj"]))
    check_adapter(first, {"r": 16})  # a new adapter is what was asked for
    policy, _ = opened(saved(first, source, tmp_path / "second"), LORA)
    check_adapter(policy, {"targets": ["v_proj", "q_proj"]})
    with pytest.raises(ConfigError, match=r"targets = 'all-linear', but.*q_proj.*v_proj"):
        check_adapter(policy, {"targets": "all-linear"})


@pytest.mark.parametrize("family", ["gpt2", "t5_tied", "t5gemma", "switch"])
def test_an_adapter_on_all_linear_layers_is_known_in_every_family(family: str, tmp_path: Path) -> None:
    source = save_model(tmp_path / "first" / "model", ALL[family](), byte_tokenizer())
    folder = saved(opened(source, LORA)[0], source, tmp_path / "second")
    check_adapter(opened(folder, LORA)[0], {"targets": "all-linear"})


def test_a_base_that_changed_is_refused(adapted: Path) -> None:
    assert "digest" in json.loads((adapted / "base.json").read_text())
    byte_causal(9).save_pretrained(base_of(adapted).source)
    for reading in (open_generator, open_model, lambda folder: opened(folder, LORA)):
        with pytest.raises(ModelError, match=r"its base .* changed") as caught:
            reading(adapted)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"digest": "x"}'])
def test_a_damaged_pointer_is_one_line(adapted: Path, text: str) -> None:
    (adapted / "base.json").write_text(text)
    with pytest.raises(ModelError, match=r"base\.json.*could not be read") as caught:
        base_of(adapted)
    assert "\n" not in str(caught.value)


def test_a_pointer_without_its_adapter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text('{"base": "somewhere"}')
    with pytest.raises(ModelError, match=r"base\.json without adapter/"):
        base_of(tmp_path)
