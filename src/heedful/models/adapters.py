"""LoRA adapters through peft: added, switched off for the reference, saved.

peft's `disable_adapter()` and `set_adapter()` change `requires_grad` of other adapters. `without_adapters` and `with_adapter` put
back what they found.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from heedful.errors import ModelError
from heedful.models.weights import one_line

# Where bitsandbytes is installed, peft imports it, and it says at once that it found no kernels that nobody asked for.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

POLICY = "policy"
REFERENCE = "reference"
VALUE = "value"
ALL_LINEAR = "all-linear"
"""As targets: every linear layer but the one that writes the logits."""


def add_lora(model: nn.Module, *, r: int, alpha: float, targets: str | list[str], seed: int, name: str = POLICY) -> Any:
    """Return `model` as a peft model with one fresh adapter; B starts at 0, so the outputs are those of the base.

    Args:
        model: a transformers model; its own weights are frozen from here on.
        r: rank. alpha: the update is scaled by alpha / r. targets: module names, or "all-linear".
        seed: for the random half of the adapter.
        name: the adapter's name.

    Raises:
        ModelError: when no module bears one of the names.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    task = TaskType.SEQ_2_SEQ_LM if getattr(model.config, "is_encoder_decoder", False) else TaskType.CAUSAL_LM
    if not hasattr(model, "prepare_inputs_for_generation"):
        task = TaskType.FEATURE_EXTRACTION  # the body of a reward model
    config = LoraConfig(r=r, lora_alpha=alpha, lora_dropout=0.0, target_modules=targets, task_type=task)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        try:
            return get_peft_model(model, config, adapter_name=name)
        except ValueError as error:
            first = str(error).splitlines()[0]
            raise ModelError(f"lora.targets = {targets!r}: {first}; name linear layers of this model") from error


def copy_adapter(model: Any, source: str, name: str) -> None:
    """Give a peft model another trainable adapter that starts as a copy of `source`; which one is active stays."""
    with _gradients_kept(model):
        model.add_adapter(name, copy.deepcopy(model.peft_config[source]))
        model.set_adapter(source)
    parameters = dict(model.named_parameters())
    for key, value in parameters.items():
        if f".{name}." in key and "lora_" in key:
            value.data.copy_(parameters[key.replace(f".{name}.", f".{source}.")].data)
            value.requires_grad_(True)


def adapter_shape(model: Any, name: str = POLICY) -> dict[str, Any]:
    """Return `r`, `alpha` and `targets` (sorted names, or a pattern) of an adapter."""
    config = model.peft_config[name]
    targets = config.target_modules
    return {
        "r": config.r,
        "alpha": float(config.lora_alpha),
        "targets": targets if isinstance(targets, str) else sorted(targets),
    }


def carried_by_all_linear(model: Any) -> bool:
    """Return whether a peft model's adapter lies on every layer that "all-linear" means."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from transformers.pytorch_utils import Conv1D

    bare = model.get_base_model()
    inside = {id(m) for layer in bare.modules() if isinstance(layer, BaseTunerLayer) for m in layer.modules()}
    inside.add(id(bare.get_output_embeddings()))
    return not any(isinstance(m, nn.Linear | Conv1D) and id(m) not in inside for m in bare.modules())


@contextlib.contextmanager
def _gradients_kept(model: nn.Module) -> Iterator[None]:
    before = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    try:
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(before.get(name, parameter.requires_grad))


@contextlib.contextmanager
def without_adapters(model: Any) -> Iterator[None]:
    """Run the bare base inside the block; afterwards every `requires_grad` is as it was."""
    with _gradients_kept(model), model.disable_adapter():
        yield


@contextlib.contextmanager
def with_adapter(model: Any, name: str) -> Iterator[None]:
    """Run with another adapter inside the block; afterwards the active one is as it was. `requires_grad` stays all the time: in
    the block, too, a frozen adapter gets no gradients."""
    active = model.active_adapter
    with _gradients_kept(model):
        model.set_adapter(name)
    try:
        yield
    finally:
        with _gradients_kept(model):
            model.set_adapter(active)


def save_adapter(model: Any, folder: Path, name: str = POLICY) -> None:
    """Write one adapter as safetensors with its peft configuration straight into `folder`."""
    model.save_pretrained(str(folder), selected_adapters=[name], safe_serialization=True)
    inner = folder / name
    if inner.is_dir():
        for file in inner.iterdir():
            file.replace(folder / file.name)
        inner.rmdir()
    (folder / "README.md").unlink(missing_ok=True)
    _settle(folder / "adapter_config.json")


def _settle(path: Path) -> None:
    """Take out of peft's configuration what differs between two equal runs: where the base lies, and the order of a set."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = None  # base.json beside the adapter says it, relatively
    if isinstance(config["target_modules"], list):
        config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_adapter(model: nn.Module, folder: Path, *, name: str = POLICY, trainable: bool = False) -> Any:
    """Return `model` as a peft model with the adapter of `folder`; an already wrapped model gets one more.

    Raises:
        ModelError: there is none, it cannot be read, or it is not whole (peft would make up the rest).
    """
    from peft import PeftModel

    if not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(f"{folder}: no adapter_model.safetensors; a peft adapter saved as safetensors was expected")
    with one_line(folder, "the adapter could not be loaded"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Found missing adapter keys")  # refused below, by name
        if isinstance(model, PeftModel):
            model.load_adapter(str(folder), adapter_name=name, is_trainable=trainable, torch_device="cpu")
        else:
            # read on the CPU, else peft opens a GPU whatever we were told; then copied to where the model is
            model = PeftModel.from_pretrained(
                model, str(folder), adapter_name=name, is_trainable=trainable, torch_device="cpu"
            )
    _check_whole(model, folder, name)
    return model


def _check_whole(model: Any, folder: Path, name: str) -> None:
    from peft import get_peft_model_state_dict

    with safe_open(str(folder / "adapter_model.safetensors"), framework="pt") as file:
        found = set(file.keys())
    missing = sorted(set(get_peft_model_state_dict(model, adapter_name=name)) - found)
    if missing:
        raise ModelError(
            f"{folder}: not a whole adapter for this model: {missing[0]} is missing; save or train it again"
        )


def add_sibling(model: Any, source: str, name: str, *, seed: int) -> None:
    """Give a peft model another fresh trainable adapter of the shape of `source`; which one is active stays."""
    with _gradients_kept(model), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        model.add_adapter(name, copy.deepcopy(model.peft_config[source]))
        model.set_adapter(source)
    for key, parameter in model.named_parameters():
        if f".{name}." in key and "lora_" in key:
            parameter.requires_grad_(True)


def save_without_adapters(model: Any, folder: Path) -> None:
    """Write the base of a peft model as it is without its adapters, which stay in place."""
    base = model.get_base_model()
    state = {key.replace(".base_layer.", "."): value for key, value in base.state_dict().items() if ".lora_" not in key}
    base.save_pretrained(str(folder), state_dict=state)


@torch.no_grad()
def merged_mean(model: Any, names: list[str]) -> None:
    """Add the mean of what these adapters add to the base's weights, and take all adapters off."""
    from peft.tuners.lora import LoraLayer

    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            added = torch.stack([layer.get_delta_weight(name) for name in names]).mean(0)
            layer.get_base_layer().weight.add_(added)
    model.unload()
