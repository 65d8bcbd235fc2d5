"""Two steps of TRL 1.12.0's PPOTrainer on one rollout of completions that fill the whole length, so that no switch is needed.

Where no completion ends early, TRL's mask of values is its mask of decisions, the score stands on the last token, and a mean per
microbatch is the mean. With SGD a wrong gradient scale would show; in the second step both losses clip.
"""

import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

os.environ.update(TRL_EXPERIMENTAL_SILENCE="1", HF_HUB_OFFLINE="1", WANDB_DISABLED="true")

import torch
import trl
from safetensors.torch import save_file
from tiny import EOS, PAD, four_roles, write_golden
from trl.experimental.ppo import ppo_trainer as theirs
from trl112_update import SETTINGS, fix_rollout, keep, keep_gradients, run, settings, weights

FULL = torch.tensor(  # EOS last, none, last, none
    [
        [1, 2, 3, 9, 5, 6, 7, EOS],
        [4, 4, 9, 9, 2, 1, 3, 5],
        [6, 11, 1, 1, 14, 1, 1, EOS],
        [7, 8, 9, 10, 11, 12, 13, 2],
    ]
)
TRAINED = ("policy", "value")


def trained(roles: dict[str, torch.nn.Module], suffix: str) -> dict[str, torch.Tensor]:
    """The weights that TRL changes, as "<role><suffix>.<name>"."""
    found = {key.partition(".")[::2]: w for key, w in weights(roles).items()}
    return {f"{role}{suffix}.{name}": w for (role, name), w in found.items() if role in TRAINED}


def gradients(seen: dict) -> dict[str, torch.Tensor]:
    """Those of each step, as "<role>_grad<step>.<name>"."""
    steps = enumerate(seen["gradients"], start=1)
    return {key.replace("_grad.", f"_grad{n}."): grad for n, step in steps for key, grad in step.items()}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    roles, seen = four_roles(), defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch:
        args = settings(Path(scratch), num_ppo_epochs=2, optim="sgd", learning_rate=0.05)
        before = trained(roles, "")
        for name in ("masked_whiten", "selective_log_softmax", "get_reward"):
            keep(seen, theirs, name)
        fix_rollout(seen, args.temperature, FULL)
        keep_gradients(seen, roles)
        run(args, roles, seen)
    queries, tokens = seen["rollout"][0]
    (advantages, mask, *_), _ = seen["masked_whiten"][0]
    (_, (full_values, *_)), (_, (_, scores, _)) = seen["get_reward"][:2]  # the value model first, then the reward model
    assert len(seen["gradients"]) == 2, "two epochs must make two steps"
    assert mask.all(), "no completion may end early"
    save_file(before | gradients(seen) | trained(roles, "_after"), folder / "trl112_two_steps.safetensors")
    write_golden(
        folder,
        "trl112_two_steps.json",
        desc="Two SGD steps of PPO on one rollout of four full completions (weights before and after, and gradients of both "
        "steps, in trl112_two_steps.safetensors). Scores are before the missing-EOS penalty; losses are means of both steps.",
        source=f"trl {trl.__version__}, torch {torch.__version__}",
        inputs={
            "settings": {name: getattr(args, name) for name in SETTINGS.split()},
            "eos": EOS,
            "pad": PAD,
            "prompts": queries,
            "tokens": tokens,
        },
        expected={
            "old_logprobs": seen["selective_log_softmax"][0][1],
            "ref_logprobs": seen["selective_log_softmax"][1][1],
            "values": full_values[:, queries.shape[1] - 1 : -1].squeeze(-1),
            "scores": scores,
            "advantages": advantages,
            "metrics": {k: v for k, v in seen["logs"][0].items() if k != "eps" and isinstance(v, float)},
        },
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
