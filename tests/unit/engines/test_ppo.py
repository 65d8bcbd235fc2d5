from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.testing import assert_close

from heedful.engines.ppo import PPOSettings, microbatches, minibatches, train, update
from heedful.errors import HealthError
from heedful.models.adapters import add_lora
from heedful.models.board import Boards
from heedful.models.policy import LanguagePolicy
from heedful.models.table import Evaluation, Table
from heedful.testing.policies import byte_policy
from tests.families import LORA_TARGETS, gpt2, some_decisions, some_prompts, t5_tied
from tests.tolerances import FP32, FP32_SUM

PROMPTS, (ACTIONS, MASK) = some_prompts((3, 7, 1, 5, 4, 2, 6, 3)), some_decisions((4, 2, 6, 1, 3, 5, 1, 2))
ONE_STEP = PPOSettings(num_epochs=1, minibatch_rows=8, vf_coef=0.5, ent_coef=0.01, max_grad_norm=None)


def lora() -> LanguagePolicy:
    return byte_policy(add_lora(gpt2(), r=4, alpha=8.0, targets=LORA_TARGETS["gpt2"], seed=0))


def full() -> LanguagePolicy:
    return byte_policy(t5_tied())


either_policy = pytest.mark.parametrize("build", [lora, full])


def played(policy: LanguagePolicy) -> Table:
    """A rollout of unequal lengths with random rewards; log-probs and values are the policy's own."""
    generator = torch.Generator().manual_seed(2)
    blank = torch.zeros(MASK.shape)
    rewards = torch.randn(MASK.shape, generator=generator) * MASK
    rows, truncated = torch.arange(8), torch.zeros(8, dtype=torch.bool)
    table = Table(ACTIONS, MASK, blank, blank, rewards, PROMPTS, rows, truncated)
    with torch.no_grad():
        seen = policy.evaluate(table)
    return replace(table, logprobs=seen.logprobs, values=seen.values)


class Recorder(torch.optim.SGD):
    """Takes no step, but remembers the gradients and how often it was asked."""

    def __init__(self, policy: Any) -> None:
        super().__init__([p for _, p in policy.trainable()], lr=0.0)
        self.named = list(policy.trainable())
        self.gradients: dict[str, Tensor] = {}
        self.calls = 0

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.calls += 1
        self.gradients = {name: p.grad.clone() for name, p in self.named if p.grad is not None}


def gradients(build: Callable[[], LanguagePolicy], settings: PPOSettings) -> tuple[dict[str, Tensor], dict[str, float]]:
    policy = build()
    recorder = Recorder(policy)
    metrics = update(policy, recorder, played(policy), settings, seed=0)
    return recorder.gradients, metrics


@either_policy
def test_the_cut_into_microbatches_changes_no_gradient(build: Callable[[], LanguagePolicy]) -> None:
    """1 x 8 = about 4 x 2 = 8 x 1, at unequal lengths: the longest row costs 6 cells."""
    whole, metrics = gradients(build, replace(ONE_STEP, microbatch_cells=10_000))
    assert any(float(g.abs().max()) > 0 for g in whole.values())
    for cells in (12, 1):
        parts, same = gradients(build, replace(ONE_STEP, microbatch_cells=cells))
        assert parts.keys() == whole.keys()
        for name, gradient in whole.items():
            assert_close(parts[name], gradient, atol=FP32, rtol=FP32_SUM, msg=name)
        for name, value in metrics.items():
            assert same[name] == pytest.approx(value, abs=FP32_SUM), name


@either_policy
def test_the_gradient_is_that_of_the_definition(build: Callable[[], LanguagePolicy]) -> None:
    """Where the ratio is 1 nothing is clipped: the loss is -mean(A ratio) + vf/2 mean (V - G)^2 - c mean H, per decision."""
    found, _ = gradients(build, replace(ONE_STEP, whitening="none", gae_lambda=1.0))
    policy = build()
    table = played(policy)
    total, loss = int(MASK.sum()), torch.zeros(())
    seen = policy.evaluate(table)
    for row in range(8):
        for t in range(int(MASK[row].sum())):
            to_go = float(table.rewards[row, t:].sum())
            advantage = to_go - float(table.values[row, t])
            loss = loss - advantage * (seen.logprobs[row, t] - table.logprobs[row, t]).exp()
            loss = loss + 0.25 * (seen.values[row, t] - to_go) ** 2 - 0.01 * seen.entropy[row, t]
    (loss / total).backward()
    for name, parameter in policy.trainable():
        if parameter.grad is not None:
            assert_close(found[name], parameter.grad, atol=FP32_SUM, rtol=FP32_SUM, msg=name)


@either_policy
def test_permuted_rows_give_the_same_gradients(build: Callable[[], LanguagePolicy]) -> None:
    policy = build()
    table = played(policy)
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    found = []
    for given in (table, table.rows(order)):
        recorder = Recorder(policy)
        update(policy, recorder, given, ONE_STEP, seed=0)
        found.append(recorder.gradients)
    for name, gradient in found[0].items():
        assert_close(found[1][name], gradient, atol=FP32, rtol=FP32_SUM, msg=name)


@either_policy
def test_the_ratio_is_one_in_every_microbatch_of_the_first_step(build: Callable[[], LanguagePolicy]) -> None:
    _, metrics = gradients(build, replace(ONE_STEP, microbatch_cells=1))
    assert metrics["ratio_error"] <= FP32_SUM
    assert metrics["ratio_mean"] == pytest.approx(1.0, abs=FP32_SUM)
    assert metrics["clip_fraction"] == 0
    assert metrics["approx_kl"] == pytest.approx(0.0, abs=FP32)


def weights(policy: Any) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in policy.trainable()}


class Cells:
    """A policy whose log-probs and values are its parameters, one per decision: what an update does can be read off them."""

    def __init__(self, logprobs: Tensor, values: Tensor) -> None:
        self.logprobs, self.values = Parameter(logprobs.clone()), Parameter(values.clone())
        self.spoil: Callable[[Tensor], Tensor] = lambda x: x
        self.evaluations = 0

    def trainable(self) -> Iterator[tuple[str, Parameter]]:
        yield from {"logprobs": self.logprobs, "values": self.values}.items()

    def evaluate(self, table: Table) -> Evaluation:
        self.evaluations += 1
        rows, width = table.group, table.mask.shape[1]
        cells = (x[rows][:, :width] * table.mask for x in (self.spoil(self.logprobs), self.values))
        return Evaluation(*cells, torch.zeros(table.mask.shape))


def cells_and_table(scale: float = 1.0) -> tuple[Cells, Table]:
    generator = torch.Generator().manual_seed(4)
    logprobs = -torch.rand(MASK.shape, generator=generator) * MASK
    values = torch.randn(MASK.shape, generator=generator) * MASK
    rewards = torch.randn(MASK.shape, generator=generator) * MASK * scale
    nothing = Boards(torch.zeros(8, 1, 1), torch.ones(8, 1, 1, dtype=torch.bool))
    rows, truncated = torch.arange(8), torch.zeros(8, dtype=torch.bool)
    return Cells(logprobs, values), Table(ACTIONS, MASK, logprobs, values, rewards, nothing, rows, truncated)


def adam(policy: Any, lr: float = 0.05) -> torch.optim.Optimizer:
    return torch.optim.Adam([p for _, p in policy.trainable()], lr=lr)


def refused(policy: Cells, table: Table, match: str, settings: PPOSettings = ONE_STEP) -> None:
    before = weights(policy)
    with pytest.raises(HealthError, match=match):
        update(policy, adam(policy), table, settings, seed=0)
    for name, value in weights(policy).items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_reward_that_is_not_finite_stops_before_any_step(bad: float) -> None:
    policy, table = cells_and_table()
    rewards = table.rewards.clone()
    rewards[5, 4] = bad
    refused(policy, replace(table, rewards=rewards), "the loss is nan|the loss is inf")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_logprob_that_is_not_finite_stops_before_any_step(bad: float) -> None:
    policy, table = cells_and_table()
    policy.spoil = lambda x: torch.where(torch.arange(x.numel()).view(x.shape) == 0, bad, x)
    refused(policy, table, "the loss is|the ratio is off 1 by")


def test_a_gradient_that_is_not_finite_names_its_parameter_and_takes_no_step() -> None:
    policy, table = cells_and_table()
    policy.logprobs.register_hook(lambda g: g * float("nan"))
    refused(policy, table, "the gradient of logprobs is not finite")


def test_a_bad_later_microbatch_takes_no_step_either() -> None:
    policy, table = cells_and_table()
    rewards = table.rewards.clone()
    rewards[6, 0] = float("nan")  # the cheapest row comes last
    settings = replace(ONE_STEP, microbatch_cells=1, whitening="none")
    refused(policy, replace(table, rewards=rewards), r"on rows \[6\]", settings)


def test_old_logprobs_from_elsewhere_are_refused() -> None:
    policy, table = cells_and_table()
    refused(policy, replace(table, logprobs=table.logprobs + 1e-3 * MASK), "the ratio is off 1 by 1.00e-03")
    update(policy, adam(policy), table, replace(ONE_STEP, num_epochs=3), seed=0)


def test_advantages_push_the_right_way() -> None:
    policy, table = cells_and_table(scale=5.0)
    update(policy, adam(policy), table, replace(ONE_STEP, gae_lambda=1.0, whitening="none"), seed=0)
    to_go = table.rewards.flip(1).cumsum(1).flip(1)
    moved = (policy.logprobs.detach() - table.logprobs)[MASK]
    assert torch.equal(moved.sign(), (to_go - table.values)[MASK].sign())
    error = lambda values: (values - to_go)[MASK].square().mean()  # noqa: E731
    assert error(policy.values.detach()) < error(table.values)


def test_a_decisions_own_reward_reaches_its_own_advantage_and_nothing_else() -> None:
    policy, table = cells_and_table()
    own = torch.zeros(MASK.shape)
    own[2, 3] = 2.0
    found = []
    for given in (table, replace(table, own_rewards=own)):
        recorder = Recorder(policy)
        update(policy, recorder, given, replace(ONE_STEP, whitening="none"), seed=0)
        found.append(recorder.gradients)
    assert torch.equal(found[0]["values"], found[1]["values"])
    difference = found[1]["logprobs"] - found[0]["logprobs"]
    expected = torch.zeros(MASK.shape)
    expected[2, 3] = -2.0 / int(MASK.sum())
    assert_close(difference, expected, atol=FP32, rtol=FP32_SUM)


def test_target_kl_ends_the_epochs() -> None:
    policy, table = cells_and_table()
    settings = PPOSettings(num_epochs=10, minibatch_rows=4, target_kl=1e-3, max_grad_norm=None)
    metrics = update(policy, adam(policy, lr=0.1), table, settings, seed=0)
    assert 2 <= metrics["optimizer_steps"] < 20
    assert metrics["optimizer_steps"] % 2 == 0  # whole epochs
    policy, table = cells_and_table()
    free = update(policy, adam(policy, lr=0.1), table, replace(settings, target_kl=None), seed=0)
    assert free["optimizer_steps"] == 20


def test_gradients_are_clipped_once_and_their_norm_before_is_told() -> None:
    policy, table = cells_and_table()
    recorder = Recorder(policy)
    told = update(policy, recorder, table, replace(ONE_STEP, max_grad_norm=0.01, microbatch_cells=1), seed=0)[
        "grad_norm"
    ]
    clipped = torch.cat([g.flatten() for g in recorder.gradients.values()]).norm()
    assert told > 0.01
    assert float(clipped) == pytest.approx(0.01, rel=1e-3)


def test_metrics_of_an_update_by_hand() -> None:
    policy, table = cells_and_table()
    metrics = update(policy, adam(policy), table, replace(ONE_STEP, num_epochs=2), seed=0)
    assert metrics["episode_return"] == pytest.approx(float(table.rewards.sum() / 8))
    assert metrics["optimizer_steps"] == 2
    assert metrics["approx_kl"] > 0


def test_minibatches_visit_every_row_once_in_a_fresh_order_each_epoch() -> None:
    orders = [torch.cat(list(minibatches(10, 4, seed=0, epoch=e))).tolist() for e in range(2)]
    assert [sorted(order) for order in orders] == [list(range(10))] * 2
    assert orders[0] != orders[1]
    assert [len(part) for part in minibatches(10, 4, seed=0, epoch=0)] == [4, 4, 2]
    again = torch.cat(list(minibatches(10, 4, seed=0, epoch=0))).tolist()
    assert again == orders[0]


def test_microbatches_hold_at_most_so_many_cells_longest_first() -> None:
    costs = torch.tensor([4, 2, 6, 1, 3, 5])
    index = torch.tensor([0, 1, 2, 3, 5])
    parts = [part.tolist() for part in microbatches(costs, index, 10)]
    assert parts == [[2], [5, 0], [1, 3]]
    assert [part.tolist() for part in microbatches(costs, index, 1)] == [[2], [5], [0], [1], [3]]


def test_train_rolls_out_and_updates_in_turn() -> None:
    policy, table = cells_and_table()
    asked: list[int] = []

    def rollout(iteration: int) -> Table:
        asked.append(iteration)
        return replace(table, logprobs=policy.logprobs.detach().clone(), values=policy.values.detach().clone())

    seen = [i for i, _, _ in train(policy, adam(policy), rollout, ONE_STEP, iterations=range(3, 6), seed=0)]
    assert seen == asked == [3, 4, 5]
