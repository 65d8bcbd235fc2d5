"""What `import heedful` promises is there, documented, and all of it."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import heedful

SOURCE = Path(inspect.getfile(heedful))


@pytest.mark.parametrize("name", heedful.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    found = getattr(heedful, name)
    if not name.startswith("__"):
        assert (found.__doc__ or "").strip(), f"heedful.{name} has no docstring"


def test_the_list_is_sorted_and_complete() -> None:
    own = {"__version__", "load_artifact"}
    assert set(heedful.__all__) == set(heedful._HOMES) | own
    assert heedful.__all__ == sorted(
        heedful.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported == set(heedful._HOMES)


def test_a_name_that_is_none() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trainer'"):
        heedful.trainer  # noqa: B018
    assert set(heedful.__all__) <= set(dir(heedful))
