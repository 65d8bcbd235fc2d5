"""What must not stand in the source: a machine's own paths, unfinished work, the word of somebody who is not sure."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = {".py", ".toml", ".j2", ".css", ".md", ".mplstyle"}
PATHS = re.compile(r"(?<![\w.$}~-])(/work|/home/\w|/Users/\w|/root|/tmp|/mnt|/opt\b|[A-Z]:\\\\)")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b|(?i:\bnot implemented\b|for some reason)")


def texts(*folders: str) -> Iterator[tuple[Path, int, str]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix in TEXT:
                for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                    yield path.relative_to(ROOT), number, line


def test_there_is_something_to_read() -> None:
    assert sum(1 for _ in texts("src")) > 1000


def test_no_path_of_a_particular_machine() -> None:
    assert [
        f"{path}:{number}: {line.strip()}" for path, number, line in texts("src", "docs") if PATHS.search(line)
    ] == []


def test_no_unfinished_work() -> None:
    assert [f"{path}:{number}: {line.strip()}" for path, number, line in texts("src") if UNFINISHED.search(line)] == []


@pytest.mark.parametrize(
    "line", ['open("/work")', "cd /tmp", "see /opt/report.html", "= /home/anna/data", "(/root/.cache)"]
)
def test_such_a_path_is_found(line: str) -> None:
    assert PATHS.search(line)


@pytest.mark.parametrize("line", ["a/tmp", "https://host/home/page", "~/work", "$OUT/tmp"])
def test_other_slashes_are_not(line: str) -> None:
    assert not PATHS.search(line)
