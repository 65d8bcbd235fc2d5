"""What the template of a constitution's part asks for: charts, tables and sentences, each absent where it was not measured."""

from __future__ import annotations

from dataclasses import dataclass

from heedful.rendering import constitution_charts as charts
from heedful.rendering import constitution_tables as tables
from heedful.rendering.charts import Chart
from heedful.rendering.constitution_content import ConstitutionFigures, JudgeFigures, PrincipleFigures, RevisionFigures
from heedful.rendering.habit_charts import habit_charts
from heedful.rendering.tables import Cell, Table


@dataclass(frozen=True)
class JudgeParts:
    """A judge's part of the page."""

    described: str
    sentences: tuple[str, ...]
    charts: tuple[Chart, ...]
    head: tuple[Cell, ...]
    principles: tuple[tuple[PrincipleFigures, tuple[Cell, ...]], ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class RevisionParts:
    """The revisions' part of the page."""

    chart: Chart | None
    rounds: Table | None
    gates: Table | None


@dataclass(frozen=True)
class ConstitutionParts:
    """The whole part of the page."""

    judge: JudgeParts | None
    revisions: RevisionParts | None
    refusals: Table | None
    habits: tuple[Chart, ...] = ()


def constitution_parts(figures: ConstitutionFigures) -> ConstitutionParts:
    """Return what the page shows of these figures."""
    return ConstitutionParts(
        judge=_judge(figures.judge) if figures.judge else None,
        revisions=_revisions(figures.revisions) if figures.revisions else None,
        refusals=tables.refusals(figures.refusals) if figures.refusals else None,
        habits=habit_charts(figures.habits) if figures.habits else (),
    )


def _judge(judge: JudgeFigures) -> JudgeParts:
    drawn = (charts.probabilities(judge), *(charts.calibration(each) for each in judge.references))
    found = (tables.references(judge), tables.skips(judge), tables.costs(judge))
    return JudgeParts(
        described=tables.described(judge),
        sentences=tables.judge_sentences(judge),
        charts=tuple(each for each in drawn if each is not None),
        head=tables.principle_head(judge),
        principles=tuple((each, tables.principle_cells(judge, each)) for each in judge.principles),
        tables=tuple(each for each in found if each is not None),
    )


def _revisions(revisions: RevisionFigures) -> RevisionParts:
    return RevisionParts(
        chart=charts.harm_by_round(revisions),
        rounds=tables.rounds(revisions) if any(each.n for each in revisions.rounds) else None,
        gates=tables.gates(revisions),
    )
