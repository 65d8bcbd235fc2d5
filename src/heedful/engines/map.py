"""One map for the wide stages: rows in, records out, shard by shard, each shard on disk before the next begins.

A run that was killed goes on after its last finished shard. The function must be a pure function of its rows (seeds come from the
rows' ids), so that the result does not depend on where the run was cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from heedful.engines.progress import track
from heedful.records.artifacts import Workspace
from heedful.records.jsonl import read_records, write_records
from heedful.records.types import Record

Row = TypeVar("Row")
Out = TypeVar("Out", bound=Record)


def map_shards(
    rows: Sequence[Row],
    function: Callable[[Sequence[Row]], list[Out]],
    kind: type[Out],
    out: Workspace,
    *,
    name: str,
    shard_rows: int = 128,
) -> Iterator[Out]:
    """Yield `function` of all rows, in order, one shard in memory at a time; finished shards of an earlier try are not made again.

    Args:
        function: a shard's rows to records of type `kind`.
        out: shards stand in its `parts/` until the stage is finished.
        name: tells the maps of one stage apart.
        shard_rows: rows per shard; part of the contract with a killed run, so it must not change in between.
    """
    folder = out.path / "parts"
    folder.mkdir(exist_ok=True)
    for start in track(range(0, len(rows), shard_rows), name):
        path = folder / f"{name}-{start // shard_rows:05d}.jsonl"
        if not path.is_file():
            write_records(path, function(rows[start : start + shard_rows]))
        yield from read_records(path, kind)
