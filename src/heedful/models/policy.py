"""The policy: a language model with a value head on the same trunk, and the frozen reference beside it.

With LoRA one base serves as both: the reference is the base with adapters off, or the frozen adapter that the policy started from.
With full fine-tuning the reference is a frozen copy.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from heedful.errors import HealthError, ModelError
from heedful.models.adapters import with_adapter, without_adapters
from heedful.models.heads import ScalarHead
from heedful.models.prompts import Renderer
from heedful.models.recomputing import recompute_layers
from heedful.models.row_adapters import Adapters, groups, in_groups
from heedful.models.table import Evaluation, Table, scatter
from heedful.models.trunks import Precision, PromptTokens, States, Trunk, halve_frozen, make_trunk
from heedful.models.value_trunk import make_value_trunk
from heedful.numerics.kl import head_comparison
from heedful.numerics.logprobs import head_logprobs
from heedful.records.types import Prompt


class Reference:
    """The frozen model that the policy is held to."""

    def __init__(
        self, trunk: Trunk, frozen: Callable[[], contextlib.AbstractContextManager[None]], weights: Mapping[str, Tensor]
    ) -> None:
        self._trunk = trunk
        self._frozen = frozen
        self._weights = weights
        self._digest = self.digest()

    @contextlib.contextmanager
    def states(self, prompts: PromptTokens, actions: Tensor, mask: Tensor) -> Iterator[States]:
        """Give the reference's states; its head may be used inside the block."""
        with torch.no_grad(), self._frozen():
            yield self._trunk.states(prompts, actions, mask)

    def tensors(self) -> Iterator[Tensor]:
        """Yield the reference's weights; they may be the policy's own."""
        yield from self._weights.values()

    def digest(self) -> str:
        """Return the sha256 of the reference's weights."""
        total = hashlib.sha256()
        for name in sorted(self._weights):
            total.update(name.encode())
            total.update(self._weights[name].detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return total.hexdigest()

    def check_unchanged(self) -> None:
        """Raise HealthError when a weight of the reference is not what it was at the start."""
        if self.digest() != self._digest:
            raise HealthError("the reference model's weights changed during training; they must stay frozen")


@dataclass(frozen=True)
class BesideReference:
    """Policy and reference on the same decisions; all [B, T] fp32, 0 at padding. `exact_kl` sums over the vocabulary."""

    logprobs: Tensor
    ref_logprobs: Tensor
    exact_kl: Tensor
    values: Tensor
    entropy: Tensor


class LanguagePolicy:
    """A causal or encoder-decoder language model with a value head; judges and remembers how it is sampled.

    Args:
        model: the transformers model, or the peft model around it.
        renderer: turns prompts into tokens and tokens into text.
        stop: ids that end a completion.
        temperature: the policy is softmax(logits / temperature), in sampling and in every log-prob alike.
        value_head: None for a policy that is only sampled from.
        own_value_trunk: the value head reads a trunk of its own that starts as a copy (of the weights, or of the adapter), instead
            of the policy's.
    """

    def __init__(
        self,
        model: nn.Module,
        renderer: Renderer,
        *,
        stop: frozenset[int],
        temperature: float = 1.0,
        precision: Precision = "fp32",
        value_head: ScalarHead | None = None,
        own_value_trunk: bool = False,
    ) -> None:
        self.model = model.eval()  # dropout would make the ratio differ from 1 before the first step
        self.renderer = renderer
        self.stop = stop
        self.temperature = temperature
        self.precision = precision
        self.value_head = value_head if value_head is None else value_head.to(self.device)
        self._recomputes = False
        self.trunk = make_trunk(self.bare, precision)
        self._value_trunk = make_value_trunk(model, self.bare, self.trunk, precision) if own_value_trunk else None
        if precision == "bf16":
            halve_frozen(self.model)

    @property
    def bare(self) -> Any:
        """The transformers model itself, inside peft's wrapping where there is one."""
        return cast(Any, self.model).get_base_model() if hasattr(self.model, "peft_config") else self.model

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def trainable(self) -> Iterator[tuple[str, Parameter]]:
        """Yield the parameters an optimizer may change: adapters (or all weights) and the value head."""
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                yield name, parameter
        if self._value_trunk is not None:
            for name, parameter in self._value_trunk.own_parameters():
                yield f"value_trunk.{name}", parameter
        if self.value_head is not None:
            for name, parameter in self.value_head.named_parameters():
                yield f"value_head.{name}", parameter

    def recompute_layers(self) -> None:
        """Save memory in the update: layers are computed again for their gradients."""
        recompute_layers(self.bare)
        self._recomputes = True
        if self._value_trunk is not None:
            self._value_trunk.recompute_layers()

    def tokens(self, prompts: Sequence[Prompt], *, room: int) -> PromptTokens:
        """Return prompts (text or chats) as tokens; DataError where prompt and `room` more tokens leave the model's context."""
        return PromptTokens.pack([self.renderer.prompt_ids(prompt, room=room) for prompt in prompts], self.device)

    def evaluate(self, table: Table, *, adapters: Adapters | None = None) -> Evaluation:
        """Return log-probs, values and entropies [B, T] of the table's actions, with gradients.

        Args:
            adapters: the adapter of each row, None for the base; without them all rows take the active one. A value head reads what
                its row's adapter gives, unless it has a trunk of its own. Gradients reach adapters that require them.

        Raises:
            ShapeError, ModelError: see `row_adapters.groups`.
            ModelError: layers are computed again for their gradients; each would then have the adapter that is active by that time.
        """
        if adapters is None:
            return self._evaluated(table, contextlib.nullcontext())
        if self._recomputes and torch.is_grad_enabled():
            raise ModelError(
                "adapters by row cannot be evaluated with gradients while layers are computed again for them"
            )
        found = groups(self.model, adapters, len(table), self.device)

        def part(switched: contextlib.AbstractContextManager[None], rows: Tensor) -> Sequence[Tensor]:
            seen = self._evaluated(table.rows(rows), switched)
            return seen.logprobs, seen.values, seen.entropy

        return Evaluation(*in_groups(found, part, table.actions.shape[1]))

    def _evaluated(self, table: Table, switched: contextlib.AbstractContextManager[None]) -> Evaluation:
        prompts = cast(PromptTokens, table.context)
        with switched:
            states = self.trunk.states(prompts, table.actions, table.mask)
            logprobs, entropy = head_logprobs(
                states.inputs, states.head, table.actions[table.mask], temperature=self.temperature
            )
        values = self._values(states, prompts, table.actions, table.mask)
        return Evaluation(scatter(logprobs, table.mask), scatter(values, table.mask), scatter(entropy, table.mask))

    def _values(self, states: States, prompts: PromptTokens, actions: Tensor, mask: Tensor) -> Tensor:
        if self.value_head is None:
            return torch.zeros(len(states.hidden), device=states.hidden.device)
        own = self._value_trunk
        values: Tensor = self.value_head(states.hidden if own is None else own.hidden(prompts, actions, mask))
        return values

    @torch.no_grad()
    def evaluate_beside(
        self, reference: Reference, prompts: PromptTokens, actions: Tensor, mask: Tensor
    ) -> BesideReference:
        """Return the log-probs of both models, their exact KL, values and entropies; no gradients."""
        mine = self.trunk.states(prompts, actions, mask)
        values = self._values(mine, prompts, actions, mask)
        with reference.states(prompts, actions, mask) as theirs:
            seen = head_comparison(
                mine.inputs, mine.head, theirs.inputs, theirs.head, actions[mask], temperature=self.temperature
            )
        cells = (seen.logprobs, seen.ref_logprobs, seen.exact_kl, values, seen.entropy)
        return BesideReference(*(scatter(each, mask) for each in cells))


def copied_reference(policy: LanguagePolicy) -> Reference:
    """Return a frozen copy of the policy as it is now (full fine-tuning)."""
    frozen = copy.deepcopy(policy.bare).requires_grad_(False)
    trunk = make_trunk(frozen, policy.precision)
    if policy.precision == "bf16":
        halve_frozen(frozen)
    return Reference(trunk, contextlib.nullcontext, dict(frozen.named_parameters()))


def base_reference(policy: LanguagePolicy) -> Reference:
    """Return the base with adapters off as the reference: no weight is held twice."""
    weights = {name: value for name, value in policy.model.named_parameters() if "lora_" not in name}
    return Reference(policy.trunk, lambda: without_adapters(policy.model), weights)


def adapter_reference(policy: LanguagePolicy, name: str) -> Reference:
    """Return a frozen adapter of the policy's own base as the reference (a policy that starts from an SFT adapter)."""
    weights = {key: value for key, value in policy.model.named_parameters() if "lora_" not in key or f".{name}." in key}
    return Reference(policy.trunk, lambda: with_adapter(policy.model, name), weights)


def fixed_reference(policy: LanguagePolicy) -> Reference:
    """Return another policy, as it is, as the reference (to measure a distance; nothing is copied)."""
    return Reference(policy.trunk, contextlib.nullcontext, dict(policy.model.named_parameters()))
