from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from heedful.errors import HealthError
from heedful.models.adapters import add_lora
from heedful.models.policy import (
    LanguagePolicy,
    Reference,
    base_reference,
    copied_reference,
    fixed_reference,
)
from heedful.models.table import Table
from heedful.testing.policies import byte_causal, byte_encoder_decoder, byte_policy
from tests.families import ALL, LORA_TARGETS, some_decisions, some_prompts
from tests.tolerances import EXACT, FP32_SUM

PROMPTS, (ACTIONS, MASK) = some_prompts(), some_decisions()


def lora_policy(family: str) -> tuple[LanguagePolicy, Reference]:
    model = add_lora(ALL[family](), r=4, alpha=8.0, targets=LORA_TARGETS[family], seed=0)
    policy = byte_policy(model)
    return policy, base_reference(policy)


def full_policy(family: str) -> tuple[LanguagePolicy, Reference]:
    policy = byte_policy(ALL[family]())
    return policy, copied_reference(policy)


METHODS: dict[str, Callable[[str], tuple[LanguagePolicy, Reference]]] = {"lora": lora_policy, "full": full_policy}
every_policy = pytest.mark.parametrize("method", METHODS)
every_family = pytest.mark.parametrize("family", ALL)


def table(logprobs: Tensor, *, actions: Tensor = ACTIONS, mask: Tensor = MASK) -> Table:
    blank = torch.zeros(mask.shape)
    rows = torch.arange(len(mask))
    return Table(actions, mask, logprobs, blank, blank, PROMPTS, rows, torch.zeros(len(mask), dtype=torch.bool))


def train_a_little(policy: LanguagePolicy, steps: int = 5) -> None:
    optimizer = torch.optim.Adam([p for _, p in policy.trainable()], lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        seen = policy.evaluate(table(torch.zeros(MASK.shape)))
        (seen.logprobs + seen.values).sum().neg().backward()
        optimizer.step()


@every_policy
@every_family
def test_the_ratio_is_one_and_kl_is_zero_before_the_first_step(family: str, method: str) -> None:
    policy, reference = METHODS[method](family)
    beside = policy.evaluate_beside(reference, PROMPTS, ACTIONS, MASK)
    assert beside.exact_kl.abs().max() <= FP32_SUM
    assert_close(beside.ref_logprobs, beside.logprobs, atol=FP32_SUM, rtol=EXACT)
    again = policy.evaluate(table(beside.logprobs))
    assert (again.logprobs - beside.logprobs).exp()[MASK].sub(1).abs().max() <= FP32_SUM
    for rows in (torch.tensor([2]), torch.tensor([3, 1])):
        part = table(beside.logprobs).rows(rows)
        ratio = (policy.evaluate(part).logprobs - part.logprobs)[part.mask].exp()
        assert_close(ratio, torch.ones_like(ratio), atol=FP32_SUM, rtol=EXACT)


@every_policy
@every_family
def test_training_moves_the_policy_and_never_the_reference(family: str, method: str) -> None:
    policy, reference = METHODS[method](family)
    before = policy.evaluate_beside(reference, PROMPTS, ACTIONS, MASK)
    digest = reference.digest()
    train_a_little(policy)
    after = policy.evaluate_beside(reference, PROMPTS, ACTIONS, MASK)
    assert reference.digest() == digest
    reference.check_unchanged()
    assert torch.equal(after.ref_logprobs, before.ref_logprobs)
    assert after.logprobs.sum() > before.logprobs.sum()
    assert (after.exact_kl[MASK] > 0).all()


@every_policy
def test_a_changed_reference_is_noticed(method: str) -> None:
    policy, reference = METHODS[method]("llama")
    weights = reference._weights
    next(iter(weights.values())).data.view(-1)[0] += 1e-3
    with pytest.raises(HealthError, match="must stay frozen"):
        reference.check_unchanged()
    assert policy is not None


@every_policy
def test_only_the_policy_is_trainable(method: str) -> None:
    policy, reference = METHODS[method]("llama")
    names = {name for name, _ in policy.trainable()}
    assert {"value_head.weight", "value_head.bias"} < names
    frozen = {id(weight) for weight in reference._weights.values()}
    assert not any(id(p) in frozen for _, p in policy.trainable())
    if method == "lora":
        assert all("lora_" in name for name in names if not name.startswith("value_head"))


def test_exact_kl_is_the_sum_over_the_vocabulary() -> None:
    policy, other = byte_policy(byte_causal(0), temperature=0.7), byte_policy(byte_causal(1), temperature=0.7)
    beside = policy.evaluate_beside(fixed_reference(other), PROMPTS, ACTIONS, MASK)
    with torch.no_grad():
        mine, theirs = (
            (s.head(s.inputs).double() / 0.7).log_softmax(-1)
            for s in (p.trunk.states(PROMPTS, ACTIONS, MASK) for p in (policy, other))
        )
    expected = [float((p.exp() * (p - q)).sum()) for p, q in zip(mine, theirs, strict=True)]
    assert_close(beside.exact_kl[MASK], torch.tensor(expected), atol=FP32_SUM, rtol=FP32_SUM)
    sampled = mine.gather(1, ACTIONS[MASK][:, None])[:, 0].float()
    assert_close(beside.logprobs[MASK], sampled, atol=FP32_SUM, rtol=FP32_SUM)


def test_entropy_and_values_by_definition() -> None:
    policy = byte_policy(byte_causal(0), temperature=1.5)
    policy.value_head.weight.data = torch.arange(32.0) / 32
    policy.value_head.bias.data.fill_(0.25)
    with torch.no_grad():
        states = policy.trunk.states(PROMPTS, ACTIONS, MASK)
        p = (states.head(states.inputs).double() / 1.5).softmax(-1)
        seen = policy.evaluate(table(torch.zeros(MASK.shape)))
    assert_close(seen.entropy[MASK], -(p * p.log()).sum(-1).float(), atol=FP32_SUM, rtol=FP32_SUM)
    by_hand = (states.hidden * torch.arange(32.0) / 32).sum(-1) + 0.25
    assert_close(seen.values[MASK], by_hand, atol=FP32_SUM, rtol=FP32_SUM)
    for cells in (seen.logprobs, seen.values, seen.entropy):
        assert cells[~MASK].abs().max() == EXACT


@pytest.mark.parametrize("build", [byte_causal, byte_encoder_decoder])
def test_value_head_starts_at_zero_and_learns(build: Callable[[], Any]) -> None:
    policy = byte_policy(build())
    assert policy.evaluate(table(torch.zeros(MASK.shape))).values.abs().max() == EXACT
    train_a_little(policy)
    assert policy.evaluate(table(torch.zeros(MASK.shape))).values[MASK].mean() > 0


def test_dropout_is_off_whatever_the_model_says() -> None:
    model = byte_encoder_decoder()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    policy = byte_policy(model.train())
    first, second = (policy.evaluate(table(torch.zeros(MASK.shape))).logprobs for _ in range(2))
    assert torch.equal(first, second)


def test_tokens_of_text_fit_the_context() -> None:
    policy = byte_policy(byte_causal(0))
    packed = policy.tokens(["ab", "c"], room=4)
    assert packed.lengths.tolist() == [3, 2]  # a BOS before each
    assert packed.tokens[:, 0].tolist() == [2, 2]


SEPARATE: dict[str, Callable[[str], Any]] = {
    "lora": lambda family: add_lora(ALL[family](), r=4, alpha=8.0, targets=LORA_TARGETS[family], seed=0),
    "full": lambda family: ALL[family](),
}


@every_policy
@every_family
def test_a_separate_value_trunk_starts_as_the_policys_and_learns_alone(family: str, method: str) -> None:
    shared = byte_policy(SEPARATE[method](family))
    policy = byte_policy(SEPARATE[method](family), own_value_trunk=True)
    for one in (shared, policy):
        assert one.value_head is not None
        one.value_head.weight.data.fill_(0.3)
    before, expected = policy.evaluate(table(torch.zeros(MASK.shape))), shared.evaluate(table(torch.zeros(MASK.shape)))
    assert_close(before.values, expected.values, atol=FP32_SUM, rtol=FP32_SUM)
    assert_close(before.logprobs, expected.logprobs, atol=FP32_SUM, rtol=FP32_SUM)
    optimizer = torch.optim.Adam([p for _, p in policy.trainable()], lr=0.01)
    before.values.sum().backward()
    optimizer.step()
    after = policy.evaluate(table(torch.zeros(MASK.shape)))
    assert torch.equal(after.logprobs, before.logprobs)
    assert (after.values - before.values).abs()[MASK].min() > 0


@every_policy
def test_the_policys_loss_does_not_reach_a_separate_value_trunk(method: str) -> None:
    policy = byte_policy(SEPARATE[method]("llama"), own_value_trunk=True)
    policy.evaluate(table(torch.zeros(MASK.shape))).logprobs.sum().backward()
    touched = {name for name, p in policy.trainable() if p.grad is not None and p.grad.abs().sum() > 0}
    assert touched
    assert not any("value" in name for name in touched)


def test_the_reference_does_not_see_the_value_adapter() -> None:
    policy = byte_policy(SEPARATE["lora"]("llama"), own_value_trunk=True)
    reference = base_reference(policy)
    before = policy.evaluate_beside(reference, PROMPTS, ACTIONS, MASK)
    train_a_little(policy)
    after = policy.evaluate_beside(reference, PROMPTS, ACTIONS, MASK)
    assert torch.equal(after.ref_logprobs, before.ref_logprobs)
    assert {name for name, p in policy.trainable() if p.requires_grad} == {name for name, _ in policy.trainable()}
