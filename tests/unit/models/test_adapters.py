import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from heedful.errors import ModelError
from heedful.models.adapters import add_lora, load_adapter, save_adapter, with_adapter, without_adapters
from heedful.models.trunks import make_trunk
from heedful.testing.policies import byte_causal
from tests.families import ALL, LORA_TARGETS, some_decisions, some_prompts

TARGETS = ["q_proj", "v_proj"]


def lora(model: Any, targets: str | list[str] = TARGETS, *, seed: int = 0, name: str = "policy") -> Any:
    return add_lora(model, r=4, alpha=8.0, targets=targets, seed=seed, name=name)


def shaken(model: Any, name: str = "policy", *, seed: int = 3) -> Any:
    """Give the adapter's B, which starts at 0, some numbers, as training would."""
    generator = torch.Generator().manual_seed(seed)
    for key, value in model.named_parameters():
        if "lora_B" in key and f".{name}." in key:
            value.data.copy_(torch.randn(value.shape, generator=generator))
    return model


@torch.no_grad()
def states(model: Any) -> Tensor:
    bare = model.get_base_model() if hasattr(model, "peft_config") else model
    actions, mask = some_decisions()
    seen = make_trunk(bare).states(some_prompts(), actions, mask)
    return seen.head(seen.inputs)


def requires_grad(model: Any) -> dict[str, bool]:
    return {name: p.requires_grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("family", ALL)
def test_without_adapters_is_the_base_bit_for_bit(family: str) -> None:
    expected = states(ALL[family]())
    model = shaken(lora(ALL[family](), LORA_TARGETS[family]))
    assert not torch.equal(states(model), expected)
    with without_adapters(model):
        assert torch.equal(states(model), expected)


@pytest.mark.parametrize("family", ALL)
def test_a_fresh_adapter_changes_nothing_and_trains_only_itself(family: str) -> None:
    expected = states(ALL[family]())
    model = lora(ALL[family](), LORA_TARGETS[family])
    assert torch.equal(states(model), expected)
    assert {"lora_" in name for name, on in requires_grad(model).items() if on} == {True}


def test_the_random_half_comes_from_the_seed_and_leaves_the_global_stream_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = lora(byte_causal()), lora(byte_causal()), lora(byte_causal(), seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    key = next(name for name, _ in one.named_parameters() if "lora_A" in name)
    assert torch.equal(one.get_parameter(key), same.get_parameter(key))
    assert not torch.equal(one.get_parameter(key), other.get_parameter(key))


@pytest.fixture
def three(tmp_path: Path) -> Any:
    """A policy adapter that trains, and two frozen ones beside it, all different."""
    for number, name in enumerate(("reference", "other")):
        save_adapter(shaken(lora(byte_causal(), name=name), name, seed=number), tmp_path / name, name)
    model = shaken(lora(byte_causal()))
    for name in ("reference", "other"):
        model = load_adapter(model, tmp_path / name, name=name)
    model.set_adapter("policy")
    return model


def test_the_context_managers_put_back_the_active_adapter_and_every_requires_grad(three: Any) -> None:
    before, expected = requires_grad(three), states(three)
    assert any(before.values())
    for block in (without_adapters(three), with_adapter(three, "reference"), with_adapter(three, "other")):
        with block:
            inside = states(three)
        assert not torch.equal(inside, expected)
        assert requires_grad(three) == before
        assert three.active_adapter == "policy"
        assert torch.equal(states(three), expected)


def test_they_are_put_back_after_an_error_too(three: Any) -> None:
    before = requires_grad(three)
    for block in (without_adapters(three), with_adapter(three, "other")):
        with pytest.raises(RuntimeError, match="on purpose"), block:
            raise RuntimeError("on purpose")
        assert requires_grad(three) == before
        assert three.active_adapter == "policy"


def test_each_adapter_is_itself(three: Any, tmp_path: Path) -> None:
    for name in ("reference", "other"):
        alone = load_adapter(byte_causal(), tmp_path / name, name=name)
        with with_adapter(three, name):
            assert torch.equal(states(three), states(alone))


def test_a_saved_adapter_reads_back_bit_for_bit(tmp_path: Path) -> None:
    model = shaken(lora(byte_causal()))
    save_adapter(model, tmp_path / "adapter")
    assert sorted(file.name for file in (tmp_path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert torch.equal(states(load_adapter(byte_causal(), tmp_path / "adapter")), states(model))


def test_what_is_saved_does_not_depend_on_where_the_base_lies_or_on_the_order_of_a_set(tmp_path: Path) -> None:
    configs = []
    for place, targets in (("here", ["q_proj", "v_proj", "o_proj"]), ("there", ["o_proj", "v_proj", "q_proj"])):
        byte_causal().save_pretrained(tmp_path / place)
        model = lora(AutoModelForCausalLM.from_pretrained(tmp_path / place), targets)
        save_adapter(model, tmp_path / place / "adapter")
        configs.append((tmp_path / place / "adapter" / "adapter_config.json").read_bytes())
    assert configs[0] == configs[1]
    assert json.loads(configs[0])["target_modules"] == ["o_proj", "q_proj", "v_proj"]


def test_a_frozen_adapter_stays_frozen_and_a_trainable_one_trains(tmp_path: Path) -> None:
    save_adapter(lora(byte_causal()), tmp_path)
    assert not any(requires_grad(load_adapter(byte_causal(), tmp_path)).values())
    trains = load_adapter(byte_causal(), tmp_path, trainable=True)
    assert {"lora_" in name for name, on in requires_grad(trains).items() if on} == {True}


def test_unknown_layers_are_named_in_one_line() -> None:
    with pytest.raises(ModelError, match="no_such_layer") as caught:
        lora(byte_causal(), ["no_such_layer"])
    assert "\n" not in str(caught.value)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no adapter_model\.safetensors"):
        load_adapter(byte_causal(), tmp_path)
