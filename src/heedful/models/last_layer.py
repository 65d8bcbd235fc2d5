"""The last layer, for those places alone whose state is read.

Nobody reads the last state of a prompt's tokens: there the last layer owes its keys and values, and nothing else. Queries, the
output projection and the feed-forward work token by token, so they are given the places that are read; what then stands at
the others is never looked at, and gets no gradient. With prompts as long as completions that is half a layer less, forward and
backward. Whether a model takes it is tried out when a trunk is made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers.modeling_layers import GradientCheckpointingLayer

from heedful.numerics.moving import take

BY_TOKEN = ("q_proj", "o_proj", "out_proj", "dense", "mlp")
"""What the families call the parts of a layer that work token by token and that nobody needs at a place that is not read."""
COMPANY = 2
"""Fill up to a multiple of this at least. A token by itself goes another way: its product with the weights depends on where in
memory they lie, and 4-bit weights then give no gradient."""
TOLERANCE = 1e-4
"""How far the states may be from those of the whole layer, relative to the largest (at least to 1); beyond it is no rounding."""
UNFIT = (TypeError, ValueError, RuntimeError, IndexError, AttributeError)
"""What a model raises whose parts take or give something else than one tensor."""


@dataclass(frozen=True)
class Places:
    """Which M of a forward's cells [B * L] are read: `there` [M]; at which of the M each cell stands: `back` [B * L], any where it
    is not `read` [B * L] bool. `own` [M] is False for the copies that fill M up to a multiple."""

    there: Tensor
    back: Tensor
    read: Tensor
    own: Tensor

    @classmethod
    def of(cls, cells: Tensor, total: int, multiple: int = COMPANY) -> Places:
        """Return the places of `cells` [N], all different and at least one, among `total`."""
        filled = -len(cells) % multiple
        back = torch.zeros(total, dtype=torch.long, device=cells.device)
        back[cells] = torch.arange(len(cells), device=cells.device)
        read = torch.zeros(total, dtype=torch.bool, device=cells.device)
        read[cells] = True
        own = pad(torch.ones_like(cells, dtype=torch.bool), (0, filled))
        return cls(torch.cat([cells, cells[:1].expand(filled)]), back, read, own)

    def narrow(self, states: Tensor) -> Tensor:
        """Return [1, M, D] of [B, L, D]."""
        return take(states.flatten(0, 1), self.there, self.back, self.read)[None]

    def widen(self, states: Tensor, shape: torch.Size) -> Tensor:
        """Return [B, L, E] of [1, M, E]; a cell that is not read holds what one of the others does."""
        return take(states[0], self.back, self.there, self.own).unflatten(0, shape)  # type: ignore[no-untyped-call, no-any-return]


_NOW: ContextVar[tuple[nn.Module, Places] | None] = ContextVar(
    "the layer that is narrowed, and its places", default=None
)


@contextlib.contextmanager
def narrowed(layer: nn.Module, places: Places) -> Iterator[None]:
    """Let `layer` do what is done token by token at `places` alone, inside the block."""
    before = _NOW.set((layer, places))
    try:
        with contextlib.ExitStack() as hooks:
            for module in _by_token(layer):
                _hook(module, places, hooks)
            yield
    finally:
        _NOW.reset(before)


def as_now() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Return what makes a block in which the layer is narrowed as it is now, for a forward that is done again later."""
    now = _NOW.get()
    return contextlib.nullcontext if now is None else lambda: narrowed(*now)


def _by_token(layer: nn.Module) -> list[nn.Module]:
    """Return the outermost parts of these names; anew each time, as adapters come and go around them."""
    found: dict[str, nn.Module] = {}
    for name, module in layer.named_modules():
        if name.rsplit(".", 1)[-1] in BY_TOKEN and not any(name.startswith(f"{outer}.") for outer in found):
            found[name] = module
    return list(found.values())


def _hook(module: nn.Module, places: Places, hooks: contextlib.ExitStack) -> None:
    shapes: list[torch.Size] = []

    def narrow(_module: nn.Module, given: tuple[Any, ...]) -> tuple[Tensor]:
        (states,) = given
        shapes.append(states.shape[:2])
        return (places.narrow(states),)

    def widen(_module: nn.Module, _given: Any, out: Tensor) -> Tensor:
        return places.widen(out, shapes.pop())

    hooks.callback(module.register_forward_pre_hook(narrow).remove)
    hooks.callback(module.register_forward_hook(widen).remove)


@torch.no_grad()
def narrowable(body: Any) -> nn.Module | None:
    """Return the last layer of a decoder without its head, if its states at some places are those of the whole layer; tried out."""
    layers = [module for module in body.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers or not _by_token(layers[-1]):
        return None
    device = next(body.parameters()).device
    tokens = torch.arange(1, 11, device=device).view(2, 5) % body.config.get_text_config(decoder=True).vocab_size
    cells = torch.tensor([2, 3, 9], device=device)
    whole = body(input_ids=tokens, use_cache=False).last_hidden_state.flatten(0, 1)[cells].float()
    try:
        with narrowed(layers[-1], Places.of(cells, tokens.numel())):
            states = body(input_ids=tokens, use_cache=False).last_hidden_state.flatten(0, 1)[cells].float()
    except UNFIT:
        return None
    bound = TOLERANCE * whole.abs().max().clamp(min=1.0)
    return layers[-1] if bool((states - whole).abs().max() <= bound) else None
