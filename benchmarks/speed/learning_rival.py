"""The rival's side of the learning check: one run of TRL 1.12.0's PPO with checkpoints; runs in an environment of its own.

    work/trl112/bin/python benchmarks/speed/learning_rival.py \\
        --models work/learning --out work/runs/trl-1 --seed 1 --lr 3e-4 --iterations 30

Nothing of TRL is changed; functions that it calls are wrapped, to know when an iteration begins and ends.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from benchmarks.speed import learning_side as shared  # noqa: E402
from benchmarks.speed.rival import PLAIN  # noqa: E402


def main() -> None:
    """Train one run."""
    args = shared.arguments(__doc__)
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1", "TOKENIZERS_PARALLELISM": "false"}
    from trl.experimental.ppo import ppo_trainer

    trainer = make_trainer(args)
    course = shared.Course(args.out, every=args.every, last=args.iterations, rows=args.rows)
    generate = ppo_trainer.batch_generation

    def generation(*given: Any, **named: Any) -> Any:
        course.start()
        return generate(*given, **named)

    def logged(metrics: dict[str, float], *_args: Any, **_kwargs: Any) -> None:
        course.stop(
            trainer.accelerator.unwrap_model(trainer.model).policy,
            score=metrics["objective/scores"],
            kl=metrics["objective/kl"],
            clip_fraction=metrics["policy/clipfrac_avg"],
        )

    ppo_trainer.batch_generation, trainer.log = generation, logged
    trainer.train()


def make_trainer(args: argparse.Namespace) -> Any:
    """Return a PPOTrainer; the value model starts as the reward model, as TRL's own examples do."""
    import torch
    from datasets import Dataset
    from transformers import LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    policy = LlamaForCausalLM.from_pretrained(args.models / "policy", dtype=torch.float32)
    reward, value = (
        LlamaForSequenceClassification.from_pretrained(args.models / "reward", num_labels=1, dtype=torch.float32)
        for _ in range(2)
    )
    policy.generation_config.pad_token_id = policy.config.pad_token_id
    data = Dataset.from_dict({"input_ids": [one["tokens"] for one in shared.prompts(args.models, "train")]})
    config = PPOConfig(
        output_dir=tempfile.mkdtemp(prefix="rival-"),
        total_episodes=args.rows * args.iterations,
        num_ppo_epochs=shared.EPOCHS,
        num_mini_batches=shared.MINIBATCHES,
        response_length=shared.RESPONSE,
        per_device_train_batch_size=args.rows,
        local_rollout_forward_batch_size=args.rows,
        temperature=shared.TEMPERATURE,
        missing_eos_penalty=shared.MISSING_EOS,
        kl_coef=shared.KL_COEF,
        kl_estimator="k1",
        cliprange=shared.CLIP,
        cliprange_value=shared.VALUE_CLIP,
        vf_coef=shared.VALUE_WEIGHT,
        gamma=shared.GAMMA,
        lam=shared.LAMBDA,
        whiten_rewards=False,
        learning_rate=args.lr,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        bf16=False,
        seed=args.seed,
        **PLAIN,
    )
    return PPOTrainer(
        args=config,
        processing_class=PreTrainedTokenizerFast.from_pretrained(args.models / "policy"),
        model=policy,
        ref_model=None,
        reward_model=reward,
        value_model=value,
        train_dataset=data,
        eval_dataset=data.select(range(8)),
    )


if __name__ == "__main__":
    main()
