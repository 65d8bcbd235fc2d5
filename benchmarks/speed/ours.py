"""Our side: PPO iterations of the real engines, one per turn.

python benchmarks/speed/ours.py --models work/models/small --precision bf16 --method lora --epochs 4
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from benchmarks.speed.lengths import end_at  # noqa: E402
from benchmarks.speed.turns import LR, Turns, eos_bias  # noqa: E402

from heedful.engines import rollout as rolling  # noqa: E402
from heedful.engines.memory import ForwardBudget, decoding_budget, release  # noqa: E402
from heedful.engines.ppo import PPOSettings, update  # noqa: E402
from heedful.engines.rollout import RewardSettings, TextRollout  # noqa: E402
from heedful.models.adapters import add_lora  # noqa: E402
from heedful.models.backbones import Reading, body_of  # noqa: E402
from heedful.models.heads import ScalarHead  # noqa: E402
from heedful.models.loading import load_language_model, load_tokenizer, stop_ids  # noqa: E402
from heedful.models.policy import LanguagePolicy, Reference, base_reference, copied_reference  # noqa: E402
from heedful.models.prompts import Renderer  # noqa: E402
from heedful.models.reward import RewardModel  # noqa: E402
from heedful.models.roles import Scorer  # noqa: E402
from heedful.numerics.kl import FixedKL  # noqa: E402

RATIO_TOLERANCE = {"fp32": 1e-4, "bf16": 1e-2}
R, ALPHA = 16, 32.0
READ = 1024
"""Tokens that a T5 reward model reads at most; a Llama's has the usual 512."""
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
KL_COEF, MISSING_EOS = 0.05, 1.0


class Clock(Protocol):
    """What is told when a phase begins."""

    def begin(self, phase: str) -> None:
        """End the present phase and begin another."""
        ...


def main() -> None:
    """Set up, then one iteration per turn."""
    os.environ.setdefault("HEED_DEVICE", "cpu")  # as the rival; `gpu.py` is for GPUs
    args = arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.lengths:
        end_at(*args.lengths)
    turns = Turns()
    policy, reference = open_sides(args)
    scorer = reward_model(args.models / "reward", args.precision)
    made, optimizer, settings = engines(args, policy, reference, scorer)
    generation_is_told(turns)
    turns.ready(threads=torch.get_num_threads(), trainable=sum(value.numel() for _, value in policy.trainable()))
    for number, texts in enumerate(batches(args.models / "prompts.json", args.rows)):
        turns.wait("generation")
        table = made(texts, [number * args.rows + row for row in range(args.rows)])
        turns.begin("update")
        release()  # as `train` does between the two
        metrics = update(policy, optimizer, table, settings, seed=number)
        release()
        turns.done(
            response_tokens=table.num_decisions,
            prompt_tokens=int(table.context.lengths.sum()),  # type: ignore[attr-defined]
            longest=table.mask.shape[1],
            ratio_error=metrics["ratio_error"],
            optimizer_steps=metrics["optimizer_steps"],
            kl=table.metrics["kl_estimate"],
        )


def engines(
    args: argparse.Namespace, policy: LanguagePolicy, reference: Reference, scorer: Scorer
) -> tuple[TextRollout, torch.optim.Optimizer, PPOSettings]:
    """Return what an iteration consists of, set as `args` say."""
    made = TextRollout(
        policy,
        reference,
        scorer,
        kl=FixedKL(KL_COEF),
        rewards=RewardSettings(missing_eos_value=MISSING_EOS),
        max_new_tokens=args.response,
        decoding=decoding_budget(args.rows),
        budget=ForwardBudget(args.microbatch),
    )
    optimizer = torch.optim.AdamW(
        [value for _, value in policy.trainable()], lr=LR, eps=1e-5, weight_decay=0.0, fused=True
    )
    settings = PPOSettings(
        num_epochs=args.epochs,
        minibatch_rows=args.rows // 4,
        microbatch_cells=args.microbatch,
        ratio_tolerance=RATIO_TOLERANCE[args.precision],
    )
    return made, optimizer, settings


def arguments() -> argparse.Namespace:
    """Return the settings of one side; `rival.py` takes the same and some more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--method", choices=["full", "lora"], default="full")
    parser.add_argument("--value", choices=["shared", "separate"], default="shared")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--response", type=int, default=64)
    parser.add_argument(
        "--microbatch", type=int, default=1024, help="tokens per forward; changes memory, not the result"
    )
    parser.add_argument("--threads", type=int)
    parser.add_argument("--lengths", type=int, nargs=2, help="completions end evenly spread over this range")
    parser.add_argument("--r", type=int, default=R, help="rank of the adapters")
    parser.add_argument("--targets", nargs="*", default=TARGETS, help="layers with adapters")
    parser.add_argument("--full-length", action="store_true", help="EOS has no share of its own")
    return parser.parse_args()


def open_sides(args: argparse.Namespace) -> tuple[LanguagePolicy, Reference]:
    """Return the policy, whose output layer has the EOS bias, and its reference."""
    folder = args.models / "policy"
    model: Any = load_language_model(folder)
    if getattr(model.config, "is_gated_act", False):
        # flan-t5 has an output layer of its own, which transformers 5 ties to the embedding in a model that it builds
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    if not args.full_length:
        model.lm_head.bias = torch.nn.Parameter(eos_bias(model.config.vocab_size, model.config.eos_token_id))
    return sides(model, load_tokenizer(folder), args)


def sides(model: Any, tokenizer: Any, args: argparse.Namespace) -> tuple[LanguagePolicy, Reference]:
    """Return the policy of a model and its reference."""
    renderer, stop = Renderer.of(model, tokenizer), stop_ids(model, tokenizer)
    width = model.config.hidden_size
    if args.method == "lora":
        model = add_lora(model, r=args.r, alpha=ALPHA, targets=args.targets, seed=0)
    policy = LanguagePolicy(
        model,
        renderer,
        stop=stop,
        precision=args.precision,
        value_head=ScalarHead(width, zero=True),
        own_value_trunk=args.value == "separate",
    )
    return policy, base_reference(policy) if args.method == "lora" else copied_reference(policy)


def reward_model(folder: Path, precision: Any) -> RewardModel:
    """Return a frozen reward model with random weights, of the policy's own size."""
    return reward_of(load_language_model(folder), load_tokenizer(folder), precision)


def reward_of(model: Any, tokenizer: Any, precision: Any) -> RewardModel:
    """Return a language model as a frozen reward model."""
    model.requires_grad_(False)
    read = {"max_tokens": READ} if model.config.is_encoder_decoder else {}
    reading = Reading(precision=precision, **read)
    return RewardModel(body_of(model, tokenizer, reading), [ScalarHead(model.config.hidden_size)])


def generation_is_told(turns: Clock) -> None:
    """Let the rollout's sampling begin and end the phase `generation`; the rest of the rollout is `score`."""
    sample = rolling.sample

    def told(*args: Any, **kwargs: Any) -> Any:
        drawn = sample(*args, **kwargs)
        turns.begin("score")
        return drawn

    rolling.sample = told


def batches(path: Path, rows: int) -> Iterator[list[str]]:
    """Yield the texts of the prompts in one shuffled order, round and round."""
    prompts = json.loads(path.read_text(encoding="utf-8"))
    order = random.Random(0).sample(range(len(prompts)), len(prompts))
    start = 0
    while True:
        yield [prompts[order[(start + row) % len(order)]]["text"] for row in range(rows)]
        start += rows


if __name__ == "__main__":
    main()
