"""From a folder to a policy: full weights or base plus adapter, a trainable adapter or all weights, and the matching reference.

A model folder is an ordinary transformers folder, or holds `base.json` (which base, and its digest) and `adapter/` (a peft
adapter), as `sft` and `align` write it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from heedful.errors import ConfigError, ModelError
from heedful.models.adapters import (
    ALL_LINEAR,
    POLICY,
    REFERENCE,
    adapter_shape,
    add_lora,
    carried_by_all_linear,
    load_adapter,
    save_adapter,
)
from heedful.models.folders import source_digest
from heedful.models.heads import ScalarHead
from heedful.models.loading import load_language_model, load_tokenizer, stop_ids
from heedful.models.own_head import output_layer
from heedful.models.policy import LanguagePolicy, Reference, adapter_reference, base_reference, copied_reference
from heedful.models.prompts import Renderer
from heedful.models.quantizing import Quantization
from heedful.models.trunks import Precision

VALUE_HEAD = "value_head.safetensors"


@dataclass(frozen=True)
class LoraShape:
    """The adapter that a policy trains: rank, alpha (the update is scaled by alpha / r) and which layers carry it."""

    r: int
    alpha: float
    targets: str | list[str]


class Base(NamedTuple):
    """What a model folder stands on.

    Args:
        source: where the base's weights are: a folder or a hub name.
        adapter: the folder of the adapter on it, if any.
        digest: `source_digest` of the base when the adapter was trained.
    """

    source: str
    adapter: Path | None = None
    digest: str | None = None


def base_of(folder: Path) -> Base:
    """Return what a model folder stands on: itself, or the base that its `base.json` points to.

    Raises:
        ModelError: when `base.json` is there without its adapter, or cannot be read.
    """
    pointer = folder / "base.json"
    if not pointer.is_file():
        return Base(str(folder))
    adapter = folder / "adapter"
    if not adapter.is_dir():
        raise ModelError(f"{folder}: base.json without adapter/; the folder is incomplete")
    try:
        told = json.loads(pointer.read_text(encoding="utf-8"))
        base = str(told["base"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{pointer}: could not be read ({error}); an object with 'base' was expected") from error
    beside = (folder / base).resolve()
    place = str(beside) if beside.is_dir() else base
    return Base(place, adapter, told.get("digest"))


def open_model(source: str | Path, **loading: Any) -> nn.Module:
    """Return the language model of a folder or hub name, with its adapter (frozen) where it has one.

    Args:
        source: the folder or hub name.
        loading: goes to `load_language_model`.

    Raises:
        ModelError: it cannot be opened, or the base is not the one that the adapter was trained on.
    """
    base = base_of(Path(source))
    model: nn.Module = _load_base(base, source, **loading)
    return model if base.adapter is None else load_adapter(model, base.adapter)


def _load_base(base: Base, source: str | Path, **loading: Any) -> Any:
    if base.digest is not None and source_digest(base.source) != base.digest:
        raise ModelError(
            f"{source}: its base {base.source} changed since the adapter was trained; put the old one back, or train again"
        )
    return load_language_model(base.source, **loading)


def open_generator(source: str | Path, *, temperature: float = 1.0, precision: Precision = "fp32") -> LanguagePolicy:
    """Return a policy without a value head, only to be sampled from and measured."""
    model = open_model(source).requires_grad_(False)
    return _policy(model, source, temperature, precision, None)


def open_policy(
    source: str | Path,
    *,
    lora: LoraShape | None,
    temperature: float,
    precision: Precision,
    seed: int,
    own_value_trunk: bool = False,
    recompute: bool = False,
    quantization: Quantization = "none",
) -> tuple[LanguagePolicy, Reference]:
    """Return a trainable policy with a zero value head, and the reference it starts from.

    Args:
        source: a model folder or hub name, usually the `model/` of an sft artifact.
        lora: train an adapter of this shape; None trains all weights. A folder that already holds an adapter goes on training it,
            whatever its shape (see `check_adapter`), and a frozen copy of it is the reference.
        seed: for the adapter's random half.
        own_value_trunk: the value head reads a copy of its own instead of the policy's trunk.
        recompute: layers are computed again for their gradients, which saves the memory of what is inside them.
        quantization: bits of the frozen base under the adapter.

    Raises:
        ConfigError: all weights are to be trained of a folder that holds an adapter.
        ModelError: the folder cannot be opened.
    """
    base = base_of(Path(source))
    if base.adapter is not None and lora is None:
        raise ConfigError(
            f'align.policy.method = "full", but {source} holds an adapter, which goes on being trained as one; '
            "leave method out, or start from merged weights (`heed export` merges, and sft without lora trains no adapter)"
        )
    model = _load_base(base, source, quantization=quantization)
    if base.adapter is not None:
        model = load_adapter(load_adapter(model, base.adapter, trainable=True), base.adapter, name=REFERENCE)
        model.set_adapter(POLICY)
    elif lora is not None:
        model = add_lora(model, r=lora.r, alpha=lora.alpha, targets=lora.targets, seed=seed)
    head = ScalarHead(_width(model), zero=True)
    policy = _policy(model, source, temperature, precision, head, own_value_trunk=own_value_trunk)
    reference = _reference(policy, base, lora)
    if recompute:
        policy.recompute_layers()
    return policy, reference


def _reference(policy: LanguagePolicy, base: Base, lora: LoraShape | None) -> Reference:
    if base.adapter is not None:
        return adapter_reference(policy, REFERENCE)
    return copied_reference(policy) if lora is None else base_reference(policy)


def check_adapter(policy: LanguagePolicy, asked: Mapping[str, Any]) -> None:
    """Compare the adapter that a policy goes on with, which brings a shape of its own, with what was asked for.

    Args:
        policy: as `open_policy` returns it.
        asked: of "r", "alpha" and "targets" those that the user set; other keys are passed over.

    Raises:
        ConfigError: one of them is not the adapter's.
    """
    if REFERENCE not in getattr(policy.model, "peft_config", ()):
        return  # a new adapter is what was asked for
    shape = adapter_shape(policy.model, POLICY)
    for name, wanted in asked.items():
        if name == "targets" and wanted == ALL_LINEAR and carried_by_all_linear(policy.model):
            continue
        found = shape.get(name, wanted)
        if (sorted(wanted) if isinstance(wanted, list) else wanted) != found:
            raise ConfigError(
                f"align.policy.{name} = {wanted!r}, but the policy goes on with the adapter of its model, "
                f"which has {name} = {found!r}; leave this setting out"
            )


def _policy(
    model: nn.Module,
    source: str | Path,
    temperature: float,
    precision: Precision,
    head: ScalarHead | None,
    *,
    own_value_trunk: bool = False,
) -> LanguagePolicy:
    folder = Path(source)
    own = (folder / "tokenizer_config.json").is_file() or not folder.is_dir()
    tokenizer = load_tokenizer(source if own else base_of(folder).source)
    bare = model.get_base_model() if hasattr(model, "peft_config") else model  # type: ignore[operator]
    renderer = Renderer.of(bare, tokenizer)
    return LanguagePolicy(
        model,
        renderer,
        stop=stop_ids(bare, tokenizer),
        temperature=temperature,
        precision=precision,
        value_head=head,
        own_value_trunk=own_value_trunk,
    )


def _width(model: Any) -> int:
    """Return the width of the states that the output layer reads; families differ in where their configuration says it."""
    return int(output_layer(model).weight.shape[1])  # type: ignore[index]


def save_policy(policy: LanguagePolicy, source: Path, folder: Path, root: Path) -> None:
    """Write a trained policy as a model folder: the adapter and a pointer to its base, or all weights; the value head in `root`.

    Args:
        source: the model folder that the policy was opened from.
        folder: the new model folder.
        root: the artifact's folder; `root` and the artifact of `source` lie side by side, and the pointer to the base is relative.
    """
    if hasattr(policy.model, "peft_config"):
        save_adapter(policy.model, folder / "adapter")
        write_pointer(folder, base_of(source))
    else:
        policy.bare.save_pretrained(str(folder))
    policy.renderer.tokenizer.save_pretrained(str(folder))
    if policy.value_head is not None:
        policy.value_head.save(root / VALUE_HEAD)


def write_pointer(folder: Path, base: Base) -> None:
    """Write a model folder's `base.json`: where its base is (relative where that is a folder), and its digest."""
    place = Path(base.source)
    told = {
        "base": os.path.relpath(place.resolve(), folder.resolve()) if place.is_dir() else base.source,
        "digest": base.digest or source_digest(base.source),
    }
    (folder / "base.json").write_text(json.dumps(told) + "\n", encoding="utf-8")
