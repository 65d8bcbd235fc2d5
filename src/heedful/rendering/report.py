"""The report: one HTML file that opens offline, prints, and decides nothing by colour alone.

`render_report` makes the page; `stamp` adds what only the runner knows, time and memory, to a copy of it, so that the
artifact's own bytes do not depend on the clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from heedful.rendering import attacks, charts, curves, findings, reward_words, tables
from heedful.rendering.constitution import constitution_parts
from heedful.rendering.content import ReportContent, StageCost
from heedful.rendering.pages import page
from heedful.rendering.part_curves import part_curves

_COST_OPENS, _COST_CLOSES = "<!--heed:cost-->", "<!--/heed:cost-->"
"""Comments in the page. Escaped text cannot hold them, so a model cannot forge them."""

GENERATED = "generated data"


def render_report(content: ReportContent) -> str:
    """Return the report as one self-contained HTML page. The same content gives the same bytes.

    Sections whose part of the content is empty or None are left out.
    """
    lead = content.lead
    run, reward, labels = content.run, content.reward, content.labels
    return page(
        "report.html.j2",
        content=content,
        generated=GENERATED if content.generated else "",
        in_title=GENERATED if content.generated and GENERATED not in content.title.lower() else "",
        verdict=findings.verdict(content),
        distribution=charts.distribution(lead) if lead else None,
        outcomes=tables.outcomes(content.outcomes) if content.outcomes else None,
        curves=(*curves.run_curves(run), *part_curves(run)) if run and run.rows else (),
        frontier=curves.score_against_kl(run) if run else None,
        alerts=tables.alerts(run) if run and run.alerts else None,
        iterations=tables.iterations(run) if run and run.rows else None,
        reward_words=reward_words.findings(reward) if reward else (),
        reward_groups=reward_words.groups(reward) if reward else None,
        reward_length=reward_words.length(reward) if reward else None,
        reward_charts=_drawn(charts.reward_accuracy(reward), charts.calibration(reward)) if reward else (),
        attack_table=attacks.attack_table(content.attack) if content.attack else None,
        labelers_chart=charts.labelers(labels) if labels else None,
        labelers=tables.labelers(labels) if labels and labels.labelers else None,
        constitution=constitution_parts(content.constitution) if content.constitution else None,
        chains=shown.chains if content.constitution and (shown := content.constitution.revisions) else (),
        lineage=tables.lineage(content.lineage) if content.lineage else None,
    )


def _drawn(*drawings: charts.Chart | None) -> tuple[charts.Chart, ...]:
    return tuple(drawing for drawing in drawings if drawing is not None)


def stamp(html: str, seconds: float, peak_memory_bytes: int | None, stages: Sequence[StageCost] = ()) -> str:
    """Return the report with its section on time and memory; a report stamped before gets the new figures.

    Args:
        html: a page of `render_report`.
        seconds: wall-clock seconds of the whole run.
        peak_memory_bytes: the largest resident memory of the run; None where it was not measured.
        stages: the same by stage, in order.
    """
    made_of = [table for stage in stages if (table := tables.memory_parts(stage)) is not None]
    section = page("cost.html.j2", cost=tables.costs(stages, seconds, peak_memory_bytes), memory=made_of)
    marks = re.compile(f"{_COST_OPENS}.*?{_COST_CLOSES}", re.DOTALL)
    return marks.sub(lambda _: f"{_COST_OPENS}{section}{_COST_CLOSES}", html, count=1)


def stamp_summary(summary: Mapping[str, Any], seconds: float, peak_memory_bytes: int | None) -> dict[str, Any]:
    """Return summary.json's figures with `seconds` and `peak_memory_bytes` of the whole run."""
    return {**summary, "seconds": seconds, "peak_memory_bytes": peak_memory_bytes}
