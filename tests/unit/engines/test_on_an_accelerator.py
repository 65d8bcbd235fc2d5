"""Sampling, scoring and PPO on a stand-in for a GPU (`tests/accelerator.py`): no tensor stays behind, all numbers are the CPU's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from heedful.engines import generation
from heedful.engines.checkpoints import optimizer_tensors, restore_optimizer
from heedful.engines.ppo import PPOSettings, train
from heedful.engines.rollout import RewardSettings, TextRollout
from heedful.engines.supervised import Lesson, held_out, target_logprobs
from heedful.models.loading import load_language_model
from heedful.models.opening import LoraShape, open_policy
from heedful.models.reward import RewardModel, load_reward_model
from heedful.models.trunks import make_trunk
from heedful.numerics.kl import FixedKL
from heedful.numerics.preference_losses import all_pairs
from heedful.testing.policies import byte_causal, byte_encoder_decoder, byte_reward, byte_tokenizer
from heedful.testing.tiny import save_model
from tests.accelerator import DEVICE, FarTensor, MixedDevicesError, accelerator

PROMPTS = ["a", "open the window", "why", "drink water ;"]
TOKENS = 6
MIXED: list[Callable[[torch.Tensor, torch.Tensor], object]] = [
    torch.add,
    torch.matmul,
    lambda far, near: torch.stack([far, near]),
    lambda far, near: near.gather(0, far),
    lambda far, near: near[far],
    lambda far, near: torch.where(far > 0, far, near),
    lambda far, near: far.numpy(),
]
Run = tuple[dict[str, torch.Tensor], dict[str, float], list[torch.Tensor]]


@pytest.fixture
def same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU reads prompts in other parts, and looks less often at who has finished; here both do as a GPU does."""
    for sizes in (generation.PROMPT_CELLS, generation.LOOK_EVERY):
        monkeypatch.setitem(sizes, "cpu", sizes["cuda"])
    monkeypatch.delenv("HEED_DEVICE", raising=False)


def one_iteration(folder: Path, *, lora: bool, own_value_trunk: bool, where: Callable[[], Any]) -> Run:
    """Return the table, the metrics and the weights after one iteration, all on the CPU."""
    with where():
        policy, reference = open_policy(
            folder / "policy",
            lora=LoraShape(4, 8.0, "all-linear") if lora else None,
            temperature=0.9,
            precision="fp32",
            seed=1,
            own_value_trunk=own_value_trunk,
        )
        rollout = TextRollout(
            policy,
            reference,
            load_reward_model(folder / "reward"),
            kl=FixedKL(0.1),
            rewards=RewardSettings(kl_estimator="exact"),
            max_new_tokens=TOKENS,
        )
        optimizer = torch.optim.AdamW([p for _, p in policy.trainable()], lr=1e-3, foreach=False)
        settings = PPOSettings(num_epochs=2, minibatch_rows=2, microbatch_cells=40)
        steps = train(
            policy, optimizer, lambda _n: rollout(PROMPTS, [1, 2, 3, 4]), settings, iterations=range(1), seed=3
        )
        _, table, metrics = next(iter(steps))
        reference.check_unchanged()
        columns = {name: value for name, value in vars(table).items() if isinstance(value, torch.Tensor)}
        kinds = {type(value) for value in (*columns.values(), *(p.data for _, p in policy.trainable()))}
        assert kinds == ({FarTensor} if where is accelerator else {torch.Tensor})
        weights = [p.detach().cpu() for _, p in policy.trainable()]
        return {name: value.cpu() for name, value in columns.items()}, table.metrics | metrics, weights


@pytest.mark.usefixtures("same_batches")
@pytest.mark.parametrize(
    ("make", "lora", "own_value_trunk"),
    [(byte_causal, False, False), (byte_causal, True, True), (byte_encoder_decoder, False, True)],
)
def test_an_iteration_mixes_no_devices_and_gives_the_numbers_of_the_cpu(
    tmp_path: Path, make: Any, lora: bool, own_value_trunk: bool
) -> None:
    save_model(tmp_path / "policy", make(1), byte_tokenizer())
    byte_reward(2).save(tmp_path / "reward")
    here = one_iteration(tmp_path, lora=lora, own_value_trunk=own_value_trunk, where=nullcontext)
    there = one_iteration(tmp_path, lora=lora, own_value_trunk=own_value_trunk, where=accelerator)
    for name, column in here[0].items():
        assert torch.equal(column, there[0][name]), name
    assert here[1] == there[1]
    assert all(torch.equal(a, b) for a, b in zip(here[2], there[2], strict=True))


@pytest.mark.parametrize("make", [byte_causal, byte_encoder_decoder])
def test_lessons_and_rankings_give_the_gradients_of_the_cpu(tmp_path: Path, make: Any) -> None:
    save_model(tmp_path / "policy", make(1), byte_tokenizer())
    byte_reward(2).save(tmp_path / "reward")
    lessons = [Lesson("a", [5, 6, 7], [8, 9, 1], [True, False, True]), Lesson("b", [5], [7, 1], [True, True])]

    def learn(where: Callable[[], AbstractContextManager[None]]) -> tuple[dict[str, float], list[torch.Tensor]]:
        with where():
            model, judge = load_language_model(tmp_path / "policy"), load_reward_model(tmp_path / "reward")
            assert isinstance(judge, RewardModel)
            trunk, home = make_trunk(model), next(model.parameters()).device
            logprobs, targets = target_logprobs(trunk, lessons, home)
            (-logprobs[targets].sum()).backward()
            texts = [judge.backbone.read("why", text) for text in ("hot", "cold water", "")]
            all_pairs(judge.raw(texts)[:, 0], [0, 1, 1]).backward()
            parameters = [*model.parameters(), *(parameter for _, parameter in judge.parameters())]
            slopes = [parameter.grad.cpu() for parameter in parameters if parameter.grad is not None]
            return held_out(trunk, lessons, home, 64), slopes

    here, there = learn(nullcontext), learn(accelerator)
    assert here[0] == there[0]
    assert len(here[1]) == len(there[1]) > 10
    assert all(torch.equal(a, b) for a, b in zip(here[1], there[1], strict=True))


@pytest.mark.parametrize("mix", MIXED)
def test_the_accelerator_refuses_what_a_gpu_refuses(mix: Callable[[torch.Tensor, torch.Tensor], object]) -> None:
    with accelerator(), pytest.raises((MixedDevicesError, TypeError, RuntimeError)):
        mix(torch.ones(2, dtype=torch.long, device=DEVICE), torch.ones(2, dtype=torch.long))


def test_the_accelerator_takes_what_a_gpu_takes() -> None:
    with accelerator():
        far, near = torch.arange(3.0, device=DEVICE), torch.arange(3.0)
        assert (far + torch.tensor(2.0)).cpu().tolist() == [2.0, 3.0, 4.0]
        assert far[torch.tensor([2, 0])].device == DEVICE
        near.copy_(far * 2)
        assert near.tolist() == [0.0, 2.0, 4.0]


@pytest.mark.parametrize("fused", [True, False])
def test_a_restored_optimizer_counts_its_steps_where_a_fresh_one_does(fused: bool) -> None:
    """Fused AdamW takes a step count only beside the weights, the other one only from the CPU; checkpoints come from the CPU."""
    here = torch.nn.Parameter(torch.ones(3))
    before = torch.optim.AdamW([here], fused=True)
    here.grad = torch.ones(3)
    before.step()
    saved = optimizer_tensors(before)
    with accelerator():
        far = torch.nn.Parameter(torch.ones(3, device=DEVICE))
        after = torch.optim.AdamW([far])
        after.param_groups[0]["fused"] = fused
        restore_optimizer(after, saved)
        state = after.state[far]
        assert isinstance(state["step"], FarTensor) is fused
        assert isinstance(state["exp_avg"], FarTensor)
        assert float(state["step"]) == 1.0
