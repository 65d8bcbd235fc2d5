"""`heed doctor`: what this machine has, and what is missing."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from heedful.apps.cleaning import size_text
from heedful.engines.seeding import num_threads
from heedful.errors import ConfigError
from heedful.models.placement import VARIABLE, device_name

REQUIRED = (
    "torch",
    "transformers",
    "tokenizers",
    "peft",
    "safetensors",
    "datasets",
    "pydantic",
    "numpy",
    "scipy",
    "matplotlib",
)
OPTIONAL = {
    "tensorboard": 'curves in TensorBoard; pip install "heedful[tensorboard]"',
    "wandb": 'curves in Weights & Biases; pip install "heedful[wandb]"',
}
LOW_DISK = 2 * 2**30
"""Below this the quickstart still runs, but a checkpoint of a real model does not fit."""

DRIVER = Path("/proc/driver/nvidia/gpus")
"""The driver's list of GPUs: one folder each."""


@dataclass(frozen=True)
class Finding:
    """One line of the examination. `problem` is empty where all is well; `fatal` where nothing works without it."""

    name: str
    found: str
    problem: str = ""
    fatal: bool = False


def examine(folder: Path) -> list[Finding]:
    """Return what there is, for runs in `folder`."""
    return [
        Finding("heedful", _version("heedful") or "not installed"),
        Finding("python", platform.python_version()),
        *[_library(name) for name in REQUIRED],
        *[_optional(name, use) for name, use in OPTIONAL.items()],
        device(),
        Finding("threads", f"{num_threads()} of {os.cpu_count()} cores"),
        _memory(),
        _disk(folder),
        _data(),
    ]


def _library(name: str) -> Finding:
    found = _version(name)
    problem = "" if found else f"missing; pip install {name}"
    return Finding(name, found or "-", problem, fatal=found is None)


def _optional(name: str, use: str) -> Finding:
    found = _version(name)
    return Finding(name, found or "-", "" if found else f"not needed, but gives {use}")


def device() -> Finding:
    """Return where models run, and say so where a GPU stands beside it unused."""
    found = gpus()
    try:
        runs_on = device_name()
    except ConfigError as error:
        return Finding("device", "-", str(error), fatal=True)
    if not found:
        return Finding("device", runs_on)
    why = f"{VARIABLE} says so" if VARIABLE in os.environ else "this build of torch cannot use it"
    problem = f"a GPU is there, but is not used: {why}" if runs_on == "cpu" else ""
    return Finding("device", f"{runs_on} (GPU found: {', '.join(found)})", problem)


def gpus() -> list[str]:
    """Return the names of the GPUs of this machine; where torch cannot ask them, how many the driver sees."""
    if find_spec("torch") is not None:
        import torch

        if torch.cuda.is_available():
            return [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    seen = len(list(DRIVER.iterdir())) if DRIVER.is_dir() else 0
    return [f"NVIDIA, {seen} of them"] if seen else []


def _memory() -> Finding:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return Finding("memory", "unknown")
    return Finding("memory", size_text(total))


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    problem = "" if free >= LOW_DISK else f"less than {size_text(LOW_DISK)}; `heed gc` removes what no run needs"
    return Finding("disk", f"{size_text(free)} free", problem)


def _data() -> Finding:
    folder = os.environ.get("HEED_DATA")
    if folder is None:
        return Finding("HEED_DATA", "not set", "only recipes and tests on real data need it")
    there = Path(folder).is_dir()
    return Finding("HEED_DATA", folder, "" if there else "no such folder")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
