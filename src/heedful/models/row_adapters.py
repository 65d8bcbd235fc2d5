"""Adapters by row: rows of one adapter are taken together, group after group, and put back into their order.

peft can mix adapters within a batch (`adapter_names`), but wants one name per row of its input: packed rows are a single row to it,
and rows that leave a batch would have to take their names along. A group is an ordinary batch, so each row gets what it would get
among rows of its own adapter, bit for bit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from heedful.errors import ModelError, ShapeError
from heedful.models.adapters import with_adapter, without_adapters

Adapters = Sequence[str | None]
"""One adapter's name per row; None is the base without adapters."""


Group = tuple[AbstractContextManager[None], Tensor]
"""A block in which one adapter is active, to be entered once, and the rows [N] int that are to be computed in it."""


def groups(model: Any, adapters: Adapters | None, rows: int, device: torch.device) -> list[Group]:
    """Return a group for each adapter that is asked for, in the order in which they first come; without `adapters` one of all rows.

    Raises:
        ShapeError: there are not `rows` names. ModelError: the model has no adapter of that name; names the row.
    """
    if adapters is None:
        return [(contextlib.nullcontext(), torch.arange(rows, device=device))]
    if len(adapters) != rows:
        raise ShapeError(f"adapters: {len(adapters)} names for {rows} rows; give one per row, None for the base")
    known = getattr(model, "peft_config", {})
    for row, name in enumerate(adapters):
        if name is not None and name not in known:
            there = ", ".join(sorted(known)) or "none"
            raise ModelError(f"adapters: row {row} asks for '{name}'; the model's adapters are: {there}")
    places = {name: [row for row, other in enumerate(adapters) if other == name] for name in dict.fromkeys(adapters)}
    return [(_switched(model, name), torch.tensor(found, device=device)) for name, found in places.items()]


def _switched(model: Any, name: str | None) -> AbstractContextManager[None]:
    if name is not None:
        return with_adapter(model, name)
    return without_adapters(model) if hasattr(model, "peft_config") else contextlib.nullcontext()


def in_groups(
    found: Sequence[Group], work: Callable[[AbstractContextManager[None], Tensor], Sequence[Tensor]], width: int
) -> list[Tensor]:
    """Return the tensors [B, `width`] whose rows are those that `work` gives for each group; gradients pass.

    Args:
        found: of `groups`.
        work: a group's block and rows to tensors [N, at most `width`].
    """
    order = torch.argsort(torch.cat([rows for _, rows in found]))
    parts = [work(switched, rows) for switched, rows in found]
    return [
        torch.cat([pad(each, (0, width - each.shape[1])) for each in same])[order] for same in zip(*parts, strict=True)
    ]
