"""Our side of the learning check: one PPO run of the real engines, with checkpoints.

python benchmarks/speed/learning_ours.py --models work/learning --out work/runs/ours-1 --seed 1 --lr 3e-4 --iterations 30
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from benchmarks.speed import learning_side as shared  # noqa: E402
from transformers import LlamaForSequenceClassification  # noqa: E402

from heedful.engines.memory import ForwardBudget, decoding_budget, release  # noqa: E402
from heedful.engines.ppo import PPOSettings, update  # noqa: E402
from heedful.engines.rollout import RewardSettings, TextRollout  # noqa: E402
from heedful.models.backbones import Backbone, Reading  # noqa: E402
from heedful.models.heads import ScalarHead  # noqa: E402
from heedful.models.loading import load_language_model, load_tokenizer, stop_ids  # noqa: E402
from heedful.models.policy import LanguagePolicy, copied_reference  # noqa: E402
from heedful.models.prompts import Renderer  # noqa: E402
from heedful.models.reward import RewardModel  # noqa: E402
from heedful.numerics.kl import FixedKL  # noqa: E402
from heedful.records.seeds import derive_seed  # noqa: E402

CELLS = 8192


def main() -> None:
    """Train one run."""
    os.environ.setdefault("HEED_DEVICE", "cpu")  # as the rival
    run(shared.arguments(__doc__))


def run(args: argparse.Namespace) -> None:
    """Train one run; the clock holds rollout and update."""
    policy = open_policy(args.models, value_head=True)
    made = TextRollout(
        policy,
        copied_reference(policy),
        reward_model(args.models / "reward"),
        kl=FixedKL(shared.KL_COEF),
        rewards=RewardSettings(kl_estimator=args.kl_estimator, missing_eos_value=shared.MISSING_EOS),
        max_new_tokens=shared.RESPONSE,
        decoding=decoding_budget(args.rows),
        budget=ForwardBudget(CELLS),
    )
    # Adam as transformers' Trainer sets it for the rival, without weight decay
    optimizer = torch.optim.AdamW(
        [p for _, p in policy.trainable()], lr=args.lr, eps=1e-8, weight_decay=0.0, fused=True
    )
    settings = PPOSettings(
        num_epochs=shared.EPOCHS,
        minibatch_rows=args.rows // shared.MINIBATCHES,
        microbatch_cells=CELLS,
        gamma=shared.GAMMA,
        gae_lambda=shared.LAMBDA,
        clip_range=shared.CLIP,
        value_clip_range=shared.VALUE_CLIP,
        vf_coef=args.value_weight,
        whitening="bessel",
        max_grad_norm=args.max_grad_norm,
    )
    texts = batches(args.models, args.rows, args.seed)
    course = shared.Course(args.out, every=args.every, last=args.iterations, rows=args.rows)
    for number in range(args.iterations):
        course.start()
        seeds = [derive_seed(args.seed, "learning", number, row) for row in range(args.rows)]
        table = made(next(texts), seeds)
        metrics = update(policy, optimizer, table, settings, seed=derive_seed(args.seed, "learning", number))
        release()
        course.stop(
            policy.model,
            score=table.metrics["score_mean"],
            kl=table.metrics["kl_estimate"],
            clip_fraction=metrics["clip_fraction"],
        )


def open_policy(models: Path, *, value_head: bool) -> LanguagePolicy:
    """Return the fine-tuned model as a policy."""
    model: Any = load_language_model(models / "policy")
    tokenizer = load_tokenizer(models / "policy")
    head = ScalarHead(model.config.hidden_size, zero=True) if value_head else None
    stop, renderer = stop_ids(model, tokenizer), Renderer.of(model, tokenizer)
    return LanguagePolicy(model, renderer, stop=stop, temperature=shared.TEMPERATURE, value_head=head)


def classifier(folder: Path) -> Any:
    """Return the reward model as transformers has it, frozen."""
    return LlamaForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)


def reward_model(folder: Path) -> RewardModel:
    """Return the same reward model as our rollout takes it."""
    found = classifier(folder)
    head = ScalarHead(found.config.hidden_size, zero=True)
    head.weight.data = found.score.weight[0].clone()
    return RewardModel(Backbone(found.model, load_tokenizer(folder), Reading()), [head])


def batches(models: Path, rows: int, seed: int) -> Iterator[list[str]]:
    """Yield training prompts, reshuffled in every round, whole batches only, as the rival's loader does."""
    texts = [prompt["text"] for prompt in shared.prompts(models, "train")]
    turn = 0
    while True:
        order = random.Random(derive_seed(seed, "learning", "order", turn)).sample(texts, len(texts))
        for first in range(0, len(order) - rows + 1, rows):
            yield order[first : first + rows]
        turn += 1


if __name__ == "__main__":
    main()
