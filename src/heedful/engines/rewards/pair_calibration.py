"""How sure a reward model may be of a pair: the temperature of its leads, and how far off it is before and after.

The temperature is fitted on all held-out pairs. Its error is measured on pairs that it was not fitted on: tasks are split in
halves, and each half is judged by the temperature of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from heedful.engines.rewards.cross_tempering import FEWEST, Floats, confidence, confidence_curve, cross_tempered, halves
from heedful.numerics.statistics import expected_calibration_error, fit_temperature
from heedful.records.types import Preference

FEWEST_PAIRS = FEWEST
"""With fewer the temperature stays 1."""


def vote_shares(pairs: Sequence[Preference]) -> Floats:
    """Return for each pair the share of votes for chosen, a tie half a vote; p where nobody counted votes.

    p is smoothed for learning; what is foretold is the votes themselves.
    """
    counted = [(pair.wins + pair.ties / 2) / pair.n if pair.source == "rankings" else pair.p for pair in pairs]
    return np.array(counted, dtype=np.float64)


def pair_temperature(leads: Floats, shares: Floats) -> float:
    """Return the temperature that makes sigmoid(lead / temperature) the most likely; 1 for fewer than `FEWEST_PAIRS`.

    Args:
        leads: score of chosen minus score of rejected, [P].
        shares: of votes for chosen, [P].
    """
    return fit_temperature(leads, shares) if len(leads) >= FEWEST_PAIRS else 1.0


def calibration_figures(leads: Floats, unit: float, pairs: Sequence[Preference], *, seed: int) -> dict[str, Any]:
    """Return `halves_figures` of a reward model's leads, beside the shares of votes.

    Args:
        leads: score of chosen minus score of rejected, [P].
        unit: what one unit of the head's own number is in the score.
    """
    return halves_figures(leads, unit, vote_shares(pairs), [pair.task_id for pair in pairs], seed=seed)


def halves_figures(leads: Floats, unit: float, shares: Floats, tasks: Sequence[str], *, seed: int) -> dict[str, Any]:
    """Return `calibration_error_before` (temperature 1), `calibration_error` (each half by the other's temperature) and the
    `calibration` curve behind the latter; nothing where the pairs are too few for halves.

    Args:
        leads: log-odds that chosen is better, or scores' difference, [P].
        unit: the temperature before.
        shares: of votes for chosen, [P].
        tasks: of the pairs, [P]; those of one task are in one half.
        seed: of the halves.
    """
    first = halves(tasks, seed=seed)
    if first is None:
        return {}
    sure = confidence(cross_tempered(leads, shares, first))
    kept = np.where(leads >= 0, shares, 1 - shares)
    return {
        "calibration_error_before": expected_calibration_error(confidence(leads / unit), kept),
        "calibration_error": expected_calibration_error(sure, kept),
        "calibration": confidence_curve(sure, kept),
    }
