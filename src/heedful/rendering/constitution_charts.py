"""The pictures of a constitution's part of the report: probabilities before and after swapping, calibration, harm by round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from heedful.rendering import svg
from heedful.rendering.charts import NARROW, REWARD_HEIGHT, Chart, paint_calibration, percent_ticks
from heedful.rendering.constitution_content import JudgeFigures, ReferenceFigures, RevisionFigures, RoundFigures
from heedful.rendering.wording import decimals, listing, number, percent, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BINS = 20


def probabilities(judge: JudgeFigures) -> Chart:
    """Return how probabilities are spread as they were read, and averaged over both orders."""
    sure = np.mean(np.abs(np.array(judge.averaged) - 0.5) >= 0.4)
    title = f"{percent(float(sure))} of comparisons are surer than 90 %"
    description = (
        f"{title}. Histogram of the probability of the answer shown first, mean {number(float(np.mean(judge.readings)), 2)} over "
        f"{len(judge.readings):,} readings, above the same averaged over orders, over {len(judge.averaged):,} comparisons."
    )
    picture = svg.draw(
        "judge-probabilities", description, (NARROW, REWARD_HEIGHT), lambda figure: _spread(figure, judge)
    )
    both = judge.orders == "both"
    note = (
        "Above: probability that the answer shown first is better, as it was read. Below: that one of the two answers is, "
        f"{'averaged over both orders' if both else 'asked in one order'}. Before any clamping."
    )
    return Chart(title, picture, note)


def _spread(figure: Figure, judge: JudgeFigures) -> None:
    edges = np.linspace(0, 1, _BINS + 1)
    panels = (
        ("as read", judge.readings, svg.BEFORE, 130.0, 8.0),
        ("averaged" if judge.orders == "both" else "one order", judge.averaged, svg.AFTER, 36.0, 102.0),
    )
    shares = [np.histogram(values, edges)[0] / len(values) for _, values, *_ in panels]
    top = 1.35 * max(share.max() for share in shares)
    for (name, values, colour, bottom, above), share in zip(panels, shares, strict=True):
        axes = svg.place(figure, 42, bottom, 14, above)
        axes.stairs(share, edges, fill=True, color=colour, alpha=0.28, linewidth=0)
        axes.stairs(share, edges, color=colour, linewidth=1.1)
        axes.axvline(0.5, color=svg.RULE, linewidth=0.9, linestyle=(0, (3, 2)))
        axes.set_xlim(0, 1)
        axes.set_ylim(0, top)
        percent_ticks(axes)
        axes.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
        words = f"{name}: mean {percent(float(np.mean(values)))}"
        axes.text(0.02, 0.98, words, transform=axes.transAxes, va="top", color=colour, weight="bold")
        if bottom > 100:
            axes.tick_params(labelbottom=False)
        else:
            axes.set_xlabel("probability")


def calibration(found: ReferenceFigures) -> Chart | None:
    """Return stated confidence against the share that was right by a reference; None without bins."""
    if not found.calibration:
        return None
    title = f"AI labels against {found.by}: confidence is off by {number(100 * found.calibration_error, 1)} points"
    points = ", ".join(
        f"stated {percent(each.confidence)} right {percent(each.accuracy)} of {each.n:,}" for each in found.calibration
    )
    picture = svg.draw(
        f"judge-calibration-{found.by}",
        f"{title}: {points}",
        (NARROW, REWARD_HEIGHT),
        lambda figure: paint_calibration(figure, found.calibration),
    )
    note = (
        f"Expected calibration error over {sum(each.n for each in found.calibration):,} labels that are not even, in five "
        "bins. On the line they are exactly as right as they say. Whiskers: 95 % Wilson interval; larger dots hold more pairs."
    )
    return Chart(title, picture, note)


def harm_by_round(revisions: RevisionFigures) -> Chart | None:
    """Return mean harm before and after each round; None unless two rounds were measured."""
    measured = [each for each in revisions.rounds if each.harm is not None]
    if len(measured) < 2:
        return None
    title = _harm_title(measured)
    values = "; ".join(f"round {each.number}: {_harm_text(each)}" for each in measured)
    picture = svg.draw(
        "harm-by-round", f"{title}. {values}", (NARROW, REWARD_HEIGHT), lambda figure: _rounds(figure, measured)
    )
    unit = "by gold, 0 to 1" if revisions.by_gold else "minus the score of the scorer, in its units"
    note = f"Mean harm ({unit}) by round of revision; 0 is the answer before any. Bars: 95 % interval."
    return Chart(title, picture, note)


def _harm_text(each: RoundFigures) -> str:
    assert each.harm is not None
    places = decimals(each.harm.value)
    if each.harm.low is None or each.harm.high is None:
        return number(each.harm.value, places)
    return f"{number(each.harm.value, places)} ({span(each.harm.low, each.harm.high, places)})"


def _harm_title(measured: Sequence[RoundFigures]) -> str:
    """Say where harm fell and where it rose, by the intervals of the changes."""
    fell = [
        str(each.number) for each in measured if each.change and each.change.high is not None and each.change.high < 0
    ]
    rose = [
        str(each.number) for each in measured if each.change and each.change.low is not None and each.change.low > 0
    ]
    if not fell and not rose:
        return "No round changed harm measurably"
    parts = [
        f"{verb} in round{'s' if len(numbers) > 1 else ''} {listing(numbers)}"
        for verb, numbers in (("fell", fell), ("rose", rose))
        if numbers
    ]
    return f"Harm {' and '.join(parts)}"


def _rounds(figure: Figure, measured: Sequence[RoundFigures]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes: Axes = svg.place(figure, 46, 38, 14, 10)
    x = [each.number for each in measured]
    axes.plot(x, [each.harm.value for each in measured if each.harm], color=svg.KL, linewidth=1.1, alpha=0.6)
    for each in measured:
        assert each.harm is not None
        if each.harm.low is not None and each.harm.high is not None:
            axes.plot(
                [each.number] * 2, [each.harm.low, each.harm.high], color=svg.KL, linewidth=2.4, solid_capstyle="butt"
            )
        axes.plot([each.number], [each.harm.value], "o", color=svg.KL)
    axes.set_xlim(min(x) - 0.3, max(x) + 0.3)
    axes.set_xticks(x)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel("round of revision")
    axes.set_ylabel("harm")
