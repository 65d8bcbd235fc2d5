"""The folder of an artifact that is being made: it survives a kill, and the same stage goes on in it when tried again."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from heedful.errors import ArtifactError, HealthError, HeedError, WaitingForPeople
from heedful.records.files import BESIDE, files_below, sha256_file, sync, whole_file, write_json
from heedful.records.jsonl import write_records
from heedful.records.locks import FolderLock
from heedful.records.types import Record

if TYPE_CHECKING:
    from heedful.records.artifacts import Artifact

FORMAT = 1
"""Raised when the manifest changes so that older code cannot read it."""
MANIFEST, METRICS, TIMINGS, STATS = "manifest.json", "metrics.jsonl", "timings.jsonl", "stats.json"
SCRATCH = ("checkpoints", "parts")
"""Folders that only a stage in the making needs."""
UNHASHED = (MANIFEST, TIMINGS, STATS)
UNHASHED_FOLDERS = (*SCRATCH, "tensorboard", "wandb")
"""What carries the clock: it may differ between two runs that are otherwise the same."""


class Workspace:
    """A folder being made: `<store>/<digest>.work`, locked while it is open.

    Args:
        store: the folder of all artifacts.
        identity: the manifest as far as it is known beforehand (`Identity.manifest()`).
        base: the recipe's folder, which relative paths in settings start from.
        facts: what the runner decided, such as the number of threads; goes into the manifest.
    """

    def __init__(
        self,
        store: Path,
        identity: Mapping[str, Any],
        *,
        base: Path | None = None,
        facts: Mapping[str, JsonValue] | None = None,
    ) -> None:
        self._identity = dict(identity)
        self._facts = dict(facts or {})
        self.base = base or Path.cwd()
        self.final = store / str(identity["digest"])
        self.path = self.final.with_suffix(".work")
        self._lock = FolderLock(self.final.with_suffix(".lock"))

    def __enter__(self) -> Workspace:
        self.final.parent.mkdir(parents=True, exist_ok=True)
        self._lock.take()
        self.path.mkdir(exist_ok=True)
        for name in (METRICS, TIMINGS):
            _drop_torn_line(self.path / name)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        refused = kind is not None and issubclass(kind, HeedError) and not issubclass(kind, WaitingForPeople)
        if refused and not any((self.path / name).exists() for name in (*SCRATCH, METRICS)):
            # Refused before there was anything to go on with: leave nothing behind.
            shutil.rmtree(self.path, ignore_errors=True)
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()
        self._lock.release()

    def write(self, name: str, records: Iterable[Record]) -> int:
        """Write `name`.jsonl and return the number of rows; with none there is no file."""
        path = self.path / f"{name}.jsonl"
        count = write_records(path, records)
        if not count:
            path.unlink()
        return count

    def write_json(self, name: str, value: JsonValue) -> None:
        """Write a JSON file; `name` carries its ending."""
        write_json(self.path / name, value)

    def folder(self, name: str) -> Path:
        """Return a folder inside, made where it is absent."""
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def log(self, row: Mapping[str, JsonValue]) -> None:
        """Append a row to metrics.jsonl, on disk before this returns."""
        _append(self.path / METRICS, row)

    def time(self, row: Mapping[str, JsonValue]) -> None:
        """Append a row to timings.jsonl, which no hash covers and no comparison reads; also after `finish`."""
        _append((self.path if self.path.is_dir() else self.final) / TIMINGS, row)

    def begin(self) -> None:
        """Note that work begins now, and how long an earlier try had worked that was killed: until its last change of a file."""
        began = [row["began"] for row in self._read(TIMINGS) if "began" in row]
        lost = max(0.0, _last_change(self.path) - began[-1]) if began else 0.0
        self.time({"began": time.time(), "lost_seconds": lost})

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of metrics.jsonl so far."""
        return self._read(METRICS)

    def _read(self, name: str) -> list[dict[str, Any]]:
        path = self.path / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []

    def last_row(self) -> dict[str, Any]:
        """Return the last row of metrics.jsonl, or an empty one."""
        return next(iter(self.rows()[-1:]), {})

    def truncate_log(self, rows: int) -> None:
        """Keep the first `rows` rows of metrics.jsonl: those up to the checkpoint that a stage goes on from.

        Raises:
            ArtifactError: there are fewer.
        """
        path = self.path / METRICS
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        if len(lines) < rows:
            raise ArtifactError(
                f"{path}: has {len(lines)} rows where {rows} were logged; remove the folder to start over"
            )
        if len(lines) > rows:
            with whole_file(path) as stream:
                stream.writelines(lines[:rows])

    def finish(
        self, *, metrics: Mapping[str, JsonValue] | None = None, facts: Mapping[str, JsonValue] | None = None
    ) -> Artifact:
        """Hash and sync every file, write the manifest last, drop the scratch folders, rename; return the artifact."""
        from heedful.records.artifacts import Artifact

        for leftover in self.path.rglob(f"*{BESIDE}"):
            if leftover.is_file():
                leftover.unlink()
        names = [name for name in files_below(self.path) if _is_content(name)]
        for name in names:
            sync(self.path / name)
        manifest = {
            **self._identity,
            "files": {name: sha256_file(self.path / name) for name in names},
            "metrics": dict(metrics or {}),
            "facts": {**self._facts, **(facts or {})},
        }
        write_json(self.path / STATS, file_stats(self.path, names))
        _sync_folders(self.path)
        write_json(self.path / MANIFEST, manifest)
        self._seal()
        return Artifact.open(self.final)

    def recover(self) -> Artifact | None:
        """Return the artifact of an earlier try that had its manifest and only lacked the rename; None where there is none."""
        from heedful.records.artifacts import Artifact

        if not (self.path / MANIFEST).is_file():
            return None
        try:
            Artifact.open(self.path).verify()
        except ArtifactError:
            (self.path / MANIFEST).unlink()
            return None
        self._seal()
        return Artifact.open(self.final)

    def _seal(self) -> None:
        for name in SCRATCH:
            shutil.rmtree(self.path / name, ignore_errors=True)
        if self.final.exists():
            raise ArtifactError(f"{self.final}: finished already; nothing was replaced")
        self.path.rename(self.final)
        sync(self.final.parent)


def file_stats(folder: Path, names: Iterable[str]) -> dict[str, JsonValue]:
    """Return name to [size, time of change in ns] of the files that are there."""
    found = ((name, folder / name) for name in names)
    return {name: [path.stat().st_size, path.stat().st_mtime_ns] for name, path in found if path.is_file()}


def _last_change(folder: Path) -> float:
    return max(path.stat().st_mtime for path in folder.rglob("*"))


def _is_content(name: str) -> bool:
    return name not in UNHASHED and name.split("/")[0] not in UNHASHED_FOLDERS


def _append(path: Path, row: Mapping[str, JsonValue]) -> None:
    try:
        line = json.dumps(dict(row), ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except ValueError:
        raise HealthError(f"{path.name}: a number in {dict(row)} is not finite; the row was not written") from None
    with path.open("ab") as stream:
        stream.write(line)
        stream.flush()
        os.fsync(stream.fileno())


def _drop_torn_line(path: Path) -> None:
    """Cut off what a kill left of an unfinished last line."""
    if not path.is_file():
        return
    whole = path.read_bytes()
    end = whole.rfind(b"\n") + 1
    if end < len(whole):
        os.truncate(path, end)


def _sync_folders(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            sync(path)
