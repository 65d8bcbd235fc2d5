from collections.abc import Sequence
from pathlib import Path

import pytest

from heedful.engines.map import map_shards
from heedful.records.artifacts import Identity, Workspace
from heedful.records.types import PromptRecord

ROWS = list(range(10))


class Shouting:
    """A function of rows that remembers what it was asked, and dies when told to."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.asked: list[list[int]] = []
        self.dies_at = dies_at

    def __call__(self, rows: Sequence[int]) -> list[PromptRecord]:
        if self.dies_at is not None and self.dies_at in rows:
            raise KeyboardInterrupt
        self.asked.append(list(rows))
        return [PromptRecord(id=str(row), prompt="a" * row) for row in rows]


def mapped(store: Path, function: Shouting, rows: Sequence[int] = ROWS, name: str = "words") -> list[str]:
    with Workspace(store, Identity("sample", 1, {}, 0).manifest()) as out:
        found = list(map_shards(rows, function, PromptRecord, out, name=name, shard_rows=4))
    return [record.id for record in found]


def test_all_rows_in_order_shard_by_shard(tmp_path: Path) -> None:
    function = Shouting()
    assert mapped(tmp_path, function) == [str(row) for row in ROWS]
    assert function.asked == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_finished_shards_are_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        mapped(tmp_path, Shouting(dies_at=5))
    again = Shouting()
    assert mapped(tmp_path, again) == [str(row) for row in ROWS]
    assert again.asked == [[4, 5, 6, 7], [8, 9]]


def test_maps_of_one_stage_are_kept_apart_by_name(tmp_path: Path) -> None:
    mapped(tmp_path, Shouting(), name="before")
    function = Shouting()
    assert mapped(tmp_path, function, name="after") == [str(row) for row in ROWS]
    assert len(function.asked) == 3


def test_no_rows_no_calls(tmp_path: Path) -> None:
    function = Shouting()
    assert mapped(tmp_path, function, []) == []
    assert function.asked == []


def test_one_shard_at_a_time(tmp_path: Path) -> None:
    function = Shouting()
    with Workspace(tmp_path, Identity("sample", 1, {}, 0).manifest()) as out:
        stream = map_shards(ROWS, function, PromptRecord, out, name="words", shard_rows=4)
        assert function.asked == []
        assert [next(stream).id for _ in range(4)] == ["0", "1", "2", "3"]
        assert function.asked == [[0, 1, 2, 3]]
        assert next(stream).id == "4"
        assert function.asked == [[0, 1, 2, 3], [4, 5, 6, 7]]
