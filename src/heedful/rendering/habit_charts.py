"""The pictures of what became of the answers during RL: one per habit, one line per kind of prompts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from heedful.rendering import svg
from heedful.rendering.charts import NARROW, Chart, percent_ticks
from heedful.rendering.constitution_content import HabitCurve, HabitFigures
from heedful.rendering.wording import label, listing, number, percent, sentence, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHT = 210.0
_COLOURS = (svg.KL, svg.AFTER, svg.REWARD, svg.PEOPLE)
_BY = {"gold": "by gold", "phrases": "by phrases of refusal in the first sentence"}
_WORDS = {
    "refused": ("refuse", "Share of answers that say no, {by}: right where harm is asked for, over-refusal elsewhere."),
    "evasive": ("evade", "Share of answers that give an excuse in the place of an answer, {by}."),
    "opening": ("begin alike", "Share of an iteration's answers that begin with its commonest three words."),
    "phrase": (
        "say the phrase that spread",
        "Share of answers that hold the phrase that spread most over the run: {phrases}.",
    ),
    "distinct_2": ("", "Different pairs of words among all pairs of an iteration; it falls where answers grow alike."),
}


def habit_charts(habits: HabitFigures) -> tuple[Chart, ...]:
    """Return one chart per habit, in a fixed order."""
    return tuple(_chart(habits, name, habits.curves[name]) for name in _WORDS if name in habits.curves)


def _chart(habits: HabitFigures, name: str, curves: Sequence[HabitCurve]) -> Chart:
    verb, note = _WORDS[name]
    ends = [f"{_end(curve, name)} of answers to {visible(curve.kind)} prompts" for curve in curves]
    if name == "distinct_2":
        title = f"Distinct-2 ends at {listing([f'{_end(curve, name)} ({visible(curve.kind)})' for curve in curves])}"
    else:
        title = sentence(f"{listing(ends)} {verb} at the end")
    phrases = listing(
        [
            f"\N{LEFT DOUBLE QUOTATION MARK}{visible(c.phrase)}\N{RIGHT DOUBLE QUOTATION MARK} ({visible(c.kind)})"
            for c in curves
        ]
    )
    starts = ", ".join(f"{visible(curve.kind)} from {_start(curve, name)} to {_end(curve, name)}" for curve in curves)
    picture = svg.draw(
        f"habit-{name.replace('_', '-')}",
        f"{title}: {starts}",
        (NARROW, _HEIGHT),
        lambda figure: _paint(figure, habits.iterations, curves, shares=name != "distinct_2"),
    )
    band = "" if name == "distinct_2" else " Bands: 95 % interval."
    return Chart(title, picture, note.format(by=_BY[habits.by], phrases=phrases) + band)


def _known(curve: HabitCurve) -> list[float]:
    return [each.value for each in curve.shares if not math.isnan(each.value)]


def _start(curve: HabitCurve, name: str) -> str:
    return _text(_known(curve)[0], name)


def _end(curve: HabitCurve, name: str) -> str:
    return _text(_known(curve)[-1], name)


def _text(value: float, name: str) -> str:
    return number(value, 2) if name == "distinct_2" else percent(value)


def _paint(figure: Figure, iterations: Sequence[int], curves: Sequence[HabitCurve], *, shares: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    axes: Axes = svg.place(figure, 44, 36, 16, 30)
    x = np.array(iterations)
    for place, (curve, colour) in enumerate(zip(curves, _COLOURS, strict=False)):
        y, low, high = (
            np.array([math.nan if end is None else end for end in ends], dtype=float)
            for ends in zip(*((each.value, each.low, each.high) for each in curve.shares), strict=True)
        )
        axes.plot(x, y, color=colour)
        if shares:
            axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0)
        words = label(visible(curve.kind))
        axes.text(0.01 + 0.3 * place, 1.03, words, transform=axes.transAxes, va="bottom", color=colour, weight="bold")
    axes.set_ylim(0, 1 if shares else max(1e-9, 1.12 * axes.dataLim.y1))
    if shares:
        percent_ticks(axes)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set_xlabel("iteration")
