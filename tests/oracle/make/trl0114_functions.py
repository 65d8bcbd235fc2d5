# ruff: noqa: E402 - the stand-in has to be there before TRL is imported
"""TRL 0.11.4, the last release whose PPO parts are methods: rewards, advantages, losses, KL estimates, adaptive controller.

The methods are called with a plain object for `self`. `tyro`, which TRL's settings want at import, is replaced by a stand-in.
"""

import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock


class _Subscriptable:
    def __class_getitem__(cls, item):
        return item


sys.modules["tyro"] = MagicMock()
sys.modules["tyro"].conf.Suppress = _Subscriptable
sys.modules["tyro.conf"] = sys.modules["tyro"].conf

import torch
from tiny import write_golden
from trl import __version__
from trl.core import entropy_from_logits, logprobs_from_logits, masked_whiten
from trl.trainer.ppo_trainer import PPOTrainer
from trl.trainer.utils import AdaptiveKLController

SETTINGS = {
    "gamma": 0.98,
    "lam": 0.9,
    "whiten_rewards": False,
    "cliprange": 0.2,
    "cliprange_value": 0.2,
    "vf_coef": 0.1,
    "ratio_threshold": 10.0,
}
KL_COEF = 0.2
SOURCE = f"trl {__version__}, torch {torch.__version__}"
MASK = torch.tensor([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]]).float()
V = 7


def stand_in(kl_penalty: str) -> SimpleNamespace:
    trainer = SimpleNamespace(
        config=SimpleNamespace(**SETTINGS, kl_penalty=kl_penalty), kl_ctl=SimpleNamespace(value=KL_COEF)
    )
    trainer._kl_penalty = lambda a, b: PPOTrainer._kl_penalty(trainer, a, b)
    return trainer


def estimates(folder: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    logits, ref_logits = torch.randn(2, 4, 6, V, generator=generator)
    actions = torch.randint(0, V, (4, 6), generator=generator)
    logprobs, ref_logprobs = logprobs_from_logits(logits, actions), logprobs_from_logits(ref_logits, actions)
    write_golden(
        folder,
        "trl0114_kl.json",
        desc="Log-probs, entropy and KL penalties of random logits: kl is k1, mse is k2, full is the exact KL.",
        source=SOURCE,
        inputs={"logits": logits, "ref_logits": ref_logits, "actions": actions},
        expected={
            "logprobs": logprobs,
            "ref_logprobs": ref_logprobs,
            "entropy": entropy_from_logits(logits),
            "kl": PPOTrainer._kl_penalty(stand_in("kl"), logprobs, ref_logprobs),
            "mse": PPOTrainer._kl_penalty(stand_in("mse"), logprobs, ref_logprobs),
            "full": PPOTrainer._kl_penalty(stand_in("full"), logits.log_softmax(-1), ref_logits.log_softmax(-1)),
        },
    )


def update(folder: Path) -> None:
    generator = torch.Generator().manual_seed(2)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    trainer, shape = stand_in("kl"), MASK.shape
    scores, old_logprobs, ref_logprobs, values = draw(4), -draw(*shape).abs(), -draw(*shape).abs(), draw(*shape)
    rewards, _, kl = PPOTrainer.compute_rewards(trainer, scores, old_logprobs, ref_logprobs, MASK)
    old_values, whitened, returns = PPOTrainer.compute_advantages(trainer, values, rewards, MASK)
    # Large steps, so that clipping happens on both sides of both losses.
    logprobs = (old_logprobs + 0.3 * draw(*shape)).requires_grad_()
    new_values = (old_values + 0.4 * draw(*shape)).requires_grad_()
    logits = draw(*shape, V)
    policy_loss, value_loss, stats = PPOTrainer.loss(
        trainer, old_logprobs, old_values, logits, new_values, logprobs, MASK, whitened, returns
    )
    (policy_loss + value_loss).backward()
    names = ("policy/entropy", "policy/approxkl", "policy/policykl", "policy/clipfrac", "val/clipfrac", "loss/value")
    write_golden(
        folder,
        "trl0114_update.json",
        desc="Rewards (score on the last token), whitened advantages, returns, losses and their gradients; values at "
        "padding are as TRL leaves them.",
        source=SOURCE,
        inputs={
            "settings": SETTINGS | {"kl_coef": KL_COEF},
            "mask": MASK.bool(),
            "scores": scores,
            "old_logprobs": old_logprobs,
            "ref_logprobs": ref_logprobs,
            "values": values,
            "logprobs": logprobs.detach(),
            "new_values": new_values.detach(),
            "logits": logits,
        },
        expected={
            "kl": kl,
            "rewards": rewards,
            "advantages_whitened": whitened,
            "returns": returns,
            "rewards_whitened": masked_whiten(rewards, MASK, shift_mean=False),
            "policy_loss": policy_loss.item(),
            "value_loss_times_coef": value_loss.item(),
            "logprobs_grad": logprobs.grad,
            "new_values_grad": new_values.grad,
            "stats": {name: stats[name].item() for name in names},
        },
    )


def controller(folder: Path) -> None:
    measured = [(12.0, 256), (7.0, 256), (5.5, 512), (0.0, 64), (6.0, 256), (6.6, 1024)]
    theirs, coefs = AdaptiveKLController(0.2, 6.0, 10_000), []
    for kl, episodes in measured:
        theirs.update(kl, episodes)
        coefs.append(float(theirs.value))
    write_golden(
        folder,
        "trl0114_adaptive_kl.json",
        desc="The KL coefficient after each of a row of rollouts (KL per sequence, episodes).",
        source=SOURCE,
        inputs={"kl_coef": 0.2, "target": 6.0, "horizon": 10_000, "measured": measured},
        expected={"kl_coef": coefs},
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for make in (estimates, update, controller):
        make(Path(sys.argv[1]))
