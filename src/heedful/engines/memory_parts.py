"""What an alignment run's memory is made of when it is largest: counted from tensors where it can be, the rest by difference.

The whole is the peak of the process (CPU) or of torch's allocator (CUDA), once for the rollout and once for the update, which do
not hold the same things. It varies from run to run, so it belongs to the timings.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from heedful.engines.memory import release
from heedful.engines.seeding import device_class
from heedful.models.policy import LanguagePolicy, Reference
from heedful.records.peak_memory import peak_since_restart, resident_bytes, restart_peak

Phase = Literal["rollout", "update"]
BEFORE, FROZEN, REFERENCE, TRAINABLE = "before", "frozen", "reference", "trainable"
GRADIENTS, OPTIMIZER, CACHE, REST = "gradients", "optimizer", "cache", "rest"


def held_now() -> int:
    """Return the bytes in use at this moment: of torch's allocator on a GPU, else of the process, less what it has freed."""
    release()
    return torch.cuda.memory_allocated() if _on_gpu() else resident_bytes()


def _on_gpu() -> bool:
    """Whether models run on a GPU; that the machine has one says nothing."""
    return device_class() == "cuda"


def size_of(tensors: Iterable[Tensor], counted: set[int] | None = None) -> int:
    """Return the bytes of tensors' storages, each once; those whose addresses are in `counted` not at all. It gets the new ones."""
    counted = set() if counted is None else counted
    total = 0
    for tensor in tensors:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in counted:
            counted.add(storage.data_ptr())
            total += storage.nbytes()
    return total


class MemoryWatch:
    """Measures the phases of a run; remembers each one's highest peak with what it was made of.

    Args:
        before: `held_now` before any model was opened: Python, libraries, and what earlier work left.
    """

    def __init__(
        self, policy: LanguagePolicy, reference: Reference, optimizer: torch.optim.Optimizer, *, before: int
    ) -> None:
        self._policy = policy
        self._reference = reference
        self._optimizer = optimizer
        self._before = before
        self.peaks: dict[Phase, dict[str, int]] = {}

    def begin(self) -> None:
        """A phase begins here."""
        release()
        if _on_gpu():
            torch.cuda.reset_peak_memory_stats()
        restart_peak()

    def end(self, phase: Phase, *, cache: int = 0) -> None:
        """A phase ends here that held `cache` bytes of keys and values; what follows counts again from the next `begin`."""
        peak = torch.cuda.max_memory_allocated() if _on_gpu() else peak_since_restart()
        if peak > sum(self.peaks.get(phase, {}).values()):
            parts = self.parts() | {CACHE: cache}
            rest = peak - sum(parts.values())
            # Less than the parts: earlier work's memory has been given back since then.
            parts[BEFORE] += min(0, rest)
            self.peaks[phase] = {**parts, REST: max(0, rest)}

    def parts(self) -> dict[str, int]:
        """Return what can be counted in tensors that stay, in bytes; no tensor twice."""
        trained = [parameter for _, parameter in self._policy.trainable()]
        counted: set[int] = set()
        sizes = {BEFORE: self._before, TRAINABLE: size_of(trained, counted)}
        sizes[FROZEN] = size_of([*self._policy.model.parameters(), *self._policy.model.buffers()], counted)
        sizes[REFERENCE] = size_of(self._reference.tensors(), counted)
        sizes[GRADIENTS] = size_of(each.grad for each in trained if each.grad is not None)
        state = [value for entry in self._optimizer.state.values() for value in entry.values()]
        sizes[OPTIMIZER] = size_of(value for value in state if isinstance(value, Tensor))
        return sizes
