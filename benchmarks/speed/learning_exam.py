"""One examiner for both sides' policies: the same prompts, the same seeds, the same reward model and the exact KL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from benchmarks.speed import learning_side as shared
from benchmarks.speed.learning_models import scores
from benchmarks.speed.learning_ours import CELLS, classifier, open_policy

from heedful.engines.generation import sample
from heedful.engines.rollout import evaluate_in_parts
from heedful.models.policy import copied_reference
from heedful.records.seeds import derive_seed

EACH = 2
"""Answers to a prompt."""


@dataclass(frozen=True)
class Marks:
    """Means over answers: `reward` with the penalty for a missing EOS, as both sides are trained for; `kl` in nats per answer,
    summed over the whole vocabulary at each token. `spread` is the sd of the reward over answers."""

    reward: float
    spread: float
    kl: float
    tokens: float
    ended: float


class Examiner:
    """Answers a part's prompts with given weights.

    Args:
        part: "heldout"; "tune" for what settings are chosen by.
    """

    def __init__(self, models: Path, part: str) -> None:
        self._policy = open_policy(models, value_head=False)
        self._reference = copied_reference(self._policy)
        self._judge = classifier(models / "reward")
        texts = [prompt["text"] for prompt in shared.prompts(models, part) for _ in range(EACH)]
        self._context = self._policy.tokens(texts, room=shared.RESPONSE)
        self._seeds = [derive_seed(0, "learning", part, row) for row in range(len(texts))]

    @torch.no_grad()
    def examine(self, weights: Path | None) -> Marks:
        """Return the marks of a checkpoint; without one, of the fine-tuned model itself."""
        if weights is not None:
            state: dict[str, Any] = torch.load(weights, weights_only=True)
            self._policy.bare.load_state_dict(state)
        sampled = sample(
            self._policy, self._context, self._seeds, max_new_tokens=shared.RESPONSE, batch_rows=len(self._seeds)
        )
        beside = evaluate_in_parts(self._policy, self._reference, self._context, sampled, CELLS)
        found = scores(self._judge, self._context, sampled) - shared.MISSING_EOS * sampled.truncated
        return Marks(
            reward=float(found.mean()),
            spread=float(found.std()),
            kl=float((beside.exact_kl * sampled.mask).sum(1).mean()),
            tokens=float(sampled.mask.sum(1).float().mean()),
            ended=float((~sampled.truncated).float().mean()),
        )
