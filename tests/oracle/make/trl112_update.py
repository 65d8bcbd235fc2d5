"""One real update of TRL 1.12.0's PPOTrainer with a fixed rollout: what went in, what it computed, which gradients came out.

TRL is not changed: functions that it calls are wrapped so that their results are kept.
"""

import os
import sys
from collections import defaultdict
from pathlib import Path

os.environ.update(TRL_EXPERIMENTAL_SILENCE="1", HF_HUB_OFFLINE="1", WANDB_DISABLED="true")

import numpy as np
import torch
import trl
from datasets import Dataset
from safetensors.torch import save_file
from tiny import EOS, PAD, V, four_roles, tokenizer, write_golden
from torch.optim.optimizer import register_optimizer_step_pre_hook
from trl.experimental.ppo import PPOConfig, PPOTrainer
from trl.experimental.ppo import ppo_trainer as theirs

COMPLETIONS = torch.tensor(  # EOS in the middle, none, second, last
    [[1, 2, 3, EOS, 5, 6, 7, 8], [4, 4, 9, 9, 2, 1, 3, 5], [6, EOS, 1, 1, 1, 1, 1, 1], [7, 8, 9, 10, 11, 12, 13, EOS]]
)
COMPLETION_OF_PROMPT_LENGTH = {3: 0, 5: 1, 4: 2, 6: 3}  # the loader shuffles: a row's own length finds its completion
SETTINGS = (
    "gamma lam cliprange cliprange_value vf_coef kl_coef temperature missing_eos_penalty learning_rate adam_epsilon"
)


def settings(folder: Path, **changes) -> PPOConfig:
    plain = {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "num_ppo_epochs": 1,
        "num_mini_batches": 1,
        "total_episodes": 4,
        "response_length": 8,
        "stop_token": "eos",
        "missing_eos_penalty": 1.0,
        "temperature": 0.7,
        "kl_coef": 0.05,
        "learning_rate": 1e-3,
        "report_to": "none",
        "bf16": False,
        "gradient_checkpointing": False,
        "num_sample_generations": 0,
        "save_strategy": "no",
        "use_cpu": True,
        "seed": 0,
        "logging_strategy": "no",
        "local_rollout_forward_batch_size": 4,
        "disable_tqdm": True,
        "lr_scheduler_type": "constant",
    }
    return PPOConfig(output_dir=str(folder / "trl_out"), **{**plain, **changes})


def prompts() -> Dataset:
    """Eight prompts for a batch of four: the first batch must not be the data set's last."""
    generator = torch.Generator().manual_seed(7)
    lengths = (3, 5, 4, 6, 3, 5, 4, 6)
    rows = [{"input_ids": torch.randint(0, V - 2, (n,), generator=generator).tolist()} for n in lengths]
    return Dataset.from_list(rows)


def keep(seen: dict, module, name: str) -> None:
    """Wrap `module.name` so that its arguments and results are kept in `seen[name]`."""
    original = getattr(module, name)

    def wrapped(*args, **kwargs):
        result = original(*args, **kwargs)
        seen[name].append((args, result))
        return result

    setattr(module, name, wrapped)


def fix_rollout(seen: dict, temperature: float, completions: torch.Tensor = COMPLETIONS) -> None:
    """Put the fixed completions where TRL would sample; the log-probs come from TRL's own forward."""

    def generation(model, queries, batch_size, pad, generation_config):
        lengths = (queries != pad).sum(1).tolist()
        drawn = completions[[COMPLETION_OF_PROMPT_LENGTH[n] for n in lengths]]
        tokens = theirs.truncate_response(EOS, pad, drawn)
        both = torch.cat([queries, tokens], 1)
        logits = theirs.forward(model, both, pad).logits[:, queries.shape[1] - 1 : -1] / (temperature + 1e-7)
        seen["rollout"].append((queries.clone(), tokens.clone()))
        return both, logits

    theirs.batch_generation = generation


def keep_gradients(seen: dict, roles: dict[str, torch.nn.Module]) -> None:
    def before_step(optimizer, args, kwargs) -> None:
        seen["gradients"].append(
            {
                f"{role}_grad.{name}": p.grad.clone()
                for role in ("policy", "value")
                for name, p in roles[role].named_parameters()
                if p.grad is not None
            }
        )

    register_optimizer_step_pre_hook(before_step)


def weights(roles: dict[str, torch.nn.Module]) -> dict[str, torch.Tensor]:
    """All weights once: GPT-2's output layer is its embedding."""
    return {
        f"{role}.{name}": p.detach().clone() for role, module in roles.items() for name, p in module.named_parameters()
    }


def run(args: PPOConfig, roles: dict[str, torch.nn.Module], seen: dict) -> None:
    """Train with TRL; what it logs is kept in `seen["logs"]`."""
    trainer = PPOTrainer(
        args=args,
        processing_class=tokenizer(),
        model=roles["policy"],
        ref_model=roles["reference"],
        reward_model=roles["reward"],
        value_model=roles["value"],
        train_dataset=prompts(),
    )
    trainer.log = lambda metrics, *a, **k: seen["logs"].append(dict(metrics))
    np.random.seed(0)
    trainer.train()


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    roles, args, seen = four_roles(), settings(folder), defaultdict(list)
    before = weights(roles)
    for name in ("masked_whiten", "selective_log_softmax", "get_reward"):
        keep(seen, theirs, name)
    keep(seen, np.random, "permutation")
    fix_rollout(seen, args.temperature)
    keep_gradients(seen, roles)
    run(args, roles, seen)

    queries, tokens = seen["rollout"][0]
    (advantages, mask, *_), whitened = seen["masked_whiten"][0]
    (_, (full_values, *_)), (_, (_, scores, _)) = seen["get_reward"][:2]  # the value model first, then the reward model
    assert len(seen["gradients"]) == 1, "two microbatches must make one step"
    save_file(before | seen["gradients"][0], folder / "trl112_update.safetensors")
    write_golden(
        folder,
        "trl112_update.json",
        desc="One PPO update of a one-layer GPT-2 (weights and gradients in trl112_update.safetensors): four rows of "
        "left-padded prompts and right-padded completions, two microbatches of two rows, one step. Whole-array values "
        "include padding as TRL leaves it; scores are before the missing-EOS penalty, their mean in the metrics after it.",
        source=f"trl {trl.__version__}, torch {torch.__version__}",
        inputs={
            "settings": {name: getattr(args, name) for name in SETTINGS.split()},
            "eos": EOS,
            "pad": PAD,
            "prompts": queries,
            "tokens": tokens,
            "order": seen["permutation"][0][1].tolist(),
            "microbatch_rows": 2,
        },
        expected={
            "mask": mask,
            "old_logprobs": seen["selective_log_softmax"][0][1],
            "ref_logprobs": seen["selective_log_softmax"][1][1],
            "values": full_values[:, queries.shape[1] - 1 : -1].squeeze(-1),
            "scores": scores,
            "advantages": advantages,
            "advantages_whitened": whitened,
            "metrics": {k: v for k, v in seen["logs"][0].items() if k != "eps" and isinstance(v, float)},
        },
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
