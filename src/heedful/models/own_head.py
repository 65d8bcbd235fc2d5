"""A model's own way from states to logits, for those that scale, cap or shift them around the output layer."""

from __future__ import annotations

import contextlib
from typing import Any

from torch import Tensor, nn

from heedful.errors import ModelError

HEAD_TOLERANCE = 1e-4
"""How far two ways to the same logits may be apart, relative to the largest of them (at least to 1)."""


class OwnHead:
    """Runs the whole model, and lets only chosen states reach its output layer: logits are [N, V] and never [B, L, V].

    It does what `logits_to_keep` does, but for every architecture, and for rows whose decisions stand at different places.

    Args:
        model: the transformers model.
        body: the part of it whose `last_hidden_state` the head reads.
    """

    def __init__(self, model: nn.Module, body: nn.Module) -> None:
        self._model: Any = model
        self._body = body

    def __call__(self, inputs: dict[str, Tensor], rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states [N, D] at (rows, columns), each [N], and the model's own logits [N, V] there.

        Raises:
            ModelError: the model does not call its output layer.
        """
        states: list[Tensor] = []
        narrowed: list[Tensor] = []

        def keep(_body: nn.Module, _inputs: Any, out: Any) -> None:
            states.append(out.last_hidden_state[rows, columns])

        def narrow(_layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            narrowed.append(given[0][rows, columns][None])
            return (narrowed[-1], *given[1:])

        with contextlib.ExitStack() as hooks:
            hooks.callback(self._body.register_forward_hook(keep).remove)
            hooks.callback(output_layer(self._model).register_forward_pre_hook(narrow).remove)
            logits = self._model(**inputs, use_cache=False).logits
        if not states or not narrowed:
            raise ModelError(f"{type(self._model).__name__} does not call its own output layer; its logits are unknown")
        return states[-1], logits[0]


def differs(logits: Tensor, own: Tensor) -> bool:
    """Return whether logits are other than the model's own, beyond rounding; numbers that are not finite tell nothing."""
    if not bool(own.isfinite().all()):
        return False
    bound = HEAD_TOLERANCE * own.float().abs().max().clamp(min=1.0)
    return not bool((logits.float() - own.float()).abs().max() <= bound)  # a NaN on our side differs too


def output_layer(model: nn.Module) -> nn.Module:
    """Return the layer that writes the logits.

    Raises:
        ModelError: the model has none.
    """
    layer = model.get_output_embeddings()  # type: ignore[operator]
    if layer is None:
        raise ModelError(
            f"{type(model).__name__} has no language-model head; a causal or encoder-decoder LM was expected"
        )
    return layer  # type: ignore[no-any-return]
