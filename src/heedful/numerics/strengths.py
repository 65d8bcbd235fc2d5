"""How good each completion is, on one scale, from votes on pairs: Bradley-Terry, and Davidson's model with ties.

    P(i beats j)  = exp(s_i) / Z,   P(tie) = nu exp((s_i + s_j) / 2) / Z,   Z = exp(s_i) + exp(s_j) + nu exp((s_i + s_j) / 2)

Every strength has a normal prior with mean 0: a completion that always wins, or that nobody compared, stays finite.
Fitted by L-BFGS on the exact gradient. Deliberately absent: Elo, whose numbers depend on the order of the votes.

Source: Bradley and Terry 1952; Davidson 1970.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heedful.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MOST = 12.0
"""Bound on |log nu|: where all votes are ties, the likelihood grows with nu for ever."""


@dataclass(frozen=True)
class Strengths:
    """`strengths[i]` in nats, around 0; `nu` >= 0 is the tendency to tie (0 in Bradley-Terry), 1 makes two equals tie
    one time in three."""

    strengths: Floats
    nu: float

    def chances(self, first: int, second: int) -> tuple[float, float, float]:
        """Return the probabilities that the first wins, that the second wins, and of a tie."""
        half = (self.strengths[first] - self.strengths[second]) / 2
        weights = np.array([np.exp(half), np.exp(-half), self.nu])
        win, lose, tie = (weights / weights.sum()).tolist()
        return win, lose, tie


@dataclass(frozen=True)
class Votes:
    """Votes on pairs: `first[k]` won `wins[k]` times, lost `losses[k]` times and tied `ties[k]` times against
    `second[k]`."""

    first: Ints
    second: Ints
    wins: Floats
    losses: Floats
    ties: Floats

    @staticmethod
    def of(pairs: ArrayLike, counts: ArrayLike) -> Votes:
        """Return the votes from pairs [P, 2] of items and counts [P, 3] of wins, losses, ties.

        Raises:
            DataError: an item meets itself, or a count is negative or not finite.
        """
        items, votes = np.asarray(pairs, dtype=np.int64).reshape(-1, 2), np.asarray(counts, dtype=np.float64)
        votes = votes.reshape(-1, 3)
        if len(items) != len(votes) or (items[:, 0] == items[:, 1]).any() or (items < 0).any():
            raise DataError("votes need two different items per pair, and one row of wins, losses, ties for each")
        if not np.isfinite(votes).all() or (votes < 0).any():
            raise DataError("a number of votes is negative or not finite")
        return Votes(items[:, 0], items[:, 1], *votes.T)


def davidson_loss(
    strengths: Floats, log_nu: float, votes: Votes, *, prior_deviation: float = 1.0
) -> tuple[float, Floats, float]:
    """Return minus the log posterior, and its derivatives by the strengths and by log nu.

        loss = sum_k  n_k log Z_k - (wins_k - losses_k) d_k / 2 - ties_k log nu   +   sum_i s_i^2 / (2 sigma^2)
        d_k  = s_first - s_second,   Z_k = exp(d_k / 2) + exp(-d_k / 2) + nu

    Args:
        strengths: [items].
        log_nu: minus infinity is Bradley-Terry; ties then count one half each way.
        prior_deviation: sigma > 0; infinity is no prior.
    """
    half = (strengths[votes.first] - strengths[votes.second]) / 2
    n = votes.wins + votes.losses + votes.ties
    log_z = np.logaddexp(np.logaddexp(half, -half), log_nu)
    slope = n * (np.exp(half - log_z) - np.exp(-half - log_z)) / 2 - (votes.wins - votes.losses) / 2
    size = len(strengths)
    gradient = np.bincount(votes.first, slope, size) - np.bincount(votes.second, slope, size)
    precision = 1 / prior_deviation**2
    loss = float((n * log_z - (votes.wins - votes.losses) * half).sum()) + precision * float(strengths @ strengths) / 2
    if np.isinf(log_nu):
        return loss, gradient + precision * strengths, 0.0
    tied = float(votes.ties.sum())
    by_nu = float((n * np.exp(log_nu - log_z)).sum()) - tied
    return loss - tied * log_nu, gradient + precision * strengths, by_nu


def bradley_terry_strengths(votes: Votes, num_items: int, *, prior_deviation: float = 1.0) -> Strengths:
    """Return the most probable strengths where a tie is half a win each way.

    Args:
        num_items: items are numbered from 0 below it.
        prior_deviation: standard deviation of the normal prior, nats; infinity is no prior (strengths then sum to 0).
    """
    return _fit(votes, num_items, prior_deviation=prior_deviation, ties=False)


def davidson_strengths(votes: Votes, num_items: int, *, prior_deviation: float = 1.0) -> Strengths:
    """Return the most probable strengths, and the nu that goes with them.

    Without a tie in the votes nu is 0; with nothing but ties it is held at e^12.

    Args:
        num_items: items are numbered from 0 below it.
        prior_deviation: standard deviation of the normal prior, nats; infinity is no prior (strengths then sum to 0).
    """
    return _fit(votes, num_items, prior_deviation=prior_deviation, ties=bool(votes.ties.any()))


def _fit(votes: Votes, num_items: int, *, prior_deviation: float, ties: bool) -> Strengths:
    from scipy.optimize import minimize

    if len(votes.first) and num_items <= max(votes.first.max(), votes.second.max()):
        raise DataError(f"a vote names an item beyond the {num_items} there are")

    def loss(parameters: Floats) -> tuple[float, Floats]:
        log_nu = float(parameters[-1]) if ties else -np.inf
        value, gradient, by_nu = davidson_loss(parameters[:-1], log_nu, votes, prior_deviation=prior_deviation)
        return value, np.append(gradient, by_nu)

    bounds = [(None, None)] * num_items + [(-_MOST, _MOST)]
    found = minimize(
        loss,
        np.zeros(num_items + 1),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 2000, "maxfun": 4000, "ftol": 1e-15, "gtol": 1e-8},
    )
    strengths = found.x[:-1] - found.x[:-1].mean() if np.isinf(prior_deviation) else found.x[:-1]
    return Strengths(strengths, float(np.exp(found.x[-1])) if ties else 0.0)
