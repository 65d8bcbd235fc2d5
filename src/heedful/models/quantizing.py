"""A frozen base in 8 or 4 bits, by the library bitsandbytes, under an adapter in fp32: less memory for the weights, a coarser base.

8 bits: Dettmers et al. 2022, arXiv:2208.07339 (LLM.int8). 4 bits: NormalFloat with doubly quantised scales, Dettmers et al. 2023,
arXiv:2305.14314 (QLoRA). Embeddings and the output layer keep their precision.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import nn

from heedful.errors import ConfigError
from heedful.models.placement import device_name

Quantization = Literal["none", "8bit", "4bit"]
LIBRARY = "bitsandbytes"
BLOCK = 64
"""Weights that share a scale."""


def quantized(quantization: Quantization, compute: torch.dtype) -> dict[str, Any]:
    """Return what `from_pretrained` needs to load a base so; nothing for "none".

    Args:
        quantization: bits per weight of the linear layers.
        compute: the arithmetic of 4-bit layers.

    Raises:
        ConfigError: the library is not installed.
    """
    if quantization == "none":
        return {}
    if find_spec(LIBRARY) is None:
        raise ConfigError(
            f"align.policy.quantization = '{quantization}' needs the package {LIBRARY}; pip install 'heedful[quantized]'"
        )
    from transformers import BitsAndBytesConfig

    # It says at every layer and step that inputs are cast for the product, which is what was asked for.
    logging.getLogger(f"{LIBRARY}.autograd._functions").setLevel(logging.ERROR)
    if quantization == "8bit":
        config = BitsAndBytesConfig(load_in_8bit=True)
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute,
        )
    return {"quantization_config": config, "device_map": {"": device_name()}}


def check_blocks(model: nn.Module, source: object) -> None:
    """Refuse 4-bit layers whose rows are no whole number of blocks: on a CPU the library cannot multiply by them.

    Raises:
        ConfigError: names the first layer.
    """
    for name, module in model.named_modules():
        if type(module).__name__ == "Linear4bit" and module.weight.device.type == "cpu" and module.in_features % BLOCK:
            raise ConfigError(
                f"{source}: quantization = '4bit' on a CPU needs layers whose width is a multiple of {BLOCK}; "
                f"{name} reads {module.in_features}; take '8bit'"
            )
