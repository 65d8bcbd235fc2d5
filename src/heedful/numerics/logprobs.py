"""Log-probabilities of the actions taken, and the entropy of the policy; nothing as wide as the vocabulary is kept.

An action that is not allowed has the logit -inf: it takes no probability and adds nothing to entropy or gradient.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from heedful.errors import ShapeError
from heedful.numerics.shapes import at_least_fp32, require_rows

Head = Callable[[Tensor], Tensor]
"""Hidden states [N, D] to logits [N, V], e.g. an `nn.Linear`."""

CELLS_PER_CHUNK = 2**24
"""Logits alive at once when no chunk is asked for: 64 MiB in fp32."""


def chosen_logprobs(logits: Float[Tensor, "*shape V"], actions: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return log pi(action), in nats.

        y = logits[action] - logsumexp(logits)

    Raises:
        ShapeError: when `actions` are not one per distribution.
    """
    return _chosen(_log_softmax(logits, actions), actions)


def entropy(logits: Float[Tensor, "*shape V"]) -> Float[Tensor, "*shape"]:
    """Return the entropy of softmax(logits), in nats, between 0 and ln V.

    H = -sum_v pi_v log pi_v
    """
    return _entropy(at_least_fp32(logits).log_softmax(-1))


def logprobs_and_entropy(
    logits: Float[Tensor, "*shape V"], actions: Int[Tensor, "*shape"]
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Return `chosen_logprobs` and `entropy` from one softmax.

    Raises:
        ShapeError: when `actions` are not one per distribution.
    """
    log_pi = _log_softmax(logits, actions)
    return _chosen(log_pi, actions), _entropy(log_pi)


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
        num_actions = head(hidden[:1]).shape[-1]
    return max(1, CELLS_PER_CHUNK // num_actions)


def _measure(head: Head, temperature: float, entropy: bool, hidden: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    log_pi = (at_least_fp32(head(hidden)) / temperature).log_softmax(-1)
    logprobs = _chosen(log_pi, actions)
    return logprobs, _entropy(log_pi) if entropy else torch.zeros_like(logprobs)


def _log_softmax(logits: Tensor, actions: Tensor) -> Tensor:
    if logits.shape[:-1] != actions.shape:
        raise ShapeError(
            f"actions have shape {list(actions.shape)} but logits {list(logits.shape)}; expected one per distribution"
        )
    return at_least_fp32(logits).log_softmax(-1)


def _chosen(log_pi: Tensor, actions: Tensor) -> Tensor:
    return log_pi.gather(-1, actions.long().unsqueeze(-1)).squeeze(-1)


def _entropy(log_pi: Tensor) -> Tensor:
    # 0 * -inf is NaN: a forbidden action's -inf has to become finite before the product, in the backward pass too.
    return -(log_pi.exp() * log_pi.clamp(min=torch.finfo(log_pi.dtype).min)).sum(-1)
