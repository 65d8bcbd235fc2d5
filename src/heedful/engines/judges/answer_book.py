"""What a server has answered, on disk, by a key of everything that decides the answer: nothing is asked twice."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from heedful.errors import DataError
from heedful.records.files import sha256_json

FORMAT = 1
"""Raised when what is stored changes; part of every key."""


def key_of(**parts: JsonValue) -> str:
    """Return the key of a request: sha256 over address and body. No credential is ever a part."""
    return sha256_json({"format": FORMAT, **parts})


class AnswerBook:
    """Answers in one JSON Lines file, each on disk before `put` returns; a line that a kill left half written is dropped.

    Args:
        path: the file; its folder is made where it is absent.

    Raises:
        DataError: a line is no answer; names it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._known = _read(path)

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the answer of a key; None where it was never given."""
        return self._known.get(key)

    def put(self, key: str, answer: dict[str, Any]) -> None:
        """Store an answer."""
        line = json.dumps({"key": key, "answer": answer}, ensure_ascii=True, allow_nan=False).encode() + b"\n"
        with self._lock, self._path.open("ab") as stream:
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
            self._known[key] = answer


def _read(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        return {}
    whole = path.read_bytes()
    end = whole.rfind(b"\n") + 1
    if end < len(whole):
        os.truncate(path, end)
    return dict(_answer(path, number, line) for number, line in enumerate(whole[:end].splitlines(), start=1))


def _answer(path: Path, number: int, line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        row = json.loads(line)
        return row["key"], row["answer"]
    except (ValueError, KeyError, TypeError):
        raise DataError(
            "no answer of a server", path=path, line=number, fix="delete this line; what it held is asked again"
        ) from None
