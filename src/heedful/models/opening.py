"""From a folder to a policy: full weights or base plus adapter, a trainable adapter or all weights, and the matching reference.

A model folder is an ordinary transformers folder, or holds `base.json` (which base) and `adapter/` (a peft adapter), as `sft` and
`align` write it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from heedful.errors import ModelError
from heedful.models.adapters import POLICY, REFERENCE, add_lora, load_adapter, save_adapter
from heedful.models.heads import ScalarHead
from heedful.models.loading import load_language_model, load_tokenizer, stop_ids
from heedful.models.own_head import output_layer
from heedful.models.policy import LanguagePolicy, Reference, adapter_reference, base_reference, copied_reference
from heedful.models.prompts import Renderer
from heedful.models.trunks import Precision

VALUE_HEAD = "value_head.safetensors"


@dataclass(frozen=True)
class LoraShape:
    """The adapter that a policy trains: rank, alpha (the update is scaled by alpha / r) and which layers carry it."""

    r: int
    alpha: float
    targets: str | list[str]


def base_of(folder: Path) -> tuple[str, Path | None]:
    """Return where the base's weights are and the folder of the adapter on it, if any.

    Raises:
        ModelError: when `base.json` is there without its adapter.
    """
    pointer = folder / "base.json"
    if not pointer.is_file():
        return str(folder), None
    adapter = folder / "adapter"
    if not adapter.is_dir():
        raise ModelError(f"{folder}: base.json without adapter/; the folder is incomplete")
    base = str(json.loads(pointer.read_text(encoding="utf-8"))["base"])
    beside = (folder / base).resolve()
    return (str(beside) if beside.is_dir() else base), adapter


def open_model(source: str | Path, **loading: Any) -> nn.Module:
    """Return the language model of a folder or hub name, with its adapter (frozen) where it has one."""
    base, adapter = base_of(Path(source))
    model = load_language_model(base, **loading)
    return model if adapter is None else load_adapter(model, adapter)  # type: ignore[no-any-return]


def open_generator(source: str | Path, *, temperature: float = 1.0, precision: Precision = "fp32") -> LanguagePolicy:
    """Return a policy without a value head, only to be sampled from and measured."""
    model = open_model(source).requires_grad_(False)
    return _policy(model, source, temperature, precision, None)


def open_policy(
    source: str | Path, *, lora: LoraShape | None, temperature: float, precision: Precision, seed: int
) -> tuple[LanguagePolicy, Reference]:
    """Return a trainable policy with a zero value head, and the reference it starts from.

    Args:
        source: a model folder or hub name, usually the `model/` of an sft artifact.
        lora: train an adapter of this shape; None trains all weights. A folder that already holds an adapter goes on training it,
            and a frozen copy of it is the reference.
        seed: for the adapter's random half.
    """
    base, adapter = base_of(Path(source))
    model: Any = load_language_model(base)
    if adapter is not None:
        model = load_adapter(load_adapter(model, adapter, name=POLICY, trainable=True), adapter, name=REFERENCE)
        model.set_adapter(POLICY)
    elif lora is not None:
        model = add_lora(model, r=lora.r, alpha=lora.alpha, targets=lora.targets, seed=seed)
    value_head = ScalarHead(_width(model), zero=True)
    policy = _policy(model, source, temperature, precision, value_head)
    if adapter is not None:
        return policy, adapter_reference(policy, REFERENCE)
    return policy, copied_reference(policy) if lora is None else base_reference(policy)


def _policy(
    model: nn.Module, source: str | Path, temperature: float, precision: Precision, head: ScalarHead | None
) -> LanguagePolicy:
    base, _ = base_of(Path(source))
    folder = Path(source)
    tokenizer = load_tokenizer(source if (folder / "tokenizer_config.json").is_file() or not folder.is_dir() else base)
    bare = model.get_base_model() if hasattr(model, "peft_config") else model  # type: ignore[operator]
    renderer = Renderer.of(bare, tokenizer)
    return LanguagePolicy(
        model, renderer, stop=stop_ids(bare, tokenizer), temperature=temperature, precision=precision, value_head=head
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
        base, _ = base_of(source)
        place = Path(base)
        pointer = os.path.relpath(place.resolve(), folder.resolve()) if place.is_dir() else base
        save_adapter(policy.model, folder / "adapter")
        (folder / "base.json").write_text(json.dumps({"base": pointer}) + "\n", encoding="utf-8")
    else:
        policy.bare.save_pretrained(str(folder))
    policy.renderer.tokenizer.save_pretrained(str(folder))
    if policy.value_head is not None:
        policy.value_head.save(root / VALUE_HEAD)
