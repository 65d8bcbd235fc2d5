# ruff: noqa: E402 - the stand-in has to be there before TRL is imported
"""TRL 0.10.1, the last release that replaces the score of a completion without EOS: its RLOO trainer, run until it has done so.

Completions are fixed, the scores come from TRL's own forward of the reward model. `tyro`, which TRL's settings want at import,
is replaced by a stand-in.
"""

import os
import sys
import tempfile
from pathlib import Path
from unittest.mock import MagicMock

os.environ.update(HF_HUB_OFFLINE="1", WANDB_DISABLED="true")


class _Subscriptable:
    def __class_getitem__(cls, item):
        return item


sys.modules["tyro"] = MagicMock()
sys.modules["tyro"].conf.Suppress = _Subscriptable
sys.modules["tyro.conf"] = sys.modules["tyro"].conf

import torch
from datasets import Dataset
from tiny import EOS, four_roles, tokenizer, write_golden
from trl import __version__
from trl.trainer import rloo_trainer as theirs
from trl.trainer.rloo_config import RLOOConfig

SOURCE = f"trl {__version__}, torch {torch.__version__}"
REPLACEMENT = -1.5
COMPLETIONS = torch.tensor(  # EOS in the middle, none, second, last, none, first
    [
        [1, 2, 3, EOS, 5, 6, 7, 8],
        [4, 4, 9, 9, 2, 1, 3, 5],
        [6, EOS, 1, 1, 1, 1, 1, 1],
        [7, 8, 9, 10, 11, 12, 13, EOS],
        [5, 5, 5, 5, 5, 5, 5, 5],
        [EOS, 1, 2, 3, 4, 5, 6, 7],
    ]
)


class Enough(Exception):  # noqa: N818 - nothing went wrong
    """The scores are replaced: the rest of the training is not wanted."""


# What transformers has wanted of a trainer since, and this one's own __init__ does not set.
theirs.RLOOTrainer.optimizer_cls_and_kwargs = None


def trainer(folder: str) -> theirs.RLOOTrainer:
    roles, rows = four_roles(), len(COMPLETIONS)
    config = RLOOConfig(
        output_dir=folder,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=1,
        num_mini_batches=1,
        total_episodes=rows,
        rloo_k=2,
        response_length=COMPLETIONS.shape[1],
        local_rollout_forward_batch_size=rows,
        stop_token="eos",
        non_eos_penalty=True,
        penalty_reward_value=REPLACEMENT,
        num_sample_generations=0,
        report_to="none",
        bf16=False,
        use_cpu=True,
        disable_tqdm=True,
    )
    prompts = [{"input_ids": [4, 13, 20 - i]} for i in range(rows)]
    return theirs.RLOOTrainer(
        config=config,
        tokenizer=tokenizer(),
        policy=roles["policy"],
        ref_policy=roles["reference"],
        reward_model=roles["reward"],
        train_dataset=Dataset.from_list(prompts),
        eval_dataset=Dataset.from_list(prompts),
    )


def generation(model, queries, batch_size, pad, generation_config):
    """Put the fixed completions where TRL would sample."""
    both = torch.cat([queries, COMPLETIONS], 1)
    return both, theirs.forward(model, both, pad).logits[:, queries.shape[1] - 1 : -1]


def replaced(folder: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return which completions have an EOS, their scores, and what TRL makes of them."""
    where, found = torch.where, []

    def kept(condition, *sides):
        result = where(condition, *sides)
        if isinstance(sides[-1], float) and sides[-1] == REPLACEMENT:
            found.append((condition, sides[0], result))
            raise Enough
        return result

    theirs.batch_generation = generation
    run = trainer(folder)
    torch.where = kept
    try:
        run.train()
    except Enough:
        return found[0]
    finally:
        torch.where = where
    raise AssertionError("TRL replaced no score")


def missing_eos(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        finished, scores, result = replaced(scratch)
    write_golden(
        folder,
        "trl0101_missing_eos.json",
        desc="Scores of six completions, two of them without EOS, before and after TRL put a fixed score in their place.",
        source=SOURCE,
        inputs={"scores": scores, "tokens": COMPLETIONS, "eos": EOS, "value": REPLACEMENT},
        expected={"finished": finished, "scores": result},
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    missing_eos(Path(sys.argv[1]))
