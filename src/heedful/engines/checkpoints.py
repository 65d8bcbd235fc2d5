"""Checkpoints of a training run: written beside, synced, renamed, read back. A kill at any moment leaves a good one.

A checkpoint is a folder `step-N` with `tensors.safetensors`, `state.json` and `manifest.json` (the sha256 of both).
Nothing is ever pickled.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from heedful.errors import CheckpointError
from heedful.records.files import sha256_file, sync

TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
_NAME = re.compile(r"step-(\d+)")

State = dict[str, Any]
"""What is not a tensor: numbers, text, lists and tables of them, as JSON has them."""


class Checkpointer:
    """Saves and finds the checkpoints of one run.

    Args:
        folder: where they live; made when the first one is saved.
        keep: how many of the newest to keep, at least 1.
    """

    def __init__(self, folder: Path, keep: int = 1) -> None:
        self.folder = folder
        self.keep = max(1, keep)

    def save(self, step: int, tensors: Mapping[str, Tensor], state: State) -> None:
        """Write the checkpoint of `step`; older ones go only after this one was read back and its hashes hold.

        Raises:
            CheckpointError: what was written cannot be read back (a full or failing disk).
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        final = self.folder / f"step-{step}"
        beside = final.with_suffix(".tmp")
        for leftover in self.folder.glob("step-*.tmp"):
            shutil.rmtree(leftover)
        beside.mkdir()
        _write(beside, tensors, state)
        if final.exists():
            shutil.rmtree(final)
        beside.rename(final)
        sync(self.folder)
        if _read(final) is None:
            raise CheckpointError(f"{final}: what was written does not read back; check the disk")
        for old in self._steps()[self.keep :]:
            shutil.rmtree(self.folder / f"step-{old}")

    def latest(self) -> tuple[int, dict[str, Tensor], State] | None:
        """Return step, tensors and state of the newest checkpoint whose hashes hold; None when there is none at all.

        Raises:
            CheckpointError: there are checkpoints and all are damaged.
        """
        steps = self._steps()
        for step in steps:
            found = _read(self.folder / f"step-{step}")
            if found is not None:
                return step, *found
        if steps:
            raise CheckpointError(
                f"{self.folder}: all {len(steps)} checkpoints are damaged (hashes do not hold); "
                "remove the folder to start over"
            )
        return None

    def _steps(self) -> list[int]:
        if not self.folder.is_dir():
            return []
        found = (_NAME.fullmatch(entry.name) for entry in self.folder.iterdir())
        return sorted((int(match[1]) for match in found if match), reverse=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer, prefix: str = "optimizer") -> dict[str, Tensor]:
    """Return an optimizer's state as flat named tensors: `prefix.<parameter's number>.<key>`.

    Parameters are numbered as they stand in the optimizer's groups, so the same model built again gets the same names.
    """
    return {
        f"{prefix}.{number}.{key}": value
        for number, parameter in enumerate(_parameters(optimizer))
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], prefix: str = "optimizer"
) -> None:
    """Put back, bit for bit, what `optimizer_tensors` took out. Settings such as the learning rate are not part of it.

    Raises:
        CheckpointError: the tensors belong to another set of parameters.
    """
    parameters = _parameters(optimizer)
    groups = [place for place, group in enumerate(optimizer.param_groups) for _ in group["params"]]
    optimizer.state.clear()
    for name, value in tensors.items():
        if not name.startswith(f"{prefix}."):
            continue
        number, key = name.removeprefix(f"{prefix}.").split(".", 1)
        if int(number) >= len(parameters) or (value.dim() and value.shape != parameters[int(number)].shape):
            raise CheckpointError(f"checkpoint: {name} fits no parameter of this model; was the recipe changed?")
        parameter = parameters[int(number)]
        beside = value.dim() or optimizer.param_groups[groups[int(number)]].get("fused")
        # AdamW counts its steps in a CPU tensor, whatever device the weights are on; fused, beside the weights.
        device = parameter.device if beside else value.device
        optimizer.state[parameter][key] = value.to(device).clone()


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _write(folder: Path, tensors: Mapping[str, Tensor], state: State) -> None:
    # clone: safetensors refuses tensors that share memory, such as tied embeddings
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    save_file(plain, str(folder / TENSORS))
    (folder / STATE).write_text(json.dumps(state, sort_keys=True))
    hashes = {name: sha256_file(folder / name) for name in (TENSORS, STATE)}
    (folder / MANIFEST).write_text(json.dumps({"format": 1, "files": hashes}, sort_keys=True))
    for name in (TENSORS, STATE, MANIFEST):
        sync(folder / name)
    sync(folder)


def _read(folder: Path) -> tuple[dict[str, Tensor], State] | None:
    try:
        hashes = json.loads((folder / MANIFEST).read_text())["files"]
        if any(sha256_file(folder / name) != hashes[name] for name in (TENSORS, STATE)):
            return None
        return load_file(str(folder / TENSORS)), json.loads((folder / STATE).read_text())
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None
