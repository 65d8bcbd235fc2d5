"""TRL 1.16.0, which has no PPO: its GRPO loss is PPO-clip with an entropy bonus, its reward trainer is Bradley-Terry.

GRPO's loss takes per-decision advantages and, as `bnpo`, averages over all real decisions. TRL's own log-probs and entropies
are kept on the way, with the gradients that the loss sends back to them.
"""

import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

os.environ.update(TRL_EXPERIMENTAL_SILENCE="1", HF_HUB_OFFLINE="1")

import torch
import trl
from datasets import Dataset
from tiny import EOS, PAD, V, four_roles, tokenizer, write_golden
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.reward_trainer import RewardTrainer
from trl.trainer.utils import entropy_from_logits, selective_log_softmax

SOURCE = f"trl {trl.__version__}, torch {torch.__version__}"
CLIP_RANGE = 0.2
PROMPTS = torch.tensor([[4, 13, 20], [3, 14, 1], [6, 3, 7], [16, 7, 4]])
TOKENS = torch.tensor(
    [
        [6, EOS, PAD, PAD, PAD, PAD, PAD, PAD],
        [1, 2, 3, EOS, PAD, PAD, PAD, PAD],
        [4, 4, 9, 9, 2, 1, 3, 5],
        [7, 8, 9, 10, 11, 12, 13, EOS],
    ]
)


def trainer(policy: torch.nn.Module, entropy_coef: float, folder: str) -> GRPOTrainer:
    args = GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=4,
        num_generations=2,
        report_to="none",
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        loss_type="bnpo",
        epsilon=CLIP_RANGE,
        temperature=0.7,
        max_completion_length=TOKENS.shape[1],
        beta=0.0,
        entropy_coef=entropy_coef,
    )
    return GRPOTrainer(
        model=policy,
        reward_funcs=lambda completions, **columns: [0.0] * len(completions),
        args=args,
        train_dataset=Dataset.from_list([{"prompt": "t1 t2"}] * 8),
        processing_class=tokenizer(),
    )


def keep_logprobs(theirs: GRPOTrainer) -> list[torch.Tensor]:
    original, seen = theirs._get_per_token_logps_and_entropies, []

    def wrapped(*args, **kwargs):
        result = original(*args, **kwargs)
        seen.extend(result[:2])
        for x in seen:
            if x.requires_grad:
                x.retain_grad()
        return result

    theirs._get_per_token_logps_and_entropies = wrapped
    return seen


def policy_loss(folder: Path) -> None:
    mask = TOKENS != PAD
    generator = torch.Generator().manual_seed(5)
    advantages, noise = (torch.randn(mask.shape, generator=generator) * mask for _ in range(2))
    coef, policy = 0.01, four_roles()["policy"].eval()
    with torch.no_grad():
        logits = policy(torch.cat([PROMPTS, TOKENS], 1)).logits[:, PROMPTS.shape[1] - 1 : -1] / 0.7
        old_logprobs = (selective_log_softmax(logits, TOKENS) + 0.3 * noise) * mask
    inputs = {
        "prompt_ids": PROMPTS,
        "prompt_mask": torch.ones_like(PROMPTS),
        "completion_ids": TOKENS,
        "completion_mask": mask.long(),
        "advantages": advantages,
        "old_per_token_logps": old_logprobs,
        "num_items_in_batch": mask.sum(),
    }
    losses = {}
    for entropy_coef in (0.0, coef):
        with tempfile.TemporaryDirectory() as scratch:
            theirs = trainer(policy, entropy_coef, scratch)
        theirs.model.eval()
        seen = keep_logprobs(theirs)
        loss = theirs._compute_loss(theirs.model, dict(inputs))
        loss.backward()
        losses[entropy_coef] = loss.item()
        logprobs, entropy = seen
    write_golden(
        folder,
        "trl116_ppo_clip.json",
        desc="PPO-clip with per-decision advantages, mean over real decisions, without and with an entropy bonus; "
        "gradients are of the loss with the bonus.",
        source=SOURCE,
        inputs={
            "clip_range": CLIP_RANGE,
            "entropy_coef": coef,
            "mask": mask,
            "logprobs": logprobs.detach(),
            "old_logprobs": old_logprobs,
            "advantages": advantages,
            "entropy": entropy.detach(),
        },
        expected={
            "loss": losses[0.0],
            "loss_with_entropy": losses[coef],
            "logprobs_grad": logprobs.grad,
            "entropy_grad": entropy.grad,
        },
    )


def logprobs_and_entropy(folder: Path) -> None:
    generator = torch.Generator().manual_seed(6)
    logits = 3 * torch.randn(5, V, generator=generator)
    actions = torch.randint(0, V, (5,), generator=generator)
    write_golden(
        folder,
        "trl116_logprobs.json",
        desc="Log-probs of actions and entropies of random logits.",
        source=SOURCE,
        inputs={"logits": logits, "actions": actions},
        expected={"logprobs": selective_log_softmax(logits, actions), "entropy": entropy_from_logits(logits)},
    )


def reward_loss(folder: Path) -> None:
    generator = torch.Generator().manual_seed(7)
    chosen, rejected = (2 * torch.randn(6, generator=generator)).requires_grad_(), torch.randn(6, generator=generator)
    margin = torch.rand(6, generator=generator)
    expected = {}
    for name, centering, extra in (
        ("plain", None, {}),
        ("centering", 0.01, {}),
        ("margin", None, {"margin": margin}),
        ("both", 0.01, {"margin": margin}),
    ):
        stand_in = SimpleNamespace(
            model=SimpleNamespace(training=False),
            args=SimpleNamespace(center_rewards_coefficient=centering),
            accelerator=SimpleNamespace(gather=lambda x: x, gather_for_metrics=lambda x: x),
            _total_train_tokens=0,
            _metrics={"eval": {name: [] for name in ("min_reward", "mean_reward", "max_reward", "accuracy", "margin")}},
        )
        logits = torch.cat([chosen, rejected])[:, None]
        loss = RewardTrainer.compute_loss(stand_in, lambda logits=logits, **_: SimpleNamespace(logits=logits), extra)
        (gradient,) = torch.autograd.grad(loss, chosen)
        accuracy = stand_in._metrics["eval"]["accuracy"][0]
        expected[name] = {"loss": loss.item(), "chosen_grad": gradient, "accuracy": accuracy}
    write_golden(
        folder,
        "trl116_reward_loss.json",
        desc="Bradley-Terry loss of six pairs, with and without margin and centering (0.01).",
        source=SOURCE,
        inputs={"chosen": chosen.detach(), "rejected": rejected, "margin": margin, "centering": 0.01},
        expected=expected,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for make in (policy_loss, logprobs_and_entropy, reward_loss):
        make(Path(sys.argv[1]))
