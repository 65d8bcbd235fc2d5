"""Rows of several adapters and of the base in one batch: each row is what it is among rows of its own adapter."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from heedful.engines.generation import Sampled, sample
from heedful.errors import ModelError, ShapeError
from heedful.models.adapters import add_lora, copy_adapter, with_adapter, without_adapters
from heedful.models.policy import LanguagePolicy
from heedful.models.table import Table
from heedful.testing.policies import byte_policy
from tests.families import ALL, LORA_TARGETS, some_prompts
from tests.tolerances import FP32_SUM
from tests.unit.engines.test_generation import MANY_STOPS, rows_of
from tests.unit.models.test_adapters import shaken

LOGPROBS = 1e-5
"""How far a log-prob may be from the one that a batch of one adapter gives, fp32."""
NAMES = ("policy", "second", "third", None)
MIXED = ["second", None, "policy", "third", None, "second", "policy", "third"]
PROMPTS = some_prompts((3, 7, 1, 5, 7, 2, 4, 6))
SEEDS = list(range(21, 29))
LIMIT = 8


def three_adapters(family: str = "llama", **options: Any) -> LanguagePolicy:
    """A policy whose base carries three adapters with numbers of their own; the first is active and trained."""
    model = shaken(add_lora(ALL[family](), r=4, alpha=8.0, targets=LORA_TARGETS[family], seed=0), seed=3)
    for seed, name in ((4, "second"), (5, "third")):
        copy_adapter(model, "policy", name)
        shaken(model, name, seed=seed)
        for key, value in model.named_parameters():
            if f".{name}." in key:
                value.requires_grad_(False)
    policy = byte_policy(model, **options)
    policy.stop = MANY_STOPS
    if policy.value_head is not None:
        for parameter in policy.value_head.parameters():
            parameter.data.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return policy


def within(policy: LanguagePolicy, name: str | None) -> Any:
    return without_adapters(policy.model) if name is None else with_adapter(policy.model, name)


def drawn(policy: LanguagePolicy, rows: Tensor | None = None, **options: Any) -> Sampled:
    index = torch.arange(len(SEEDS)) if rows is None else rows
    return sample(policy, PROMPTS[index], [SEEDS[i] for i in index.tolist()], max_new_tokens=LIMIT, **options)


def table_of(sampled: Sampled, rows: Tensor | None = None) -> Table:
    index = torch.arange(len(sampled.mask)) if rows is None else rows
    zeros = torch.zeros(sampled.mask.shape)
    columns = (sampled.actions, sampled.mask, zeros, zeros, zeros)
    whole = Table(*columns, PROMPTS, torch.arange(len(zeros)), sampled.truncated)
    return whole.rows(index)


def rows_with(name: str | None) -> Tensor:
    return torch.tensor([row for row, other in enumerate(MIXED) if other == name])


@pytest.mark.parametrize("options", [{}, {"batch_rows": 1}])
@pytest.mark.parametrize("family", ALL)
def test_mixed_rows_are_sampled_as_among_rows_of_their_own_adapter(family: str, options: dict[str, int]) -> None:
    policy = three_adapters(family)
    mixed = drawn(policy, adapters=MIXED, **options)
    assert len({len(row) for row in rows_of(mixed)}) > 1, "rows end at different places, so that batches are compacted"
    for name in NAMES:
        rows = rows_with(name)
        with within(policy, name):
            alone = drawn(policy, rows)
        assert rows_of(alone) == [rows_of(mixed)[row] for row in rows.tolist()]
        width = alone.mask.shape[1]
        assert_close(mixed.logprobs[rows][:, :width], alone.logprobs, atol=LOGPROBS, rtol=0.0)
        assert torch.equal(mixed.truncated[rows], alone.truncated)
    with within(policy, "second"):
        assert rows_of(drawn(policy)) != rows_of(mixed)


@pytest.mark.parametrize("own_value_trunk", [False, True])
@pytest.mark.parametrize("family", ALL)
def test_mixed_rows_are_evaluated_as_among_rows_of_their_own_adapter(family: str, own_value_trunk: bool) -> None:
    """Each adapter and the base see another function, and so does the value head, unless it has a trunk of its own."""
    policy = three_adapters(family, own_value_trunk=own_value_trunk)
    sampled = drawn(policy, adapters=MIXED)
    with torch.no_grad():
        mixed, plain = policy.evaluate(table_of(sampled), adapters=MIXED), policy.evaluate(table_of(sampled))
    assert_close(mixed.logprobs, sampled.logprobs, atol=LOGPROBS, rtol=0.0)
    for name in NAMES:
        rows = rows_with(name)
        with torch.no_grad(), within(policy, name):
            alone = policy.evaluate(table_of(sampled, rows))
        width = alone.logprobs.shape[1]
        for column in ("logprobs", "entropy") if own_value_trunk else ("logprobs", "entropy", "values"):
            found = getattr(mixed, column)[rows]
            assert_close(found[:, :width], getattr(alone, column), atol=LOGPROBS, rtol=0.0, msg=f"{name}: {column}")
            assert not found[:, width:].any()
        as_active = torch.allclose(mixed.logprobs[rows], plain.logprobs[rows], atol=LOGPROBS, rtol=0.0)
        assert as_active == (name == "policy"), "each adapter is a function of its own"
    if own_value_trunk:
        assert_close(mixed.values, plain.values, atol=FP32_SUM, rtol=FP32_SUM)


def test_what_was_active_and_what_learns_is_as_before_and_gradients_reach_what_is_trained() -> None:
    """The trained adapter's gradient in the mixed batch is that of its rows by themselves; no other adapter has one."""
    policy = three_adapters()
    sampled = drawn(policy, adapters=MIXED)
    before = {name: p.requires_grad for name, p in policy.model.named_parameters()}
    policy.evaluate(table_of(sampled), adapters=MIXED).logprobs.sum().backward()  # type: ignore[no-untyped-call]
    assert policy.model.active_adapter == "policy"
    assert {name: p.requires_grad for name, p in policy.model.named_parameters()} == before
    mixed = {name: p.grad.clone() for name, p in policy.model.named_parameters() if p.grad is not None}
    assert {name for name in mixed if "lora_B.policy" not in name and "lora_A.policy" not in name} == set()
    policy.model.zero_grad(set_to_none=True)
    policy.evaluate(table_of(sampled, rows_with("policy"))).logprobs.sum().backward()  # type: ignore[no-untyped-call]
    alone = {name: p.grad for name, p in policy.model.named_parameters() if p.grad is not None}
    assert mixed.keys() == alone.keys() != set()
    for name, gradient in mixed.items():
        assert_close(gradient, alone[name], atol=FP32_SUM, rtol=FP32_SUM, msg=name)


def test_a_policy_without_adapters_takes_rows_of_the_base() -> None:
    policy = byte_policy(ALL["llama"](), value_head=False)
    policy.stop = MANY_STOPS
    assert rows_of(drawn(policy, adapters=[None] * 8)) == rows_of(drawn(policy))
    with pytest.raises(ModelError, match="row 1 asks for 'mine'; the model's adapters are: none"):
        drawn(policy, adapters=[None, "mine", *[None] * 6])


def test_names_that_do_not_fit_are_refused() -> None:
    policy = three_adapters()
    with pytest.raises(ModelError, match="row 7 asks for 'thrid'; the model's adapters are: policy, second, third"):
        drawn(policy, adapters=[*MIXED[:7], "thrid"])
    with pytest.raises(ShapeError, match="7 names for 8 rows"):
        drawn(policy, adapters=MIXED[:7])


def test_layers_that_are_computed_again_cannot_switch() -> None:
    """They would be computed again after the block, with the adapter that is active by then; without gradients nothing is."""
    policy = three_adapters()
    sampled = drawn(policy, adapters=MIXED)
    policy.recompute_layers()
    with pytest.raises(ModelError, match="cannot be evaluated with gradients"):
        policy.evaluate(table_of(sampled), adapters=MIXED)
    with torch.no_grad():
        seen = policy.evaluate(table_of(sampled), adapters=MIXED)
    assert_close(seen.logprobs, sampled.logprobs, atol=LOGPROBS, rtol=0.0)
