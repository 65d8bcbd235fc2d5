"""Making an ensemble out of one reward model: what its members differ in, and the rows that each of them learns from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from heedful.models.adapters import add_lora, add_sibling
from heedful.models.ensemble import Ensemble, adapter_name
from heedful.models.heads import ScalarHead
from heedful.models.reward import RewardModel
from heedful.records.seeds import derive_seed

if TYPE_CHECKING:
    from heedful.stages.groups import LoraGroup
    from heedful.stages.reward import EnsembleGroup

STAGE = "reward"
Draws = NDArray[np.float64]


def ensemble_of(
    model: RewardModel, group: EnsembleGroup, lora: LoraGroup | None, *, seed: int, fresh: bool
) -> Ensemble:
    """Return an ensemble on the model's backbone.

    Args:
        model: with one head, or a classifier's two.
        group: how many members, what they differ in, how they are combined.
        lora: shape of the members' adapters; None where they differ by their heads.
        seed: members draw their heads and adapters from it.
        fresh: the head is untrained, so every member draws its own; else, and where weights are to be averaged, all start
            from the model's.
    """
    own_heads = fresh and group.combine != "weights"
    heads = [
        ScalarHead(model.backbone.width, seed=derive_seed(seed, STAGE, "head", number) + which)
        if own_heads
        else copy.deepcopy(head)
        for number in range(group.members)
        for which, head in enumerate(model.heads)
    ]
    adapted = None
    if lora is not None:
        seeds = [derive_seed(seed, STAGE, "lora", number) for number in range(group.members)]
        first = adapter_name(0)
        body = model.backbone.model
        adapted = add_lora(body, r=lora.r, alpha=lora.alpha, targets=lora.targets, seed=seeds[0], name=first)
        for number in range(1, group.members):
            add_sibling(adapted, first, adapter_name(number), seed=seeds[number])
    return Ensemble(
        model.backbone,
        heads,
        adapted=adapted,
        classes=len(model.heads),
        combine="mean" if group.combine == "weights" else group.combine,
        variance_weight=group.variance_weight,
    )


def member_draws(members: int, units: int, *, resample: bool, seed: int) -> Draws:
    """Return how often each member sees each unit per epoch, [M, U]: 1, or how often a bootstrap of the units drew it."""
    if not resample:
        return np.ones((members, units))
    draws = []
    for number in range(members):
        rng = np.random.default_rng(derive_seed(seed, STAGE, "bootstrap", number))
        draws.append(np.bincount(rng.integers(0, units, units), minlength=units))
    return np.array(draws, dtype=np.float64)


def row_draws(members: int, clusters: Sequence[str], *, resample: bool, seed: int) -> Draws:
    """Return how often each member sees each row per epoch, [M, N]: a bootstrap draws whole clusters.

    Args:
        clusters: of each row, [N].
    """
    names, places = np.unique(np.array(clusters, dtype=object).astype(str), return_inverse=True)
    return member_draws(members, len(names), resample=resample, seed=seed)[:, places]


def sum_over_members(
    scores: Tensor, loss: Callable[[Tensor, Sequence[float]], Tensor], draws: Sequence[Sequence[float]]
) -> Tensor:
    """Return the members' losses, added up: they share no trainable weights but a trunk, so each learns as if alone.

    Args:
        scores: one column per member, [B, M]; of a classifier with its classes, [B, M, 2].
        loss: of one column and of how often that member sees each unit.
        draws: the latter, per member.
    """
    first, *others = [loss(own, seen) for own, seen in zip(scores.unbind(1), draws, strict=True)]
    return sum(others, first)
