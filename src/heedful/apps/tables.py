"""Tables and trees on stdout: rich on a terminal, aligned plain text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a header, the columns aligned."""
    if sys.stdout.isatty():
        _rich(header, rows)
    else:
        sys.stdout.write("\n".join(plain_table(header, rows)) + "\n")


def print_pair(left: tuple[str, str], right: tuple[str, str]) -> None:
    """Print two titled texts, side by side on a terminal, below each other elsewhere."""
    if not sys.stdout.isatty():
        sys.stdout.write("".join(f"{title}: {text}\n" for title, text in (left, right)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", expand=True, padding=(0, 2, 1, 0))
    for title, _ in (left, right):
        table.add_column(title, ratio=1)
    table.add_row(Text(left[1]), Text(right[1]))
    Console().print(table)


def plain_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, columns two spaces apart."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (header, *rows)
    ]


def _rich(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in header:
        table.add_column(name)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
