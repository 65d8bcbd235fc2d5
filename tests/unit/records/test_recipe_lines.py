"""The line of a setting: where its statement begins, however TOML was written; none where the file does not say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from heedful.records.recipe_lines import line_of, with_line

TEXT = '''# a = 1
title = """
[sft]
a = 1
"""
stages = [
    "data",
    "sft",
]

[[data.sources]]
path = "x"
[[data.sources]]
path = "y"  # path = "z"

[sft]
"a" = { b = 1,  c = [
    1, 2 ] }
sft.a = 2
'''


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("title", 2),
        ("stages", 6),
        ("data", 11),
        ("data.sources", 11),
        ("data.sources.0.path", 12),
        ("data.sources.1", 13),
        ("data.sources.1.path", 14),
        ("sft", 16),
        ("sft.a", 17),
        ("sft.a.b", 17),
        ("sft.a.c.1", 17),
        ("sft.sft.a", 19),
        ("a", None),
        ("sft.b", None),
        ("data.sources.2", None),
    ],
)
def test_where_a_setting_stands(place: str, line: int | None) -> None:
    assert line_of(TEXT, place.split(".")) == line


def test_windows_lines_and_no_newline_at_the_end() -> None:
    assert line_of("a = 1\r\n[b]\r\nc = 2", ["b", "c"]) == 3


def test_a_message_gets_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[sft]\nepochs = 2\n")
    given = {"sft": {"epochs": 2}}
    assert with_line(f"{path}: sft.epochs: wrong: very", path, given) == f"{path}:2: sft.epochs: wrong: very"
    assert with_line(f"{path}: [sft]: wrong", path, given) == f"{path}:1: [sft]: wrong"
    # what is missing is missing from the table
    assert with_line(f"{path}: sft.inputs: wrong", path, given) == f"{path}:1: sft.inputs: wrong"
    for message in (
        f"{path}: --set sft.epochs: wrong",
        f"{path}: wrong",
        f"{path}: align.kl: wrong",
        "sft.epochs: wrong",
    ):
        assert with_line(message, path, given) == message
    overridden = {"sft": {"epochs": 3}}
    assert with_line(f"{path}: sft.epochs: wrong", path, overridden) == f"{path}: sft.epochs: wrong"
    path.unlink()
    assert with_line(f"{path}: sft.epochs: wrong", path, given) == f"{path}: sft.epochs: wrong"
