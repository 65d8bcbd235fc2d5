"""TRL 1.16.0's group advantages and its KL term: RLOO (leave one out), GRPO (group-relative) and k3.

The trainers generate and score as they do in training; only the scores are ours, given by a reward function. TRL adds k3 to GRPO's
loss and logs its mean: with the reference equal to the policy everywhere but at one decision, the mean is that decision's k3.
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ.update(TRL_EXPERIMENTAL_SILENCE="1", HF_HUB_OFFLINE="1")

import torch
import trl
from datasets import Dataset
from tiny import PAD, four_roles, tokenizer, write_golden
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
from trl116_losses import PROMPTS, TOKENS

SOURCE = f"trl {trl.__version__}, torch {torch.__version__}"
SCORES = torch.tensor([[1.5, -0.25, 0.75], [2.0, 2.0, 2.0], [-3.0, 0.125, 4.0], [0.0, 0.0, 1.0]])
PLAIN = {"report_to": "none", "bf16": False, "use_cpu": True, "gradient_checkpointing": False}


def trainer(kind: type, config: type, **settings):
    """One of TRL's trainers on the tiny policy, whose completions get `SCORES`."""
    groups, size = SCORES.shape
    with tempfile.TemporaryDirectory() as scratch:
        args = config(
            output_dir=scratch,
            per_device_train_batch_size=SCORES.numel(),
            num_generations=size,
            max_completion_length=4,
            **PLAIN,
            **settings,
        )
        return kind(
            model=four_roles()["policy"],
            reward_funcs=lambda completions, **columns: SCORES.flatten().tolist(),
            args=args,
            train_dataset=Dataset.from_list([{"prompt": f"t{i} t2"} for i in range(groups)]),
            processing_class=tokenizer(),
        )


def advantages(kind: type, config: type, **settings) -> torch.Tensor:
    groups, size = SCORES.shape
    rows = [{"prompt": f"t{i} t2"} for i in range(groups) for _ in range(size)]
    return trainer(kind, config, beta=0.0, **settings)._generate_and_score_completions(rows)["advantages"]


def group_advantages(folder: Path) -> None:
    write_golden(
        folder,
        "trl116_group_advantages.json",
        desc="Advantages of four prompts with three scored completions each: RLOO's, and GRPO's with and without scaling.",
        source=SOURCE,
        inputs={"scores": SCORES.flatten(), "group": torch.arange(len(SCORES)).repeat_interleave(SCORES.shape[1])},
        expected={
            "leave_one_out": advantages(RLOOTrainer, RLOOConfig, normalize_advantages=False),
            "group_relative_scaled": advantages(GRPOTrainer, GRPOConfig, scale_rewards="group"),
            "group_relative": advantages(GRPOTrainer, GRPOConfig, scale_rewards="none"),
        },
    )


class KLOnly:
    """GRPO's loss where all advantages are 0 and beta is 1: the mean k3 over the real decisions."""

    def __init__(self) -> None:
        # k3 itself; TRL's default weighs it by the ratio, which adds k3 to the gradient
        settings = {"loss_type": "bnpo", "use_bias_correction_kl": False, "temperature": 0.7}
        self.theirs = trainer(GRPOTrainer, GRPOConfig, beta=0.0, **settings)
        self.theirs.beta = 1.0  # only now: with it TRL would load a reference by the policy's name
        self.theirs.model.eval()
        self.mask, self.seen = TOKENS != PAD, []
        original = self.theirs._get_per_token_logps_and_entropies

        def kept(*args, **kwargs):
            result = original(*args, **kwargs)
            if result[0].requires_grad:
                result[0].retain_grad()
            self.seen.append(result[0])
            return result

        self.theirs._get_per_token_logps_and_entropies = kept

    def __call__(self, ref_logprobs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Return loss, log-probs and TRL's mean of k3."""
        inputs = {
            "prompt_ids": PROMPTS,
            "prompt_mask": torch.ones_like(PROMPTS),
            "completion_ids": TOKENS,
            "completion_mask": self.mask.long(),
            "advantages": torch.zeros(len(TOKENS)),
            "ref_per_token_logps": ref_logprobs,
            "num_items_in_batch": self.mask.sum(),
        }
        loss = self.theirs._compute_loss(self.theirs.model, inputs)
        return loss, self.seen[-1], self.theirs._metrics["eval"]["kl"][-1]


def k3(folder: Path) -> None:
    kl = KLOnly()
    logprobs = kl(torch.zeros(TOKENS.shape))[1].detach()
    noise = torch.randn(TOKENS.shape, generator=torch.Generator().manual_seed(8))
    ref_logprobs = logprobs + noise
    total, each = kl.mask.sum(), torch.zeros(TOKENS.shape)
    for place in kl.mask.nonzero().tolist():
        row, column = place
        alone = logprobs.clone()
        alone[row, column] = ref_logprobs[row, column]
        each[row, column] = kl(alone)[2] * total
    loss, logprobs, mean = kl(ref_logprobs)
    loss.backward()
    write_golden(
        folder,
        "trl116_k3.json",
        desc="GRPO's KL term: k3 of each real decision, its mean, and the gradient of the mean to the log-probs.",
        source=SOURCE,
        inputs={"mask": kl.mask, "logprobs": logprobs.detach(), "ref_logprobs": ref_logprobs},
        expected={"k3": each, "mean": mean, "logprobs_grad": logprobs.grad},
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for make in (group_advantages, k3):
        make(Path(sys.argv[1]))
