"""Log-probabilities of the actions taken, and the entropy of the policy; nothing as wide as the vocabulary is kept.

An action that is not allowed has the logit -inf: it takes no probability and adds nothing to entropy or gradient.
The gradient of both is written out: a chain of single operations takes 1.4 times as long on a CPU and more memory.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from heedful.errors import ShapeError
from heedful.numerics.shapes import at_least_fp32, require_rows

Head = Callable[[Tensor], Tensor]
"""Hidden states [N, D] to logits [N, V], e.g. an `nn.Linear`."""

CELLS_PER_CHUNK = 2**24
"""Logits alive at once when no chunk is asked for: 64 MiB in fp32.

Less is not better: under 32 MiB glibc does not give chunks back, and their fragments cost more than the chunks did.
"""

LEAST_LOGPROB = -1e3
"""Stands for -inf in products with a probability: exp of it is 0 in fp32 and fp64, and 0 * -1e3 is not NaN."""


def chosen_logprobs(logits: Float[Tensor, "*shape V"], actions: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return log pi(action), in nats.

        y = logits[action] - logsumexp(logits)

    Raises:
        ShapeError: when `actions` are not one per distribution.
    """
    _require_one_action_each(logits, actions)
    return at_least_fp32(logits).log_softmax(-1).gather(-1, actions.long().unsqueeze(-1)).squeeze(-1)


def entropy(logits: Float[Tensor, "*shape V"]) -> Float[Tensor, "*shape"]:
    """Return the entropy of softmax(logits), in nats, between 0 and ln V.

    H = -sum_v pi_v log pi_v
    """
    return logprobs_and_entropy(logits, torch.zeros(logits.shape[:-1], dtype=torch.long, device=logits.device))[1]


def logprobs_and_entropy(
    logits: Float[Tensor, "*shape V"], actions: Int[Tensor, "*shape"]
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Return `chosen_logprobs` and `entropy` from one softmax.

    Raises:
        ShapeError: when `actions` are not one per distribution.
    """
    _require_one_action_each(logits, actions)
    logprobs, entropies = _LogprobsAndEntropy.apply(  # type: ignore[no-untyped-call]
        at_least_fp32(logits), actions.long()
    )
    return logprobs, entropies


def head_logprobs(
    hidden: Float[Tensor, "N D"],
    head: Head,
    actions: Int[Tensor, " N"],
    *,
    temperature: float = 1.0,
    chunk: int | None = None,
    entropy: bool = True,
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Return log pi(action) and the entropy for softmax(head(hidden) / temperature), a chunk of rows at a time.

    Where gradients are wanted, each chunk's logits are computed again in the backward pass, so at no time do more than
    a chunk's logits exist. Gradients reach `hidden` and the head's own parameters.

    Args:
        hidden: what the trunk made of each decision, in the head's own dtype.
        head: hidden states to logits; called on a chunk of rows, and on one row to learn V.
        actions: the action taken in each row.
        temperature: divides the logits; > 0.
        chunk: rows at a time; None takes as many as fit 64 MiB of fp32 logits.
        entropy: False leaves the entropy out and returns zeros in its place.

    Returns:
        Log-probabilities and entropies in nats, fp32.

    Raises:
        ShapeError: when `actions` are not one per row of `hidden`.
    """
    require_rows(len(hidden), actions=actions)
    rows = chunk or rows_per_chunk(hidden, head)
    measure = partial(_measure, head, temperature, entropy)
    if torch.is_grad_enabled() and len(hidden) > rows:
        measure = partial(checkpoint, measure, use_reentrant=False, preserve_rng_state=False)
    parts = [measure(h, a) for h, a in zip(torch.split(hidden, rows), torch.split(actions, rows), strict=True)]
    logprobs, entropies = zip(*parts, strict=True)
    return torch.cat(logprobs), torch.cat(entropies)


def rows_per_chunk(hidden: Float[Tensor, "N D"], head: Head) -> int:
    """Return how many rows of logits fit the budget of one chunk; at least 1."""
    with torch.no_grad():
        num_actions = head(hidden[:1]).shape[1]
    return max(1, CELLS_PER_CHUNK // num_actions)


def head_logits(head: Head, hidden: Tensor, temperature: float) -> Tensor:
    """Return head(hidden) / temperature, at least fp32."""
    logits = at_least_fp32(head(hidden))
    return logits if temperature == 1.0 else logits / temperature


def _measure(head: Head, temperature: float, entropy: bool, hidden: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    logits = head_logits(head, hidden, temperature)
    if entropy:
        return logprobs_and_entropy(logits, actions)
    logprobs = chosen_logprobs(logits, actions)
    return logprobs, torch.zeros_like(logprobs)


def _require_one_action_each(logits: Tensor, actions: Tensor) -> None:
    if logits.shape[:-1] != actions.shape:
        raise ShapeError(
            f"actions have shape {list(actions.shape)} but logits {list(logits.shape)}; expected one per distribution"
        )


class _LogprobsAndEntropy(torch.autograd.Function):
    """With y = log pi(a) and H = -sum pi log pi.

    dy/dz_v = [v = a] - pi_v          dH/dz_v = -pi_v (log pi_v + H)
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)  # an entropy that is only looked at costs nothing in the backward pass
        log_pi = logits.log_softmax(-1)
        chosen = log_pi.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
        pi = log_pi.exp()
        entropies = -(log_pi.clamp_(min=LEAST_LOGPROB).mul_(pi)).sum(-1)
        ctx.save_for_backward(pi, entropies, actions)
        return chosen, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_logprob: Tensor | None, of_entropy: Tensor | None) -> tuple[Tensor | None, None]:
        pi, entropies, actions = ctx.saved_tensors
        slope: Tensor | None = None
        if of_logprob is not None:
            slope = pi * -of_logprob.unsqueeze(-1)
            slope.scatter_add_(-1, actions.unsqueeze(-1), of_logprob.unsqueeze(-1))
        if of_entropy is not None:
            surprise = pi.log().clamp_(min=LEAST_LOGPROB).add_(entropies.unsqueeze(-1))
            of_logit = surprise.mul_(pi).mul_(-of_entropy.unsqueeze(-1))
            slope = of_logit if slope is None else slope.add_(of_logit)
        return slope, None
