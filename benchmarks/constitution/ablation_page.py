"""The ablations as a page: one table per choice, and a picture of harm and help by setting."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.constitution.ablations import AXES, HARM, HELP, MEASURES, Axis

from heedful.rendering import svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURE = "ablations.svg"
SIZE = (640.0, 210.0)
SERIES = ((HARM, svg.KL, -0.08), (HELP, svg.AFTER, 0.08))
Row = Mapping[str, Any]
Cells = dict[tuple[str, str, str], Row]
"""Choice, setting and measure to its row."""
_NAME = re.compile(r"(\w+) = (\w+): (.+)")


def cells(rows: Sequence[Row]) -> Cells:
    """Return the rows by what they are about; a change goes under the measure's name with ", change" behind."""
    found: Cells = {}
    for one in rows:
        if match := _NAME.fullmatch(one["name"]):
            axis, setting, measure = match.groups()
            found[axis, setting, re.sub(r", change from .*", ", change", measure)] = one
    return found


def page(rows: Sequence[Row], seeds: Sequence[int]) -> str:
    """Return the page in Markdown."""
    listed, there = ", ".join(map(str, seeds)), cells(rows)
    spent = next(one for one in rows if one["unit"] == "core-minutes")
    parts = [
        "# Ablations of the recipe `constitutional` (generated data)\n",
        f"Seed{'s' if len(seeds) > 1 else ''} {listed} (for tuning), prompts of `tune`, by gold. 95 % intervals, by prompts;",
        "second lines: the change from the recipe's own setting (bold), paired by prompt. What one seed shows includes the luck of",
        f"its runs. {spent['value']:.1f} core-minutes; {spent['name'].removeprefix('cost: ')}. `{spent['command']}`\n",
        f"![harm and help by setting]({PICTURE})\n",
    ]
    return "\n".join([*parts, *(_table(axis, there) for axis in measured(there))])


def measured(there: Cells) -> list[Axis]:
    """Return the choices that have rows."""
    return [axis for axis in AXES if (axis.name, axis.own, HARM) in there]


def _table(axis: Axis, there: Cells) -> str:
    names = [name for name in MEASURES if (axis.name, axis.own, name) in there]
    end = "the final model" if "align" in axis.steps else "the model of stage 1"
    head = [f"## {axis.name}\n", f"Answers are of {end}.\n", f"| {axis.name} | {' | '.join(names)} |"]
    lines = [
        f"| {f'**{setting}**' if setting == axis.own else setting} | "
        + " | ".join(_cell(there, axis.name, setting, name) for name in names)
        + " |"
        for setting in axis.arms
    ]
    return "\n".join([*head, "| --- " * (len(names) + 1) + "|", *lines, ""])


def _cell(there: Cells, axis: str, setting: str, name: str) -> str:
    text = _text(there[axis, setting, name])
    moved = there.get((axis, setting, f"{name}, change"))
    return text if moved is None else f"{text}<br>{_text(moved, sign='+')}"


def _text(one: Row, sign: str = "") -> str:
    return f"{one['value']:{sign}.3f} ({one['low']:{sign}.3f} to {one['high']:{sign}.3f})"


def picture(rows: Sequence[Row]) -> str:
    """Return harm and help of each setting with their intervals, one panel per choice, as SVG."""
    there = cells(rows)
    words = "; ".join(
        f"{axis} {setting}: {one['value']:.2f}" for (axis, setting, name), one in there.items() if name == HARM
    )
    drawn = svg.draw("ablations", f"Harm by setting. {words}", SIZE, lambda figure: _paint(figure, there))
    return svg.alone(drawn)


def _paint(figure: Figure, there: Cells) -> None:
    shown = measured(there)
    width = (SIZE[0] - 40) / len(shown)
    for place, axis in enumerate(shown):
        left = 36 + place * width
        axes = svg.place(figure, left, 40, SIZE[0] - left - width + 14, 30)
        _panel(axes, axis, there)
        if place:
            axes.tick_params(labelleft=False)


def _panel(axes: Axes, axis: Axis, there: Cells) -> None:
    settings = list(reversed(axis.arms))
    for name, colour, aside in SERIES:
        for x, setting in enumerate(settings):
            one = there[axis.name, setting, name]
            axes.plot([x + aside] * 2, [one["low"], one["high"]], color=colour, linewidth=2)
            axes.plot([x + aside], [one["value"]], "o", color=colour)
    axes.set_xticks(range(len(settings)), settings)
    axes.set_xlim(-0.5, len(settings) - 0.5)
    axes.set_ylim(0, 1.02 * max(one["high"] for (_, _, name), one in there.items() if name in (HARM, HELP)))
    axes.set_xlabel(axis.name)
    axes.set_title("final model" if "align" in axis.steps else "after stage 1", fontsize=9, color=svg.MUTED)
    if axis is measured(there)[0]:
        for (name, colour, _), height in zip(SERIES, (0.98, 0.88), strict=True):
            axes.text(0.04, height, name, transform=axes.transAxes, va="top", color=colour, weight="bold")
