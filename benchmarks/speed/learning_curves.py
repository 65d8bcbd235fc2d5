"""The arithmetic of the learning check: curves of held-out reward, read at equal KL, and the time to a reward."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365, 10: 2.262}
"""Student's t, 97.5 %, by number of values."""
PENALTY = 10.0
"""Who never reaches the reward counts as so many times the rival's time (PAR10, as in competitions of solvers)."""


@dataclass(frozen=True)
class Point:
    """A checkpoint: seconds of training before it, its mean held-out reward, and its KL from the start in nats per answer."""

    seconds: float
    reward: float
    kl: float


Curve = Sequence[Point]
"""In order of training; the first is the start, at 0 seconds and KL 0."""


def reward_at_kl(curve: Curve, kl: float) -> float:
    """Return the reward where the curve first has this KL, on straight lines between checkpoints.

    Raises:
        ValueError: it never has.
    """
    for before, after in itertools.pairwise(curve):
        if before.kl <= kl <= after.kl:
            share = (kl - before.kl) / (after.kl - before.kl) if after.kl > before.kl else 1.0
            return before.reward + share * (after.reward - before.reward)
    raise ValueError(f"a KL of {kl:g} was asked for; the curve ends at {curve[-1].kl:g}")


def lead_at_equal_kl(ours: Curve, rival: Curve) -> tuple[float, float]:
    """Return our reward less the rival's at the smaller of the two last KLs, and that KL."""
    kl = min(ours[-1].kl, rival[-1].kl)
    return reward_at_kl(ours, kl) - reward_at_kl(rival, kl), kl


def time_to_reward(curve: Curve, reward: float) -> float:
    """Return the seconds until the curve first has this reward, on straight lines between checkpoints; infinity if never."""
    if curve[0].reward >= reward:
        return 0.0
    for before, after in itertools.pairwise(curve):
        if after.reward >= reward:
            share = (reward - before.reward) / (after.reward - before.reward)
            return before.seconds + share * (after.seconds - before.seconds)
    return math.inf


def time_share(ours: Curve, rival: Curve) -> float:
    """Return our time to the rival's last reward over the time at which the rival itself first had it; `PENALTY` if never."""
    wanted = rival[-1].reward
    mine, its = time_to_reward(ours, wanted), time_to_reward(rival, wanted)
    return mine / its if math.isfinite(mine) else PENALTY


def t_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean with Student's 95 % interval."""
    middle = statistics.fmean(values)
    reach = T_95[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
    return middle, middle - reach, middle + reach


def geometric_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the geometric mean with Student's 95 % interval of the logarithms."""
    middle, low, high = (math.exp(v) for v in t_interval([math.log(value) for value in values]))
    return middle, low, high
