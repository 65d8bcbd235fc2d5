"""Texts that are not there: listed, counted by kind, and bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from heedful.errors import HealthError
from heedful.records.types import Unanswered


@dataclass
class Skips:
    """What was skipped of one kind of work.

    Args:
        stage: whose setting `max_skipped` bounds them.
        what: the work, in the plural.
        share: of all that may be skipped.
    """

    stage: str
    what: str
    share: float
    rows: list[Unanswered] = field(default_factory=list)

    def add(self, row: Unanswered, *, total: int) -> None:
        """Note one; HealthError where more are skipped already than may be of `total`."""
        self.rows.append(row)
        self.check(total)

    def check(self, total: int) -> None:
        """Raise HealthError where more were skipped than may be of `total`."""
        if len(self.rows) <= self.share * total:
            return
        last = self.rows[-1]
        raise HealthError(
            f"{len(self.rows)} of {total} {self.what} were skipped ({kinds_text(self.rows)}), more than {self.stage}.max_skipped = "
            f"{self.share:g} allows; the last: '{last.id}': {last.skipped}"
        )

    def figures(self, total: int) -> dict[str, JsonValue]:
        """Return how many, their share of `total`, and how many of each kind."""
        count = len(self.rows)
        return {"skipped": count, "skipped_share": count / max(1, total), "skips": dict(kinds_of(self.rows))}


def kinds_of(rows: Sequence[Unanswered]) -> Counter[str]:
    """Return how many were skipped by each kind of reason."""
    return Counter(row.skipped.partition(":")[0] for row in rows)


def kinds_text(rows: Sequence[Unanswered]) -> str:
    """Return the kinds with their counts, in words."""
    return ", ".join(f"{count} {kind}" for kind, count in kinds_of(rows).most_common())
