"""Model folders as files: is one there, what does it hold, what is its digest. Starts without torch, for the runner."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from heedful.errors import ModelError

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
MODEL_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.tiktoken")
VOCABULARIES = ("tokenizer.json", "vocab*", "*.model", "*.spm", "*.tiktoken", "tekken.json")
"""Files of which a tokenizer has one at least; `*.model` are those of sentencepiece."""


def resolve_source(source: str, base: Path) -> str:
    """Return a model's folder as seen from `base`, the recipe's folder, or the hub name as it is; `~`, `$NAME`
    expanded.

    Raises:
        ModelError: a folder was meant and is not there.
    """
    expanded = os.path.expandvars(source)
    beside = base / Path(expanded).expanduser()
    if beside.is_dir():
        return str(beside.resolve())
    checked_folder(expanded)
    return expanded


def checked_folder(source: str | Path) -> Path | None:
    """Return the folder that `source` names, or None for a hub name; ModelError where a folder was meant and is missing."""
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if isinstance(source, Path) or str(source).startswith((".", "/", "~")) or str(source).count("/") > 1:
        raise ModelError(
            f"{source}: no such model folder; give a folder with config.json, or a hub name such as org/name"
        )
    return None


def refuse_pickle(folder: Path | None) -> None:
    """Raise ModelError when a folder holds weights, but none as safetensors."""
    if folder is None or any(folder.glob("*.safetensors")):
        return
    pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
    if pickles:
        raise ModelError(
            f"{folder}: only pickled weights ({pickles[0]}), which can run code when read; "
            "save them as safetensors, or set allow_pickle = true"
        )
    raise ModelError(f"{folder}: no model.safetensors; expected a folder saved with model.save_pretrained")


def require_tokenizer(folder: Path | None) -> None:
    """Raise ModelError when a folder holds no tokenizer: transformers would make up one that knows its special tokens alone."""
    if folder is not None and not any(file for pattern in VOCABULARIES for file in folder.glob(pattern)):
        raise ModelError(
            f"{folder}: no tokenizer, such as tokenizer.json; save the model's there with tokenizer.save_pretrained"
        )


def folder_digest(path: str | Path) -> str:
    """Return the sha256 over names and contents of a model folder's configuration, tokenizer and safetensors files.

    Pickles count where they are the weights: in a folder without safetensors.
    """
    folder = checked_folder(Path(path))
    assert folder is not None
    patterns = MODEL_FILES if any(folder.glob("*.safetensors")) else MODEL_FILES + PICKLES
    files = {file for pattern in patterns for file in folder.rglob(pattern) if file.is_file()}
    total = hashlib.sha256()
    for file in sorted(files):
        with file.open("rb") as stream:
            total.update(
                f"{file.relative_to(folder).as_posix()}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode()
            )
    return total.hexdigest()


def source_digest(source: str | Path, *, revision: str | None = None) -> str:
    """Return `folder_digest` of a folder, or the hub name with its revision."""
    folder = checked_folder(source)
    return folder_digest(folder) if folder is not None else f"hub:{source}@{revision or 'main'}"
