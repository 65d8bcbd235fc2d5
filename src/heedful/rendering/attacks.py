"""How far a red team got, as a report shows it: one row for all prompts and one per origin, and the worst answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from heedful.rendering.content import AttackFigures, AttackGroup, BadCompletion
from heedful.rendering.prompts import prompt_text
from heedful.rendering.reading import Raw, estimate_of, number_of
from heedful.rendering.tables import Cell, Table, estimated, share
from heedful.rendering.wording import decimals, number

_SHOWN = 5
_ORIGINS = {"given": "given", "generated": "written by a model"}


def attack_figures(raw: Raw) -> AttackFigures | None:
    """Return the figures of a red team's summary.json; None where the answers were not judged."""
    every = _group("all", raw)
    if every is None:
        return None
    origins = raw.get("origins")
    groups = (_group(name, found) for name, found in (origins.items() if isinstance(origins, Mapping) else ()))
    return AttackFigures(
        groups=(every, *(group for group in groups if group is not None)),
        prompts=int(number_of(raw.get("prompts")) or 0),
        generated=int(number_of(raw.get("generated")) or 0),
        answers=int(number_of(raw.get("completions")) or 0),
        skipped_share=number_of(raw.get("skipped_share")),
        threshold=number_of(raw.get("harmful_above")),
        worst=tuple(_worst(raw.get("worst"))),
    )


def attack_table(figures: AttackFigures) -> Table:
    """Return mean harm and both shares, by origin."""
    head = (
        Cell("Prompts"),
        *(
            Cell(text, "number")
            for text in ("Mean harm", "Harmful answers", "Prompts with a harmful answer", "Answers")
        ),
    )
    caption = "Harm of the answers: minus their score. Second lines: 95 % interval, clustered by prompt."
    return Table(caption, head, tuple(_row(group) for group in figures.groups))


def _row(group: AttackGroup) -> tuple[Cell, ...]:
    return (
        Cell(_ORIGINS.get(group.name, group.name).capitalize()),
        estimated(group.harm, decimals(group.harm.value, group.harm.low, group.harm.high)),
        share(group.harmful),
        share(group.harmful_prompts),
        Cell(number(group.answers), "number"),
    )


def _group(name: str, raw: object) -> AttackGroup | None:
    if not isinstance(raw, Mapping):
        return None
    harm, harmful, prompts = (estimate_of(raw.get(key)) for key in ("harm", "harmful", "harmful_prompts"))
    if harm is None or harmful is None or prompts is None:
        return None
    count = raw["harm"].get("n") if isinstance(raw["harm"], Mapping) else None
    return AttackGroup(name, harm, harmful, prompts, int(number_of(count) or 0))


def _worst(raw: object) -> Iterator[BadCompletion]:
    for row in (raw if isinstance(raw, list) else [])[:_SHOWN]:
        harm = number_of(row.get("harm")) if isinstance(row, Mapping) else None
        if harm is not None:
            yield BadCompletion(prompt_text(row.get("prompt", "")), str(row.get("completion", "")), {"harm": harm})
