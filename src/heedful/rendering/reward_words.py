"""The reward model in words and tables: what it is worth beside length alone, where it is right, how it goes with length."""

from __future__ import annotations

from heedful.rendering.content import Estimate, RewardFigures
from heedful.rendering.tables import Cell, Table
from heedful.rendering.wording import label, number, percent, span

_TOLD_APART = {
    "agreement": "labelers agree",
    "length": "length",
    "prompt": "prompt",
    "source": "from",
}
_CORRELATIONS = (
    ("pearson", "Pearson"),
    ("spearman", "Spearman, by ranks"),
    ("partial", "Pearson, share of votes held fixed"),
)


def findings(reward: RewardFigures) -> tuple[str, ...]:
    """Return sentences: whether it beats length alone, and how well it knows how sure it may be."""
    return tuple(words for words in (_lead(reward.lead_over_length), _calibration(reward)) if words)


def _lead(lead: Estimate | None) -> str:
    if lead is None or lead.low is None or lead.high is None:
        return ""
    points = f"{number(100 * lead.value, 1)} points ({span(100 * lead.low, 100 * lead.high, 1)})"
    if lead.low > 0:
        return f"It is right more often than length alone, by {points}."
    if lead.high < 0:
        return f"It is right less often than length alone, by {points}: do not follow it."
    return f"It is not measurably better than length alone: the difference is {points}. A policy would learn length from it."


def _calibration(reward: RewardFigures) -> str:
    before, after = reward.calibration_error_before, reward.calibration_error
    if before is None or after is None:
        return ""
    return (
        f"Its stated confidence was off by {number(100 * before, 1)} points on average as it came out of training, and is by "
        f"{number(100 * after, 1)} after a temperature."
    )


def groups(reward: RewardFigures) -> Table | None:
    """Return one row per group of pairs; None without groups."""
    rows = [
        (
            Cell(f"{_TOLD_APART.get(name, label(name))}: {label(each.group)}"),
            Cell(percent(each.share.value), "number", _ends(each.share)),
            Cell(number(each.n), "number"),
        )
        for name, shares in reward.groups
        for each in shares
    ]
    if not rows:
        return None
    head = (Cell("Pairs"), Cell("Right", "number"), Cell("Number", "number"))
    return Table("Where it is right. Second lines: 95 % interval.", head, tuple(rows))


def length(reward: RewardFigures) -> Table | None:
    """Return the correlations of score and length; None without any."""
    found = [(name, getattr(reward.length, key)) for key, name in _CORRELATIONS]
    rows = tuple(
        (Cell(name), Cell(number(value.value, 2), "number", _ends(value, 1.0, 2))) for name, value in found if value
    )
    if not rows:
        return None
    caption = "Scores of held-out texts against their length in characters. Second lines: 95 % interval."
    return Table(caption, (Cell("Correlation"), Cell("r", "number")), rows)


def _ends(value: Estimate, scale: float = 100.0, places: int = 0) -> str:
    if value.low is None or value.high is None:
        return ""
    return span(scale * value.low, scale * value.high, places)
