"""The table of decisions: what a rollout yields and what every policy-gradient method consumes.

A row is an episode, a column is a decision. The core never opens `context`: whoever makes the rollout puts there what its policy
needs to judge the decisions again (prompt tokens, board states). Anything that can be indexed by a tensor of row numbers will do.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from heedful.errors import ShapeError


class Context(Protocol):
    """What a policy needs besides the actions, by row."""

    def __getitem__(self, rows: Tensor) -> Self:
        """Return the context of these rows, in this order."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Table:
    """B episodes of at most T decisions. `mask` is True at real decisions, which stand at the left of each row.

    Shapes: `actions` [B, T] int; `mask` [B, T] bool; `logprobs` [B, T] nats, when the action was taken; `values` [B, T] and
    `rewards` [B, T] in reward units; `group` [B] int (episodes of one prompt); `truncated` [B] bool, True where the episode was cut
    short rather than ended. All floats are fp32 and 0 at padding. Where there are any: `ref_logprobs` [B, T] of the frozen
    reference, `sampler_logprobs` [B, T] as the sampler itself gave them, `kl` [B, T] its exact or sampled divergence, `scores` [B],
    `forward_costs` [B] int: how many cells a forward over the row takes where that is more than its decisions (a prompt has to be
    read again), `own_rewards` [B, T]: what a decision earns beyond what its state earns on average; it counts for this decision's
    advantage alone.
    """

    actions: Tensor
    mask: Tensor
    logprobs: Tensor
    values: Tensor
    rewards: Tensor
    context: Context
    group: Tensor
    truncated: Tensor
    ref_logprobs: Tensor | None = None
    sampler_logprobs: Tensor | None = None
    kl: Tensor | None = None
    scores: Tensor | None = None
    forward_costs: Tensor | None = None
    own_rewards: Tensor | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.actions.shape
        for name in ("mask", "logprobs", "values", "rewards", "ref_logprobs", "sampler_logprobs", "kl", "own_rewards"):
            cells = getattr(self, name)
            if cells is not None and cells.shape != shape:
                raise ShapeError(f"table: {name} has shape {tuple(cells.shape)}, actions have {tuple(shape)}")
        if len(self.context) != shape[0]:
            raise ShapeError(f"table: context has {len(self.context)} rows, actions have {shape[0]}")

    def __len__(self) -> int:
        return self.actions.shape[0]

    @property
    def num_decisions(self) -> int:
        """How many real decisions the table holds."""
        return int(self.mask.sum())

    @property
    def costs(self) -> Tensor:
        """[B] int: what a forward over each row costs, in cells."""
        return self.mask.sum(1) if self.forward_costs is None else self.forward_costs

    def rows(self, index: Tensor) -> Table:
        """Return these rows only, cut to their longest episode."""
        longest = max(1, int(self.mask[index].sum(1).max()))
        picked = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, Tensor):
                picked[entry.name] = value[index][:, :longest] if value.dim() == 2 else value[index]
        return replace(self, context=self.context[index], metrics={}, **picked)


@dataclass(frozen=True)
class Evaluation:
    """A policy's view of a table's decisions; all [B, T] fp32, 0 at padding."""

    logprobs: Tensor
    values: Tensor
    entropy: Tensor


def scatter(cells: Tensor, mask: Tensor) -> Tensor:
    """Return [B, T] with `cells` [N] at the True places of `mask` (row by row) and 0 elsewhere."""
    out = torch.zeros(mask.shape, dtype=cells.dtype, device=cells.device)
    return out.masked_scatter(mask, cells)
