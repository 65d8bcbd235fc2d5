"""`heed gc`: remove the artifacts that no run needs."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from heedful.errors import ArtifactError
from heedful.records.artifacts import Artifact
from heedful.records.locks import is_locked

STORE = "artifacts"
DEPTH = 3
"""How far below the root run folders are looked for: runs/NAME/seed-N is 2."""
SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Rubbish:
    """A folder that nothing needs, and its size in bytes."""

    path: Path
    size: int


def find_rubbish(root: Path, *, days: float) -> list[Rubbish]:
    """Return what can go: artifacts that no link below `root` leads to, directly or through inputs; damaged ones; and unfinished
    ones that no run holds and that nothing has changed for `days`.

    Raises:
        ArtifactError: there is no store below `root`.
    """
    store = root / STORE
    if not store.is_dir():
        raise ArtifactError(f"{root}: has no folder '{STORE}'; give the folder that holds your runs")
    needed = _with_inputs(store, _linked(root, store.resolve()))
    gone = [path for path in sorted(store.iterdir()) if path.is_dir() and _can_go(path, needed, days)]
    return [Rubbish(path, _size(path)) for path in gone]


def remove_rubbish(rubbish: Iterable[Rubbish]) -> int:
    """Remove folders; return the bytes freed."""
    freed = 0
    for each in rubbish:
        # Renamed first, so that a kill half-way never leaves something that looks like an artifact.
        doomed = each.path.with_name(each.path.name + ".gone")
        each.path.rename(doomed)
        shutil.rmtree(doomed)
        freed += each.size
    return freed


def size_text(size: int) -> str:
    """Return bytes in words: "512 B", "1.4 MiB"."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def _can_go(path: Path, needed: set[str], days: float) -> bool:
    if path.suffix == ".work":
        return not is_locked(path.with_suffix(".lock")) and _days_since_change(path) >= days
    return path.name not in needed


def _linked(root: Path, store: Path) -> set[str]:
    return {path.name for path in _link_targets(root, store, DEPTH) if path.parent == store}


def _link_targets(folder: Path, store: Path, depth: int) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                yield Path(entry.path).resolve()
            elif entry.is_dir() and depth and Path(entry.path).resolve() != store:
                yield from _link_targets(Path(entry.path), store, depth - 1)


def _with_inputs(store: Path, names: set[str]) -> set[str]:
    needed, ahead = set(names), list(names)
    while ahead:
        try:
            inputs = Artifact.open(store / ahead.pop()).inputs
        except ArtifactError:
            continue
        new = {reference["path"] for reference in inputs.values()} - needed
        needed |= new
        ahead += new
    return needed


def _days_since_change(folder: Path) -> float:
    newest = max(path.lstat().st_mtime for path in [folder, *folder.rglob("*")])
    return (time.time() - newest) / SECONDS_PER_DAY


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
