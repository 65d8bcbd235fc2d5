"""The picture of a score with parts: what each part gave to it, by iteration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from heedful.rendering import svg
from heedful.rendering.charts import NARROW, Chart
from heedful.rendering.content import RunFigures
from heedful.rendering.wording import label, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEIGHT = 230.0
_COLOURS = (svg.REWARD, svg.KL, svg.AFTER, svg.BEFORE)
_STYLES = ("-", (0, (5, 2)), (0, (1, 1.5)))
"""With more parts than colours the next style begins."""

Contribution = tuple[str, np.ndarray, np.ndarray]


def part_curves(run: RunFigures) -> tuple[Chart, ...]:
    """Return the chart of the parts' contributions to the score; none where it has no parts."""
    lines = contributions(run)
    if not lines:
        return ()
    title = _title(lines)
    picture = svg.draw("run-parts", title, (NARROW, _HEIGHT), lambda figure: _paint(figure, lines))
    watched = [label(name) for name, weight in run.weights if weight == 0]
    note = "Weight times mean of each part of the score; together they are the mean score."
    if watched:
        note += f" Only logged, with weight 0: {', '.join(watched)}."
    return (Chart(title, picture, note),)


def contributions(run: RunFigures) -> list[Contribution]:
    """Return name, iterations and weight times mean of every part that counts and was logged."""
    found = []
    for name, weight in run.weights:
        rows = [row for row in run.rows if f"score_mean.{name}" in row]
        if rows and weight:
            x = np.array([row["iteration"] for row in rows])
            found.append((name, x, weight * np.array([row[f"score_mean.{name}"] for row in rows])))
    return found


def _title(lines: Sequence[Contribution]) -> str:
    """Name the part that moved the score most."""
    name, _, y = max(lines, key=lambda line: abs(line[2][-1] - line[2][0]))
    change = float(y[-1] - y[0])
    if change == 0:
        return "No part of the score moved"
    return f"Most of what moved the score is {label(name)}: {'+' if change > 0 else ''}{number(change)}"


def _paint(figure: Figure, lines: Sequence[Contribution]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes = svg.place(figure, 42, 36, 12, 30)
    for place, (name, x, y) in enumerate(lines):
        colour = _COLOURS[place % len(_COLOURS)]
        style = _STYLES[place // len(_COLOURS) % len(_STYLES)]
        axes.plot(x, y, color=colour, linestyle=style, marker="o" if len(x) == 1 else None, label=label(name))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel("iteration")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncol=4, frameon=False, borderaxespad=0)
