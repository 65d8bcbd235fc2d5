"""How far the policy is from its reference: sampled estimates, exact sums over actions, and the penalty's weight.

k1, k2 and k3 need only the log-probability of the action that was sampled from the policy. As values k1 and k3 are
unbiased. In rewards we use k1; it may be negative for one decision.
Source: Schulman 2020, "Approximating KL divergence", http://joschu.net/blog/kl-approx.html.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from heedful.errors import ConfigError, ShapeError
from heedful.numerics.logprobs import LEAST_LOGPROB, Head, head_logits, rows_per_chunk
from heedful.numerics.shapes import at_least_fp32, require_rows, require_same_shape

MAX_ERROR = 0.2
"""The controller never reacts to more than 20 % above or below its target."""


def k1(logprobs: Float[Tensor, "*shape"], ref_logprobs: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return log pi(a) - log ref(a), in nats. Unbiased; may be negative.

    Raises:
        ShapeError: when the two disagree.
    """
    require_same_shape(logprobs=logprobs, ref_logprobs=ref_logprobs)
    return at_least_fp32(logprobs) - at_least_fp32(ref_logprobs)


def k2(logprobs: Float[Tensor, "*shape"], ref_logprobs: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return (log pi(a) - log ref(a))^2 / 2, in nats^2. Biased; never negative.

    Raises:
        ShapeError: when the two disagree.
    """
    return 0.5 * k1(logprobs, ref_logprobs).square()


def k3(logprobs: Float[Tensor, "*shape"], ref_logprobs: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return ref(a) / pi(a) - 1 - log(ref(a) / pi(a)), in nats. Unbiased and never negative.

    Raises:
        ShapeError: when the two disagree.

    Checked against: TRL 1.16.0 `GRPOTrainer`.
    """
    log_ratio = k1(ref_logprobs, logprobs)
    return torch.expm1(log_ratio) - log_ratio


def exact_kl(logits: Float[Tensor, "*shape V"], ref_logits: Float[Tensor, "*shape V"]) -> Float[Tensor, "*shape"]:
    """Return KL(policy || reference) over all actions, in nats.

        y = sum_v pi_v (log pi_v - log ref_v)

    Infinite where the reference forbids what the policy does.

    Raises:
        ShapeError: when the two disagree.
    """
    require_same_shape(logits=logits, ref_logits=ref_logits)
    log_pi = at_least_fp32(logits).log_softmax(-1)
    pi = log_pi.exp()
    difference = log_pi - at_least_fp32(ref_logits).log_softmax(-1)
    # What the policy never does adds nothing; without this, -inf - -inf would be NaN.
    return (pi * difference.masked_fill(pi == 0, 0.0)).sum(-1)


@dataclass(frozen=True)
class Comparison:
    """Policy and reference on N decisions; all [N] fp32, in nats: `exact_kl` is that of the policy to the reference."""

    logprobs: Tensor
    ref_logprobs: Tensor
    exact_kl: Tensor
    entropy: Tensor


@torch.no_grad()
def head_comparison(
    hidden: Float[Tensor, "N D"],
    head: Head,
    ref_hidden: Float[Tensor, "N E"],
    ref_head: Head,
    actions: Int[Tensor, " N"],
    *,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> Comparison:
    """Return what two models say of the same decisions, from hidden states: a chunk of rows at a time, each model's logits once.

    Args:
        hidden: the policy's hidden states.
        head: the policy's hidden states to logits.
        ref_hidden: the reference's hidden states, row by row of the same decisions.
        ref_head: the reference's hidden states to logits.
        actions: the action taken in each row.
        temperature: divides both logits; > 0.
        chunk: rows at a time; None takes as many as fit 64 MiB of fp32 logits.

    Returns:
        No gradients.

    Raises:
        ShapeError: when rows or actions disagree.
    """
    if len(hidden) != len(ref_hidden):
        raise ShapeError(
            f"hidden has {len(hidden)} rows but ref_hidden {len(ref_hidden)}; they must be the same decisions"
        )
    require_rows(len(hidden), actions=actions)
    rows = chunk or rows_per_chunk(hidden, head)
    split = [torch.split(each, rows) for each in (hidden, ref_hidden, actions.long()[:, None])]
    parts = [
        _compare(
            head_logits(head, mine, temperature).log_softmax(-1),
            head_logits(ref_head, theirs, temperature).log_softmax(-1),
            taken,
        )
        for mine, theirs, taken in zip(*split, strict=True)
    ]
    return Comparison(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _compare(log_pi: Tensor, log_ref: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the four columns of a comparison; both arguments are used up."""
    logprobs, ref_logprobs = log_pi.gather(1, actions)[:, 0], log_ref.gather(1, actions)[:, 0]
    pi = log_pi.exp()
    # What the policy never does adds nothing; without this, -inf - -inf would be NaN.
    kl = -log_ref.sub_(log_pi).masked_fill_(pi == 0, 0.0).mul_(pi).sum(-1)
    entropy = -log_pi.clamp_(min=LEAST_LOGPROB).mul_(pi).sum(-1)
    return logprobs, ref_logprobs, kl, entropy


@dataclass(frozen=True)
class FixedKL:
    """A KL penalty whose weight never changes.

    Args:
        kl_coef: reward units per nat; >= 0.
    """

    kl_coef: float

    def update(self, kl_per_sequence: float, num_episodes: int) -> "FixedKL":
        """Return itself: what was measured changes nothing."""
        return self


@dataclass(frozen=True)
class AdaptiveKL:
    """A KL penalty whose weight is steered so that the measured KL meets a target.

        error    = clip(kl / target - 1, -0.2, 0.2)
        kl_coef <- kl_coef * (1 + error * num_episodes / horizon)

    Args:
        kl_coef: reward units per nat, now; > 0.
        target: nats per sequence; > 0.
        horizon: episodes over which a full error would change the weight by 20 %; > 0, and no rollout has more.

    The weight never changes by more than 20 % at once and stays above 0. Without the bound, more than five horizons of
    episodes below the target would turn it negative, and KL would be rewarded.

    Source: Ziegler et al. 2019, arXiv:1909.08593, section 2.2. Checked against: TRL 0.11.4 `AdaptiveKLController`.
    """

    kl_coef: float
    target: float
    horizon: float

    def update(self, kl_per_sequence: float, num_episodes: int) -> "AdaptiveKL":
        """Return the controller after a rollout.

        Args:
            kl_per_sequence: mean over episodes of the sum of k1, in nats, as measured on the rollout.
            num_episodes: episodes in the rollout, over all processes; at most `horizon`.

        Raises:
            ConfigError: the rollout has more episodes than the horizon.
        """
        if num_episodes > self.horizon:
            raise ConfigError(
                f"a rollout of {num_episodes} episodes is longer than the KL controller's horizon of {self.horizon:g}; "
                "take a horizon of several rollouts (10,000 is usual)"
            )
        error = min(max(kl_per_sequence / self.target - 1.0, -MAX_ERROR), MAX_ERROR)
        return replace(self, kl_coef=self.kl_coef * (1.0 + error * num_episodes / self.horizon))


KLController = FixedKL | AdaptiveKL
"""Either kind; both have `kl_coef` and `update`."""
