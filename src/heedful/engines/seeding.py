"""Determinism in one place: named torch generators, pinned threads, deterministic kernels."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from heedful.errors import ConfigError
from heedful.models.placement import device, device_name
from heedful.records.seeds import derive_seed

if TYPE_CHECKING:
    import torch


def generator(seed: int, *parts: int | str) -> torch.Generator:
    """Return a CPU generator of the stream (seed, *parts); see `records.seeds.derive_seed`."""
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, *parts))


def num_threads() -> int:
    """Return the threads that a run uses: HEED_THREADS, else OMP_NUM_THREADS, else the cores this process may use.

    Raises:
        ConfigError: a variable is set to something that is not a whole number above 0.
    """
    for name in ("HEED_THREADS", "OMP_NUM_THREADS"):
        given = os.environ.get(name)
        if given is None:
            continue
        if not given.isdecimal() or int(given) < 1:
            raise ConfigError(f"{name}={given}: a whole number above 0 was expected")
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pin(threads: int) -> None:
    """Fix the number of threads and take only deterministic kernels: the order of a sum is part of a result.

    Sums run in another order with another number of threads, so equal results need equal threads.
    """
    # cuBLAS is deterministic only with a fixed workspace, and reads this when it is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    if device_class() == "cuda":
        torch.cuda.set_device(device())  # what asks for no device by name, such as memory counts, means this one


def device_class() -> str:
    """Return where models run, as a digest says it: "cpu" or "cuda", whichever GPU it is.

    Raises:
        ConfigError: see `placement.device_name`.
    """
    return device_name().partition(":")[0]


def told_device(threads: int) -> str:
    """Return in words where models run."""
    name = device_name()
    if name == "cpu":
        return f"models run on the CPU, with {threads} threads"
    import torch

    return f"models run on {name} ({torch.cuda.get_device_name(name)})"
