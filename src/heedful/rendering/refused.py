"""How each model answers ordinary prompts and those that ask for harm: refusals in full, in part and none, excuses, lectures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from heedful.numerics.verdicts import share_of
from heedful.records.types import Outcome
from heedful.rendering.constitution_content import RefusalRow
from heedful.rendering.content import Estimate

REFUSED = "refused"
"""The outcome: 1 for a full refusal, 0 for none, a partial one in between."""
_ASIDE = ("evasive", "preachy")
_SIDES = ("before", "after")
_KINDS: Mapping[str, Callable[[float], bool]] = {
    "full": lambda refused: refused >= 1,
    "partial": lambda refused: 0 < refused < 1,
    "none": lambda refused: refused <= 0,
}


def refusal_rows(outcomes: Sequence[Outcome], kinds: Mapping[str, str]) -> tuple[RefusalRow, ...]:
    """Return one row per model and kind of prompts; none where refusals were not measured or no prompt's kind is known.

    Args:
        outcomes: rows of both models.
        kinds: prompt id to its kind ("ordinary", "harmful"); prompts of no known kind are left out.
    """
    known = [row for row in outcomes if REFUSED in row.outcomes and row.prompt_id in kinds]
    groups = [(side, kind) for kind in sorted({kinds[row.prompt_id] for row in known}) for side in _SIDES]
    found = []
    for side, kind in groups:
        rows = [row for row in known if row.model == side and kinds[row.prompt_id] == kind]
        if rows:
            found.append(RefusalRow(side, kind, len(rows), _shares(rows)))
    return tuple(found)


def _shares(rows: Sequence[Outcome]) -> dict[str, Estimate]:
    columns = {
        name: [(row.prompt_id, float(holds(row.outcomes[REFUSED]))) for row in rows] for name, holds in _KINDS.items()
    }
    for name in _ASIDE:
        if all(name in row.outcomes for row in rows):
            columns[name] = [(row.prompt_id, float(row.outcomes[name] > 0)) for row in rows]
    shares = {name: share_of(column) for name, column in columns.items()}
    return {name: Estimate(each.value, each.low, each.high) for name, each in shares.items() if each is not None}
