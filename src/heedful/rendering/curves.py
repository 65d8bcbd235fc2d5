"""The pictures of a training run: score, KL, entropy and length by iteration, and the score against KL with its fitted peak."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from heedful.numerics.overoptimisation import NEAREST_KL, PeakFit, fit_peak
from heedful.rendering import findings, svg
from heedful.rendering.charts import NARROW, Chart
from heedful.rendering.content import Alert, RunFigures
from heedful.rendering.wording import label, number, sentence, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHT = 196.0


@dataclass(frozen=True)
class _Curve:
    """One metric over the iterations. `limit` is drawn across with `limit_name`; `sd` names the metric of the band."""

    metric: str
    colour: str
    title: Callable[[RunFigures], str]
    note: str
    unit: str = ""
    sd: str | None = None
    from_zero: bool = True


_CURVES = (
    _Curve(
        "score_mean",
        svg.REWARD,
        findings.score_title,
        "Mean score of the iteration's completions; band: one standard deviation between completions.",
        sd="score_sd",
        from_zero=False,
    ),
    _Curve(
        "kl_per_sequence",
        svg.KL,
        findings.kl_title,
        "KL from the policy to its frozen reference, exact over the vocabulary, nats per completion.",
        unit=" nats",
    ),
    _Curve("entropy", svg.AFTER, findings.entropy_title, "Entropy of the policy, nats per decision.", unit=" nats"),
    _Curve(
        "length_mean", svg.BEFORE, findings.length_title, "Mean length of a completion, in decisions (tokens for text)."
    ),
)


_GOLD = _Curve(
    "gold_mean",
    svg.PEOPLE,
    findings.gold_title,
    "Mean score by the held-out scorer, which does not train the policy, of answers to fixed prompts.",
    from_zero=False,
)
_WATCHED = {
    "ratio_mean": "Mean ratio of new to old probabilities; 1 is no change.",
    "sampler_mismatch": "Mean of exp |log-prob in training less log-prob in sampling|; 1 is agreement.",
    "approx_kl": "Approximate KL of the old to the new policy in one iteration, nats per token.",
    "clip_fraction": "Share of decisions whose clipped loss was the larger.",
    "explained_variance": "Share of the returns' variance that the values explain; below 0 is worse than none.",
    "tied_share": "Share of groups whose completions all have one score.",
    "truncated_share": "Share of completions that ran into the length limit.",
    "seq_rep_4": "Share of 4-grams that a completion says again.",
    "distinct_2": "Distinct bigrams over all bigrams of an iteration.",
    "phrase_growth": "Growth of the share of completions that hold one phrase.",
    "paid_phrase_growth": "The same, of phrases that go with a higher score.",
    "reward_outlier_share": "Share of completions unlike those of the start in the reward model's last layer.",
    "reward_spread_share": "Share of completions on which an ensemble disagrees.",
}
"""What has a curve only where a monitor spoke of it."""
_SHOWN_ON = {"rollout_entropy": "entropy", "kl_per_token": "kl_per_sequence", "kl_estimate": "kl_per_sequence"}
"""Metrics whose alerts stand on the curve of another that tells the same."""


def run_curves(run: RunFigures) -> tuple[Chart, ...]:
    """Return one chart per metric that the rows hold: score, gold, KL, entropy, length, and what monitors spoke of."""
    spoken = {alert.metric for alert in run.alerts}
    watched = [_watched(metric, note) for metric, note in _WATCHED.items() if metric in spoken]
    curves = (_CURVES[0], _GOLD, *_CURVES[1:], *watched)
    return tuple(_chart(run, curve) for curve in curves if any(curve.metric in row for row in run.rows))


def _watched(metric: str, note: str) -> _Curve:
    return _Curve(metric, svg.KL, lambda run: findings.watched_title(run, metric), note, from_zero=False)


def _chart(run: RunFigures, curve: _Curve) -> Chart:
    title = curve.title(run)
    alerts = tuple(alert for alert in run.alerts if _SHOWN_ON.get(alert.metric, alert.metric) == curve.metric)
    name = "run-" + curve.metric.replace("_", "-")
    picture = svg.draw(name, title, (NARROW, _HEIGHT), lambda figure: _paint_curve(figure, run, curve, alerts))
    note = curve.note
    if alerts:
        told = "; ".join(f"iteration {each.iteration}: {visible(each.message)}" for each in alerts)
        note += f" Triangles: {told}."
    return Chart(title, picture, note)


def _paint_curve(figure: Figure, run: RunFigures, curve: _Curve, alerts: Sequence[Alert]) -> None:
    axes = svg.place(figure, 42, 36, 62, 10)
    rows = [row for row in run.rows if curve.metric in row]
    x = np.array([row["iteration"] for row in rows])
    y = np.array([row[curve.metric] for row in rows])
    if curve.sd is not None and all(curve.sd in row for row in rows):
        sd = np.array([row[curve.sd] for row in rows])
        axes.fill_between(x, y - sd, y + sd, color=curve.colour, alpha=0.14, linewidth=0)
    axes.plot(x, y, color=curve.colour, marker="o" if len(rows) == 1 else None)
    _limit(axes, run, curve)
    _finish_axes(axes, x, from_zero=curve.from_zero)
    _end_label(axes, float(x[-1]), float(y[-1]), number(float(y[-1])) + curve.unit, curve.colour)
    heights = dict(zip(x.tolist(), y.tolist(), strict=True))
    for alert in alerts:
        if alert.iteration in heights:
            axes.plot([alert.iteration], [heights[alert.iteration]], "^", color=svg.ALERT, markersize=7, clip_on=False)


def _limit(axes: Axes, run: RunFigures, curve: _Curve) -> None:
    limits = {"kl_per_sequence": ("budget", run.kl_budget), "score_mean": ("target", run.target_score)}
    name, value = limits.get(curve.metric, ("", None))
    if value is None:
        return
    axes.axhline(value, color=svg.ALERT, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(
        f"{name} {number(value)}",
        (0, value),
        xycoords=("axes fraction", "data"),
        xytext=(5, 4),
        textcoords="offset points",
        color=svg.ALERT,
    )


def _finish_axes(axes: Axes, x: np.ndarray, *, from_zero: bool) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if from_zero:
        axes.set_ylim(0, max(1e-9, 1.12 * axes.dataLim.y1, axes.get_ylim()[1]))
    axes.set_xlim(x[0] - 0.5 * (x[-1] == x[0]), x[-1] + 0.5 * (x[-1] == x[0]))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}")))
    axes.set_xlabel("iteration")


def _end_label(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    axes.annotate(
        text, (x, y), xytext=(6, 0), textcoords="offset points", va="center", color=colour, annotation_clip=False
    )


def score_against_kl(run: RunFigures) -> Chart | None:
    """Return the score against KL, one dot per iteration, with the fitted curve and its peak; None without both metrics.

    Where gold was measured it is gold's score, since only gold shows that the policy goes too far.
    """
    what = "gold_mean" if any("gold_mean" in row for row in run.rows) else "score_mean"
    rows = [row for row in run.rows if "kl_per_sequence" in row and what in row]
    kl = np.array([row["kl_per_sequence"] for row in rows])
    score = np.array([row[what] for row in rows])
    fit = fit_peak(kl, score) if len(rows) > 1 else None
    if fit is None:
        return None
    peak = fit.peak if fit.peak is not None and NEAREST_KL < fit.peak <= kl.max() else None
    title = findings.peak_title(peak, float(kl.max()), gold=what == "gold_mean")
    picture = svg.draw("score-kl", title, (NARROW, 230), lambda figure: _paint_frontier(figure, kl, score, fit, peak))
    dots = "measurement of gold" if what == "gold_mean" else "iteration"
    note = (
        f"One dot per {dots}, later ones darker. The line is the fit score = a + d (b \N{MINUS SIGN} c log d) with d the root "
        "of KL (Gao and others 2022): past its peak the policy pleases the reward model more than people."
    )
    return Chart(title, picture, note)


def _paint_frontier(figure: Figure, kl: np.ndarray, score: np.ndarray, fit: PeakFit, peak: float | None) -> None:
    axes = svg.place(figure, 42, 38, 16, 12)
    shades = np.linspace(0.4, 1, len(kl))
    for x, y, alpha in zip(kl, score, shades, strict=True):
        axes.plot([x], [y], "o", color=svg.REWARD, alpha=alpha, markersize=4, markeredgewidth=0)
    grid = np.linspace(max(NEAREST_KL, kl[kl > 0].min()), kl.max(), 120)
    axes.plot(grid, fit.score(grid), color=svg.KL, linewidth=1.3)
    if peak is not None:
        top = float(fit.score(np.array([peak]))[0])
        axes.plot([peak, peak], [axes.get_ylim()[0], top], color=svg.KL, linewidth=0.9, linestyle=(0, (3, 2)))
        axes.annotate(
            f"peak {number(peak)} nats",
            (peak, top),
            xytext=(0, 7),
            textcoords="offset points",
            ha="right",
            color=svg.KL,
        )
    _finish_axes(axes, np.array([0.0, kl.max() * 1.03]), from_zero=False)
    axes.set_xlabel(sentence(label("KL to the reference, nats per completion")))
