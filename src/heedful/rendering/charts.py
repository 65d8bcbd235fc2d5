"""The pictures of outcomes, of the reward model and of the labels. At most one idea each; the title is the finding.

A chart carries its own title and a note on what is drawn: units, what a band or a whisker means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from heedful.numerics.statistics import wilson_interval
from heedful.rendering import findings, svg
from heedful.rendering.content import CalibrationBin, Estimate, LabelFigures, OutcomeFigures, RewardFigures
from heedful.rendering.wording import decimals, label, number, percent, sentence, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NARROW = 340.0
"""Width in points of a chart that stands in a column or on a telephone."""
WIDE = 690.0
_NUM_BINS = 25
_UNIT_INTERVAL = ("probability", "share", "0 to 1")
"""Units whose axis goes from 0 to 1."""
REWARD_HEIGHT = 220.0
"""Height in points of charts that stand side by side."""
_LONGEST_NAME = 18


@dataclass(frozen=True)
class Chart:
    """A finding, its picture, and what is drawn. `narrow` is the same picture for small screens, where it differs."""

    title: str
    svg: Markup
    note: str = ""
    narrow: Markup | None = None


def distribution(outcome: OutcomeFigures) -> Chart | None:
    """Return the outcome's distribution before and after, one above the other on one axis; None without values."""
    if not outcome.before_values or not outcome.after_values:
        return None
    title = findings.outcome_title(outcome)
    pictures = [
        svg.draw(f"distribution-{name}", title, (width, 268), lambda figure: _paint_distribution(figure, outcome))
        for name, width in (("wide", WIDE), ("narrow", NARROW))
    ]
    note = (
        f"Share of completions by {label(outcome.name)} ({_unit(outcome)}); {len(outcome.before_values):,} before and "
        f"{len(outcome.after_values):,} after on {outcome.n:,} held-out prompts. "
        "The line is the mean, the bar on it its 95 % interval."
    )
    return Chart(title, pictures[0], note, narrow=pictures[1])


def _unit(outcome: OutcomeFigures) -> str:
    return ", ".join(
        part for part in (visible(outcome.unit), f"by {visible(outcome.by)}" if outcome.by else "") if part
    )


def _paint_distribution(figure: Figure, outcome: OutcomeFigures) -> None:
    values = np.concatenate([outcome.before_values, outcome.after_values])
    bounds = (0.0, 1.0) if outcome.unit in _UNIT_INTERVAL and values.min() >= 0 and values.max() <= 1 else None
    edges = np.histogram_bin_edges(values, bins=_NUM_BINS, range=bounds)
    places = decimals(outcome.before.value, outcome.after.value)
    panels = (
        ("before", outcome.before_values, outcome.before, svg.BEFORE, 154.0, 6.0),
        ("after", outcome.after_values, outcome.after, svg.AFTER, 36.0, 124.0),
    )
    shares = {name: np.histogram(sample, edges)[0] / len(sample) for name, sample, *_ in panels}
    top = 1.28 * max(share.max() for share in shares.values())
    for name, _, mean, colour, bottom, above in panels:
        axes = svg.place(figure, 42, bottom, 12, above)
        axes.stairs(shares[name], edges, fill=True, color=colour, alpha=0.28, linewidth=0)
        axes.stairs(shares[name], edges, color=colour, linewidth=1.1)
        axes.set_ylim(0, top)
        axes.set_xlim(edges[0], edges[-1])
        percent_ticks(axes)
        _mark_mean(axes, f"{name}: mean {number(mean.value, places)}", mean, colour, top)
        if name == "before":
            axes.tick_params(labelbottom=False)
    axes.set_xlabel(sentence(label(outcome.name)))


def percent_ticks(axes: Axes) -> None:
    """Write shares on the vertical axis in percent."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(2))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))


def _mark_mean(axes: Axes, text: str, mean: Estimate, colour: str, top: float) -> None:
    low, high = axes.get_xlim()
    to_right = mean.value < (low + high) / 2
    axes.plot([mean.value, mean.value], [0, 0.93 * top], color=colour, linewidth=1.2)
    if mean.low is not None and mean.high is not None:
        axes.plot([mean.low, mean.high], [0.93 * top] * 2, color=colour, linewidth=3.2, solid_capstyle="butt")
    axes.annotate(
        text,
        (mean.high if to_right and mean.high is not None else mean.value, 0.93 * top),
        xytext=(7 if to_right else -7, 0),
        textcoords="offset points",
        ha="left" if to_right else "right",
        va="center",
        color=colour,
        weight="bold",
    )


def reward_accuracy(reward: RewardFigures) -> Chart | None:
    """Return the reward model's accuracies beside chance, a length rule, people and the ceiling; None without accuracy."""
    rows = [
        (name, value, colour)
        for name, value, colour in (
            ("length alone", reward.length_baseline, svg.BEFORE),
            ("majority alone", reward.majority_baseline, svg.BEFORE),
            ("on the labels", reward.accuracy, svg.REWARD),
            ("on gold", reward.accuracy_gold, svg.REWARD),
            ("labelers agree", reward.agreement, svg.PEOPLE),
            ("ceiling", reward.ceiling, svg.PEOPLE),
        )
        if value is not None
    ]
    if reward.accuracy is None:
        return None
    title = findings.reward_title(reward)
    picture = svg.draw(
        "reward-accuracy", title, (NARROW, REWARD_HEIGHT), lambda figure: _paint_shares(figure, rows, chance=True)
    )
    note = (
        "Share of held-out pairs, ties left out. Grey: rules without a model; the longer one wins (or the shorter, as in "
        "training), the text wins that won most of its pairs in training. Green: the reward model. Violet: people; the "
        "ceiling is what a perfect scorer would reach on these labels. Whiskers: 95 % interval."
    )
    return Chart(title, picture, note)


def _paint_shares(figure: Figure, rows: Sequence[tuple[str, Estimate, str]], *, chance: bool) -> None:
    """Draw one dot with whiskers per row on an axis from 0 to 1, its value at the right end."""
    axes = svg.place(figure, 122, 24, 46, 8)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    if chance:
        axes.axvline(0.5, color=svg.RULE, linewidth=0.9, linestyle=(0, (3, 2)))
    for y, (_, value, colour) in enumerate(rows):
        axes.plot([0, 1], [y, y], color=svg.RULE, linewidth=0.4)
        if value.low is not None and value.high is not None:
            axes.plot([value.low, value.high], [y, y], color=colour, linewidth=2.4, solid_capstyle="butt", alpha=0.55)
        axes.plot([value.value], [y], "o", color=colour)
        axes.annotate(
            percent(value.value), (1, y), xytext=(8, 0), textcoords="offset points", va="center", color=colour
        )
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
    axes.tick_params(axis="y", length=0, pad=8)
    axes.spines["left"].set_visible(False)
    axes.set_xticks([0, 0.5, 1], ["0 %", "50 %, chance" if chance else "50 %", "100 %"])


def calibration(reward: RewardFigures) -> Chart | None:
    """Return stated confidence against the share that was right; None without bins."""
    bins = [each for each in reward.calibration if each.n > 0]
    if not bins:
        return None
    title = findings.calibration_title(reward)
    picture = svg.draw(
        "reward-calibration", title, (NARROW, REWARD_HEIGHT), lambda figure: paint_calibration(figure, bins)
    )
    note = (
        "How often it is right (up) against how sure it says it is (across). On the line it is exactly as right as it says. "
        "Whiskers: 95 % Wilson interval; larger dots hold more pairs."
    )
    return Chart(title, picture, note)


def paint_calibration(figure: Figure, bins: Sequence[CalibrationBin]) -> None:
    """Draw stated confidence against the share that was right, one dot with its whiskers per bin."""
    axes = svg.place(figure, 46, 38, 14, 10)
    axes.set_xlim(0.48, 1.02)
    axes.set_ylim(0, 1.04)
    axes.plot([0.5, 1], [0.5, 1], color=svg.RULE, linewidth=1)
    # In the corner that whiskers hardly ever reach.
    axes.text(0.98, 0.05, "line: as right as it says", transform=axes.transAxes, ha="right", color=svg.MUTED)
    most = max(each.n for each in bins)
    for each in bins:
        low, high = wilson_interval(each.accuracy * each.n, each.n)
        axes.plot([each.confidence] * 2, [low, high], color=svg.REWARD, linewidth=1.1)
        size = 3 + 5 * (each.n / most) ** 0.5
        axes.plot([each.confidence], [each.accuracy], "o", color=svg.REWARD, markersize=size)
    axes.set_xticks([0.5, 0.75, 1], ["50 %", "75 %", "100 %"])
    axes.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    axes.set_xlabel("stated confidence")


def labelers(labels: LabelFigures) -> Chart | None:
    """Return each labeler's agreement with the others, flagged ones in words and colour; None without agreements."""
    rows = [
        (
            _short(each.name) + (" \N{BLACK FLAG}" if each.flagged else ""),
            each.agreement,
            svg.ALERT if each.flagged else svg.PEOPLE,
        )
        for each in labels.labelers
        if each.agreement is not None
    ]
    if not rows:
        return None
    title = findings.labels_title(labels)
    size = (NARROW, 34.0 + 24 * len(rows))
    picture = svg.draw("labelers", title, size, lambda figure: _paint_shares(figure, rows, chance=True))
    note = (
        "Agreement of each labeler with the others on the same tasks, in pairs of completions. "
        "Whiskers: 95 % interval. A flag marks those who stand out."
    )
    return Chart(title, picture, note)


def _short(name: str) -> str:
    name = visible(name).replace("\n", " ")
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"
