"""Tables as values: a head and rows of cells. The template draws them, on a telephone as one block per row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from heedful.rendering import findings
from heedful.rendering.content import Ancestor, Estimate, LabelFigures, OutcomeFigures, RunFigures, StageCost
from heedful.rendering.wording import (
    decimals,
    duration,
    label,
    memory,
    number,
    sentence,
    span,
    visible,
)

Kind = Literal["text", "number", "code", "good", "bad"]
_SHORT_DIGEST = 12
_MOST_ITERATIONS = 200
_MARK_WIDTH, _MARK_HEIGHT = 120, 16
_BAR_WIDTH = 80
_SMALLEST_P = 0.001
_MOST_PLACES = 4


@dataclass(frozen=True)
class Cell:
    """One cell: text, or a small picture of ours (Markup). `kind` says how it is set."""

    text: str | Markup
    kind: Kind = "text"
    detail: str = ""
    """A second line in small type: the interval of a number, who measured an outcome."""


@dataclass(frozen=True)
class Table:
    """A table with a caption that says what a row is."""

    caption: str
    head: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]


def _numbers(*texts: str) -> tuple[Cell, ...]:
    return tuple(Cell(text, "number") for text in texts)


def estimated(
    value: Estimate | None, places: int, kind: Kind = "number", *, scale: float = 1.0, unit: str = ""
) -> Cell:
    """Return a number with its interval on a second line, both with the same digits."""
    if value is None:
        return Cell(number(None), kind)
    detail = "" if value.low is None or value.high is None else span(scale * value.low, scale * value.high, places)
    return Cell(number(scale * value.value, places) + unit, kind, detail)


def share(value: Estimate | None) -> Cell:
    """Return a share in percent, with its interval on a second line."""
    return estimated(value, 0, scale=100, unit=" %")


def outcomes(figures: Sequence[OutcomeFigures]) -> Table:
    """Return one row per outcome: before, after, change, relative change, a mark that shows the change, and p."""
    widest = max((_furthest(outcome) for outcome in figures), default=0.0)
    head = (
        Cell("Outcome"),
        *_numbers("Before", "After", "Change", "Relative"),
        Cell("In sd of before"),
        *_numbers("p", "n"),
    )
    return Table(
        "Held-out prompts, before and after. Second lines: 95 % interval, clustered by prompt. n counts prompts.",
        head,
        tuple(_outcome_row(outcome, widest) for outcome in figures),
    )


def _outcome_row(outcome: OutcomeFigures, widest: float) -> tuple[Cell, ...]:
    places = min(3, max(decimals(outcome.before.value), decimals(outcome.after.value)))
    better = findings.improved(outcome)
    judgement: Kind = "number" if better is None else "good" if better else "bad"
    by = ", ".join(part for part in (visible(outcome.unit), f"by {visible(outcome.by)}" if outcome.by else "") if part)
    return (
        Cell(sentence(label(outcome.name)), detail=by),
        estimated(outcome.before, places),
        estimated(outcome.after, places),
        estimated(outcome.change, _places_clear_of_zero(outcome.change, places), judgement),
        share(outcome.relative),
        Cell(_mark(outcome, widest)),
        *_numbers(_p_value(outcome.p_value), number(outcome.n)),
    )


def _places_clear_of_zero(change: Estimate, places: int) -> int:
    """Return enough decimals that an end of the interval which is not 0 does not read as 0."""
    ends = [abs(end) for end in (change.low, change.high) if end]
    while places < _MOST_PLACES and any(round(end, places) == 0 for end in ends):
        places += 1
    return places


def _p_value(p: float | None) -> str:
    return f"< {_SMALLEST_P}" if p is not None and p < _SMALLEST_P else number(p, None if p is None else 3)


def _furthest(outcome: OutcomeFigures) -> float:
    """Return the largest distance from 0 that the mark of this outcome must hold, in sd of before."""
    if not outcome.before_sd:
        return 0.0
    ends = (outcome.change.value, outcome.change.low, outcome.change.high)
    return max(abs(end) for end in ends if end is not None) / outcome.before_sd


def _mark(outcome: OutcomeFigures, widest: float) -> Markup | str:
    """Return a small picture: 0 in the middle, a dot at the change and a whisker along its interval."""
    sd, change = outcome.before_sd, outcome.change
    if not sd or not widest:
        return number(None)

    def x(value: float) -> str:
        return f"{_MARK_WIDTH / 2 * (1 + 0.92 * value / sd / widest):.1f}"

    better = findings.improved(outcome)
    kind = "plain" if better is None else "good" if better else "bad"
    middle = _MARK_HEIGHT // 2
    parts = [
        f'<svg class="mark {kind}" viewBox="0 0 {_MARK_WIDTH} {_MARK_HEIGHT}" role="img" '
        f'aria-label="{number(change.value / sd, 2)} standard deviations">',
        f'<path class="zero" d="M{_MARK_WIDTH / 2} 0V{_MARK_HEIGHT}"/>',
    ]
    if change.low is not None and change.high is not None:
        parts.append(f'<path class="whisker" d="M{x(change.low)} {middle}H{x(change.high)}"/>')
    parts.append(f'<circle cx="{x(change.value)}" cy="{middle}" r="3.2"/></svg>')
    return Markup("".join(parts))  # numbers only


def labelers(labels: LabelFigures) -> Table:
    """Return one row per labeler: tasks, agreement with the others, what was seen, whether their labels were used."""
    simulated = any(each.planted for each in labels.labelers)
    head = (Cell("Labeler"), *_numbers("Tasks", "Agreement", "q"), Cell("What was seen"), Cell("Labels"))
    rows = []
    for each in labels.labelers:
        seen = Cell(sentence(visible(each.reason)) or "Flagged", "bad") if each.flagged else Cell("Nothing unusual")
        cells = (
            Cell(visible(each.name), "code"),
            *_numbers(number(each.tasks)),
            share(each.agreement),
            *_numbers(_p_value(each.q)),
            seen,
            Cell("left out" if each.name in labels.excluded else "used"),
        )
        rows.append(cells + ((Cell(visible(each.planted) if each.planted else "careful"),) if simulated else ()))
    return Table(
        "Second lines: 95 % interval. q is the p of the permutation test within tasks, after Benjamini-Hochberg.",
        head + ((Cell("Simulated as"),) if simulated else ()),
        tuple(rows),
    )


def iterations(run: RunFigures) -> Table:
    """Return one row per iteration with every metric; of a long run evenly spaced ones, the last always among them."""
    rows = run.rows
    step = -(-len(rows) // _MOST_ITERATIONS)
    kept = rows[::-1][::step][::-1] if step else ()
    names = list(dict.fromkeys(name for row in kept for name in row))
    caption = "Every iteration." if step <= 1 else f"Every {step}th iteration of {len(rows)}."
    return Table(
        caption,
        _numbers(*(label(name) for name in names)),
        tuple(_numbers(*(number(row.get(name)) for name in names)) for row in kept),
    )


_DONE = {"warn": "went on", "stop": "stopped", "roll_back": "rolled back"}


def alerts(run: RunFigures) -> Table:
    """Return one row per alert of the monitors."""
    return Table(
        "What the monitors saw, in order.",
        (*_numbers("Iteration"), Cell("Monitor"), *_numbers("Value", "Threshold"), Cell("What"), Cell("The run")),
        tuple(
            (
                *_numbers(str(each.iteration)),
                Cell(label(each.monitor)),
                *_numbers(number(each.value), number(each.threshold)),
                Cell(sentence(visible(each.message))),
                Cell(_DONE.get(each.action, visible(each.action)), "bad" if each.action != "warn" else "text"),
            )
            for each in run.alerts
        ),
    )


def lineage(ancestors: Sequence[Ancestor]) -> Table:
    """Return one row per artifact that the report was made from."""
    head = (Cell("Role"), Cell("Stage"), Cell("Version"), Cell("Digest"), Cell("Made from"))
    rows = tuple(
        (
            Cell(visible(each.role)),
            Cell(visible(each.stage)),
            Cell(str(each.version), "code"),
            Cell(visible(each.digest)[:_SHORT_DIGEST], "code"),
            Cell(", ".join(visible(parent) for parent in each.made_from) or "\N{EN DASH}", "code"),
        )
        for each in ancestors
    )
    return Table("Artifacts this report was made from.", head, rows)


def costs(stages: Sequence[StageCost], seconds: float, peak_memory_bytes: int | None) -> Table:
    """Return one row per stage and the total: time, its share, peak memory."""
    head = (Cell("Stage"), *_numbers("Time", "Share", "Peak memory"))
    rows = [
        (
            Cell(visible(each.stage)),
            *_numbers(
                duration(each.seconds),
                f"{100 * each.seconds / seconds:.0f} %" if seconds > 0 else number(None),
                memory(each.peak_memory_bytes),
            ),
        )
        for each in stages
    ]
    rows.append((Cell("Whole run"), *_numbers(duration(seconds), "", memory(peak_memory_bytes))))
    return Table("Wall-clock time by stage, and the most memory the process had held by its end.", head, tuple(rows))


_MEMORY_PARTS = {
    "before": "Python, libraries and earlier stages",
    "frozen": "Frozen weights of the policy",
    "reference": "Weights of the reference beside it",
    "trainable": "Trained weights",
    "gradients": "Gradients",
    "optimizer": "State of the optimizer",
    "cache": "Cache of keys and values",
    "rest": "The rest: activations, logits, the scorer",
}
_MEMORY_PHASES = {"rollout": "Sampling and scoring", "update": "Update"}


def memory_parts(cost: StageCost) -> Table | None:
    """Return what a training stage's memory was made of at the peak of each phase; None where that was not measured."""
    phases = [phase for phase in _MEMORY_PHASES if cost.memory.get(phase)]
    if not phases:
        return None
    totals = {phase: sum(cost.memory[phase].values()) for phase in phases}
    most = max(*totals.values(), 1)
    rows = [
        (Cell(words), *(_filled(cost.memory[phase].get(part, 0), most) for phase in phases))
        for part, words in _MEMORY_PARTS.items()
        if any(cost.memory[phase].get(part) for phase in phases)
    ]
    rows.append((Cell("Peak"), *_numbers(*(memory(totals[phase]) for phase in phases))))
    head = (Cell("Part"), *_numbers(*(_MEMORY_PHASES[phase] for phase in phases)))
    return Table(f"What memory was made of at its peak in {visible(cost.stage)}.", head, tuple(rows))


def _filled(size: int, whole: int) -> Cell:
    """Return bytes with a bar beside them, whose full width is `whole`."""
    width = round(_BAR_WIDTH * size / whole, 1)
    bar = Markup(
        '<svg class="held-bytes" width="{0}" height="10" viewBox="0 0 {0} 10" aria-hidden="true">'
        '<rect width="{1}" height="10"/></svg> '
    ).format(_BAR_WIDTH, width)
    return Cell(bar + (memory(size) if size else number(0)), "number")
