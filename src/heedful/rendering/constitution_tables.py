"""Tables and sentences on a constitution: the judge's habits, AI labels beside people's, rounds of revision, gates, refusals."""

from __future__ import annotations

from collections.abc import Sequence

from heedful.rendering.constitution_content import (
    JudgeFigures,
    PrincipleFigures,
    ReferenceFigures,
    RefusalRow,
    RevisionFigures,
    TemperatureFigures,
)
from heedful.rendering.content import Estimate
from heedful.rendering.tables import Cell, Table
from heedful.rendering.wording import decimals, label, number, percent, percent_estimate, sentence, span, visible

_SKIPS = {
    "context": "longer than the judge's context",
    "timeout": "no answer in time",
    "refused": "the server declined",
    "truncated": "the thought did not end",
    "no_option": "neither option was named",
    "malformed": "no sensible answer",
    "failed": "the connection or the server failed",
}
_COSTS = {
    "judge_requests": "requests",
    "judge_prompt_tokens": "tokens read",
    "judge_completion_tokens": "tokens written",
    "judge_cost": "cost, in the currency of the prices",
}


def judge_sentences(judge: JudgeFigures) -> tuple[str, ...]:
    """Return what a reader must know of the judge before trusting its labels."""
    found = [_position(judge.first), _flips(judge.flips), _length(judge.longer)]
    if judge.clamp is not None and judge.clamped is not None:
        low, high = judge.clamp
        found.append(
            f"{percent(judge.clamped)} of its readings lay outside {number(low)} to {number(high)} and were clamped."
        )
    if judge.temperature is not None:
        found.append(_tempered(judge.temperature))
    return tuple(each for each in found if each)


def _tempered(found: TemperatureFigures) -> str:
    said = f"Its confidence was set by {number(found.n)} pairs that people compared, temperature {number(found.value)}"
    if found.before is None or found.after is None:
        return f"{said}."
    return f"{said}: off by {number(100 * found.before, 1)} points before, by {number(100 * found.after, 1)} after."


def _position(first: Estimate | None) -> str:
    return _bias(
        first, "It prefers the answer shown {}", ("second", "first"), "No preference for a position was measured"
    )


def _length(longer: Estimate | None) -> str:
    return _bias(longer, "It prefers the {} answer", ("shorter", "longer"), "No preference for length was measured")


def _bias(share: Estimate | None, words: str, sides: tuple[str, str], none: str) -> str:
    """Return which side is preferred, where the interval excludes one half."""
    if share is None:
        return ""
    low, high = share.low, share.high
    if low is None or high is None or low <= 0.5 <= high:
        return f"{none}: {sides[1]} wins {percent_estimate(share)}."
    if share.value > 0.5:
        return f"{words.format(sides[1])}: it wins {percent_estimate(share)}."
    return f"{words.format(sides[0])}: {sides[1]} wins {percent_estimate(share)}."


def _flips(flips: Estimate | None) -> str:
    if flips is None:
        return "Each pair was asked in one order: how often a swap changes the winner is not known."
    return f"When the answers are swapped its winner changes in {percent_estimate(flips)} of comparisons; a judge of chance: 50 %."


def share_cell(value: Estimate | None) -> Cell:
    """Return a share in percent with its interval on a second line."""
    if value is None:
        return Cell(number(None), "number")
    detail = "" if value.low is None or value.high is None else span(100 * value.low, 100 * value.high, 0)
    return Cell(percent(value.value), "number", detail)


def principle_head(judge: JudgeFigures) -> tuple[Cell, ...]:
    """Return the head of the table of principles."""
    beside = (Cell(f"Agrees with {judge.references[0].by}", "number"),) if judge.references else ()
    return (Cell("Principle"), *(Cell(name, "number") for name in ("Fired", "Win rate", "Flips")), *beside)


def principle_cells(judge: JudgeFigures, principle: PrincipleFigures) -> tuple[Cell, ...]:
    """Return a principle's cells after its name."""
    cells = (Cell(number(principle.fired), "number"), share_cell(principle.wins), share_cell(principle.flips))
    return (*cells, share_cell(principle.right)) if judge.references else cells


def skips(judge: JudgeFigures) -> Table | None:
    """Return the questions without a verdict by reason; None where each has one."""
    if not judge.skips:
        return None
    rows = tuple(
        (
            Cell(sentence(_SKIPS.get(kind, label(kind)))),
            Cell(number(count), "number"),
            Cell(percent(count / judge.questions, 1), "number"),
        )
        for kind, count in sorted(judge.skips.items(), key=lambda each: -each[1])
    )
    head = (Cell("Why there is no verdict"), Cell("Questions", "number"), Cell("Share", "number"))
    return Table(f"Skipped questions, of {number(judge.questions)}.", head, rows)


def costs(judge: JudgeFigures) -> Table | None:
    """Return requests, tokens and cost of a server; None for a model on this machine, which is not counted."""
    rows = tuple(
        (Cell(sentence(words)), Cell(number(judge.cost[name]), "number"))
        for name, words in _COSTS.items()
        if name in judge.cost
    )
    if not rows:
        return None
    return Table(
        "What the judge's server counted; retries are not in it.", (Cell("What"), Cell("Amount", "number")), rows
    )


def references(judge: JudgeFigures) -> Table | None:
    """Return AI labels beside others' on the same pairs; None where no pair has both."""
    if not judge.references:
        return None
    head = (Cell("Measured"), Cell("Share", "number"), Cell("Pairs", "number"))
    rows = [row for each in judge.references for row in _reference(each)]
    return Table(
        "AI labels and others on the same pairs, ties of others left out. Second lines: 95 % interval.",
        head,
        tuple(rows),
    )


def _reference(each: ReferenceFigures) -> list[tuple[Cell, ...]]:
    name = "the majority of people" if each.by == "people" else each.by
    lines = [
        (f"AI label against {name}", each.accuracy),
        ("AI label against one person", each.one_person),
        ("One person against another", each.two_people),
        ("AI label for the longer answer", each.longer_by_judge),
        (f"{sentence(each.by)} for the longer answer", each.longer),
    ]
    return [
        (Cell(words), share_cell(value), Cell(number(each.n), "number")) for words, value in lines if value is not None
    ]


def rounds(revisions: RevisionFigures) -> Table:
    """Return one row per round: harm, its change against the round before, other scores, how many were measured."""
    names = list(dict.fromkeys(name for each in revisions.rounds for name in each.scores))
    places = max((decimals(each.harm.value) for each in revisions.rounds if each.harm), default=2)
    head = (
        Cell("Round"),
        *(Cell(name, "number") for name in ("Harm", "Change", *(sentence(label(name)) for name in names), "Answers")),
    )
    rows = tuple(
        (
            Cell("Before any" if each.number == 0 else f"After round {each.number}"),
            _number(each.harm, places),
            _number(each.change, places),
            *(_number(each.scores.get(name), 2) for name in names),
            Cell(number(each.n), "number"),
        )
        for each in revisions.rounds
    )
    harm = (
        "All by gold, which neither writer nor gates have seen; before the gates."
        if revisions.by_gold
        else "Harm is minus the score of the recipe's scorer, measured before the gates."
    )
    caption = (
        f"{harm} A round without a text leaves its answer as it is. Change is against the round before, the same answers. Second "
        "lines: 95 % interval, clustered by prompt."
    )
    return Table(caption, head, rows)


def _number(value: Estimate | None, places: int) -> Cell:
    if value is None:
        return Cell(number(None), "number")
    detail = "" if value.low is None or value.high is None else span(value.low, value.high, places)
    return Cell(number(value.value, places), "number", detail)


def gates(revisions: RevisionFigures) -> Table | None:
    """Return how many revisions each gate took out, by round; None where none did."""
    numbers = [each for each in revisions.rounds if each.number > 0]
    names = sorted({name for each in numbers for name in each.skips})
    if not names:
        return None
    head = (Cell("Gate"), *(Cell(f"Round {each.number}", "number") for each in numbers))
    rows = tuple(
        (Cell(sentence(label(name))), *(Cell(number(each.skips.get(name, 0)), "number") for each in numbers))
        for name in names
    )
    return Table("Revisions that the gates took out, by round.", head, rows)


_REFUSALS = {"full": "Full", "partial": "Partial", "none": "None", "evasive": "Evasive", "preachy": "Preachy"}


def refusals(rows: Sequence[RefusalRow]) -> Table:
    """Return the matrix of refusals: one row per kind of prompts and model."""
    names = [name for name in _REFUSALS if any(name in row.shares for row in rows)]
    head = (Cell("Prompts and model"), *(Cell(_REFUSALS[name], "number") for name in names), Cell("Answers", "number"))
    return Table(
        "Held-out answers that refuse in full, in part, or not at all; that are excuses, or lectures. A refusal is right where "
        "harm is asked for, and too much where it is not. Second lines: 95 % interval.",
        head,
        tuple(
            (
                Cell(f"{sentence(label(row.kind))}, {row.model}"),
                *(share_cell(row.shares.get(name)) for name in names),
                Cell(number(row.n), "number"),
            )
            for row in rows
        ),
    )


def described(judge: JudgeFigures) -> str:
    """Return who compared what, how often."""
    orders = "both orders" if judge.orders == "both" else "one order, drawn at random"
    by = (
        f" by the constitution \N{LEFT DOUBLE QUOTATION MARK}{visible(judge.constitution)}\N{RIGHT DOUBLE QUOTATION MARK}"
        if judge.constitution
        else ""
    )
    return (
        f"The judge \N{LEFT DOUBLE QUOTATION MARK}{visible(judge.judge)}\N{RIGHT DOUBLE QUOTATION MARK} answered "
        f"{number(judge.questions - sum(judge.skips.values()))} of {number(judge.questions)} questions{by}, in {orders}; "
        f"{number(judge.labels)} pairs have a label for {label(judge.criterion)}."
    )
