from __future__ import annotations

from heedful.apps.cleaning import size_text
from heedful.apps.tables import plain_table


def test_columns_are_aligned() -> None:
    assert plain_table(("a", "long name"), [("value", "x"), ("", "y")]) == ["a      long name", "value  x", "       y"]


def test_sizes() -> None:
    assert [size_text(n) for n in (0, 1023, 1536, 5 * 2**20, 3 * 2**40)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "5.0 MiB",
        "3072.0 GiB",
    ]
