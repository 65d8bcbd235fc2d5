"""The rival: TRL 1.12.0, the last release that has PPO, one iteration per turn; runs in an environment of its own.

    work/trl112/bin/python benchmarks/speed/rival.py --models work/models/small --precision fp32 --epochs 4

Nothing of TRL is changed. Functions that it calls are wrapped, to know when a phase ends and whether the first pass's
ratio is 1. `score` is everything from the end of generation to the first forward with gradients: log-probs, reference,
values, reward, advantages. `amp` is bf16 by autocast, which TRL 1.12.0 does only when told through the environment (its
own `bf16=True` has no effect under transformers 5.23); `bf16` keeps the weights themselves in bf16.
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

R, ALPHA = 16, 32
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
MANY = 1000
PLAIN: dict[str, Any] = {
    "gradient_accumulation_steps": 1,
    "stop_token": "eos",
    "num_sample_generations": 0,
    "save_strategy": "no",
    "eval_strategy": "no",
    "report_to": [],
    "use_cpu": True,
    "logging_steps": 1,
    "disable_tqdm": True,
}
"""Settings of every run of TRL here: on a CPU, nothing saved, sampled or reported beside the training, a log each iteration."""


def arguments() -> argparse.Namespace:
    """Return the settings: those of `ours.py`, and how the rival is tuned."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--precision", choices=["fp32", "amp", "bf16"], default="fp32")
    parser.add_argument("--attention", choices=["sdpa", "eager"], default="sdpa")
    parser.add_argument("--method", choices=["full", "lora"], default="full")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--response", type=int, default=64)
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def main() -> None:
    """Set up, then train; every iteration waits for its turn."""
    args = arguments()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if args.precision == "amp":
        os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16"
    import torch
    from trl.experimental.ppo import ppo_trainer

    if args.threads:
        torch.set_num_threads(args.threads)
    from benchmarks.speed.turns import Turns

    turns = Turns()
    trainer = make_trainer(args)
    watch(trainer, ppo_trainer, turns)
    turns.ready(
        threads=torch.get_num_threads(),
        trainable=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        mixed_precision=str(trainer.accelerator.mixed_precision),
    )
    trainer.train()


def make_trainer(args: argparse.Namespace) -> Any:
    """Return a PPOTrainer with policy, reference, reward and value model."""
    import json

    import torch
    from benchmarks.speed.turns import LR, eos_bias
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    loading = {
        "dtype": torch.bfloat16 if args.precision == "bf16" else torch.float32,
        "attn_implementation": args.attention,
    }
    policy = LlamaForCausalLM.from_pretrained(args.models / "policy", **loading)
    reward, value = (
        LlamaForSequenceClassification.from_pretrained(args.models / "reward", num_labels=1, **loading)
        for _ in range(2)
    )
    bias = eos_bias(policy.config.vocab_size, policy.config.eos_token_id)
    policy.lm_head.bias = torch.nn.Parameter(bias.to(loading["dtype"]))
    policy.generation_config.pad_token_id = policy.config.pad_token_id
    policy.generation_config.bos_token_id = policy.config.bos_token_id
    prompts = json.loads((args.models / "prompts.json").read_text(encoding="utf-8"))
    data = Dataset.from_dict({"input_ids": [prompt["tokens"] for prompt in prompts]})
    config = PPOConfig(
        output_dir=tempfile.mkdtemp(prefix="rival-"),
        total_episodes=args.rows * MANY,
        num_ppo_epochs=args.epochs,
        response_length=args.response,
        per_device_train_batch_size=args.rows,
        num_mini_batches=4,
        local_rollout_forward_batch_size=args.rows,
        temperature=1.0,
        missing_eos_penalty=1.0,
        bf16=args.precision == "amp",
        learning_rate=LR,
        seed=1,
        **PLAIN,
    )
    lora = LoraConfig(r=R, lora_alpha=ALPHA, target_modules=TARGETS, task_type="CAUSAL_LM")
    return PPOTrainer(
        args=config,
        processing_class=PreTrainedTokenizerFast.from_pretrained(args.models / "policy"),
        model=policy,
        ref_model=None,
        reward_model=reward,
        value_model=value,
        train_dataset=data,
        eval_dataset=data.select(range(8)),
        peft_config=lora if args.method == "lora" else None,
    )


def watch(trainer: Any, module: Any, turns: Any) -> None:
    """Wrap what marks the phases: generation waits for the turn, the log ends it."""
    import torch

    ratio = FirstRatio(trainer.processing_class.eos_token_id)
    generate, forward, chosen = module.batch_generation, module.forward, module.selective_log_softmax
    seen: dict[str, int] = {}
    step = trainer.optimizer.optimizer.step

    def generation(model: Any, queries: Any, *args: Any, **kwargs: Any) -> Any:
        turns.wait("generation")
        out = generate(model, queries, *args, **kwargs)
        turns.begin("score")
        responses = out[0][:, queries.shape[1] :]
        seen["response_tokens"] = int(ratio.lengths(responses).sum())
        seen["prompt_tokens"] = int((queries != trainer.processing_class.pad_token_id).sum())
        seen["longest"], seen["optimizer_steps"] = responses.shape[1], 0
        ratio.clear()
        return out

    def forwarded(*args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled():
            turns.begin("update")
        return forward(*args, **kwargs)

    def selected(logits: Any, responses: Any) -> Any:
        logprobs = chosen(logits, responses)
        ratio.see(logprobs, responses, training=torch.is_grad_enabled())
        return logprobs

    def stepped(*args: Any, **kwargs: Any) -> Any:
        seen["optimizer_steps"] += 1
        return step(*args, **kwargs)

    def logged(metrics: dict[str, float], *_args: Any, **_kwargs: Any) -> None:
        turns.done(**seen, ratio_error=ratio.error, ratio_mean_error=ratio.mean, kl=metrics["objective/kl"])

    module.batch_generation, module.forward, module.selective_log_softmax = generation, forwarded, selected
    trainer.optimizer.optimizer.step, trainer.log = stepped, logged


class FirstRatio:
    """How far the ratio is off 1 in an iteration's first minibatch, over real tokens: at most (`error`) and on average (`mean`)."""

    def __init__(self, eos: int) -> None:
        self._eos = eos
        self.clear()

    def clear(self) -> None:
        """Forget the last iteration."""
        self._old: Any = None
        self.error: float | None = None
        self.mean: float | None = None

    def lengths(self, responses: Any) -> Any:
        """Return real tokens [B], EOS included."""
        import torch

        ended = responses == self._eos
        return torch.where(ended.any(1), ended.float().argmax(1) + 1, responses.shape[1])

    def see(self, logprobs: Any, responses: Any, *, training: bool) -> None:
        """Look at log-probs [B, T]: the first without gradients are the old ones, the first with gradients the new."""
        import torch

        if not training:
            if self._old is None:  # the reference's log-probs come second
                self._old = (responses.clone(), logprobs.detach().float())
            return
        if self.error is not None or self._old is None:
            return
        known, old = self._old
        same = [(known == response).all(1).nonzero()[:, 0] for response in responses]
        rows = [int(found[0]) for found in same]
        # Several prompts may have one response, such as EOS alone: which of them it is cannot be told from here.
        known_row = torch.tensor([len(found) == 1 for found in same])
        mask = (torch.arange(responses.shape[1]) < self.lengths(responses)[:, None]) & known_row[:, None]
        ratio = (logprobs.detach().float() - old[rows]).exp()
        self.error, self.mean = float((ratio - 1).abs()[mask].max()), float((ratio - 1).abs()[mask].mean())


if __name__ == "__main__":
    main()
