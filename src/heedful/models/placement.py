"""Where computing happens, decided in one place for all models of a process: `HEED_DEVICE`, else a GPU where torch can use one.

Models are put there when they are loaded, heads beside them, and inputs are made where the model is. Random numbers come from
CPU generators on every device, so that a row draws the same ones.
"""

from __future__ import annotations

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heedful.errors import ConfigError

if TYPE_CHECKING:
    import torch

VARIABLE = "HEED_DEVICE"
DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd", "/dev/nvhost-gpu")
"""What a Linux without any GPU that torch's CUDA interface can use has none of: NVIDIA, WSL, ROCm, Jetson."""


def device_name() -> str:
    """Return "cpu" or "cuda:N". Without a driver torch is not imported for it, which takes seconds.

    Raises:
        ConfigError: `HEED_DEVICE` is no device, or one that this machine's torch cannot use.
    """
    given = os.environ.get(VARIABLE)
    if given is None:
        return "cuda:0" if num_gpus() else "cpu"
    found = re.fullmatch(r"cpu|cuda(?::([0-9]+))?", given)
    if found is None:
        raise ConfigError(f"{VARIABLE}={given}: cpu, cuda or cuda:N was expected")
    if given == "cpu":
        return given
    number, usable = int(found[1] or 0), num_gpus()
    if number >= usable:
        there = f"the last GPU here is cuda:{usable - 1}" if usable else "torch can use no GPU here"
        raise ConfigError(f"{VARIABLE}={given}: {there}; set another device, or cpu")
    return f"cuda:{number}"


def num_gpus() -> int:
    """Return how many GPUs torch can use."""
    if sys.platform == "darwin" or (sys.platform == "linux" and not any(Path(name).exists() for name in DRIVERS)):
        return 0
    if find_spec("torch") is None:
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def device() -> torch.device:
    """Return where models belong. Raises as `device_name`."""
    import torch

    return torch.device(device_name())


def place(model: Any) -> Any:
    """Return the model, moved to where models belong; a model of quantised layers is loaded there and stays."""
    return model if getattr(model, "is_quantized", False) else model.to(device())
