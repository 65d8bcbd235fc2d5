"""Files that are whole or not there: written beside, synced, renamed. And their hashes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydantic import JsonValue

BESIDE = ".tmp"
"""Suffix of a file that is being written; what carries it after a kill is rubbish."""


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a stream for writing; `path` gets all of it when the block ends well, and stays as it was when it does not."""
    beside = path.with_name(path.name + BESIDE)
    try:
        with beside.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_json(path: Path, value: JsonValue) -> None:
    """Write JSON with sorted keys: the same value gives the same bytes. NaN and infinity are refused (ValueError)."""
    with whole_file(path) as stream:
        stream.write(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n")


def sync(path: Path) -> None:
    """Force a file, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(value: JsonValue) -> str:
    """Return the sha256 of a value in canonical JSON (sorted keys, no spaces), in hex."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def files_below(folder: Path) -> list[str]:
    """Return the names of all files below a folder, relative and with `/`, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
