"""A trunk of the value head's own, for those who do not want it on the policy's: a copy of all weights, or an adapter more.

The default is the shared trunk: it halves the work of an update. This is the option that it is measured against.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn import Parameter

from heedful.errors import ModelError
from heedful.models.adapters import VALUE, copy_adapter, with_adapter
from heedful.models.recomputing import recompute_layers
from heedful.models.trunks import Precision, PromptTokens, Trunk, make_trunk


class ValueTrunk:
    """Where the value head reads when it does not read the policy's states.

    Args:
        trunk: gives the states.
        switched: a context in which it is the value head's and not the policy's.
        apart: a model of its own with its parameters; None where they are an adapter of the policy's model.
    """

    def __init__(
        self, trunk: Trunk, switched: Callable[[], contextlib.AbstractContextManager[None]], apart: nn.Module | None
    ) -> None:
        self._trunk = trunk
        self._switched = switched
        self._apart = apart

    def hidden(self, prompts: PromptTokens, actions: Tensor, mask: Tensor) -> Tensor:
        """Return the states [N, D] of the real decisions of `mask`, row by row, fp32."""
        with self._switched():
            return self._trunk.states(prompts, actions, mask).hidden

    def own_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield the trainable parameters that are not among those of the policy's model."""
        if self._apart is not None:
            yield from ((name, value) for name, value in self._apart.named_parameters() if value.requires_grad)

    def recompute_layers(self) -> None:
        """Save memory in the update; see `models/recomputing.py`.

        Raises:
            ModelError: the trunk is an adapter: when a layer is computed again, it is the policy's turn.
        """
        if self._apart is None:
            raise ModelError("layers that two adapters share cannot be computed again for one of them")
        recompute_layers(self._apart)


def make_value_trunk(model: Any, bare: Any, trunk: Trunk, precision: Precision) -> ValueTrunk:
    """Return a value trunk that starts as what the policy is now.

    Args:
        model: the transformers model, or the peft model around it, which gets another adapter then.
        bare: the transformers model itself.
        trunk: the policy's.
    """
    if hasattr(model, "peft_config"):
        copy_adapter(model, model.active_adapter, VALUE)
        return ValueTrunk(trunk, lambda: with_adapter(model, VALUE), None)
    apart = copy.deepcopy(bare)
    return ValueTrunk(make_trunk(apart, precision), contextlib.nullcontext, apart)
