import math
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from heedful.numerics import logprobs as module
from heedful.numerics.logprobs import (
    chosen_logprobs,
    entropy,
    head_logprobs,
    logprobs_and_entropy,
    rows_per_chunk,
)
from tests.tolerances import BF16, FP32, FP32_SUM

QUARTERS = torch.tensor([[math.log(1.0), math.log(2.0), math.log(1.0)]])  # 1/4, 1/2, 1/4
FORBIDDEN = torch.tensor([[0.0, 0.0, -math.inf]])  # 1/2, 1/2, never


def test_chosen_by_hand() -> None:
    found = chosen_logprobs(QUARTERS.expand(3, 3), torch.tensor([0, 1, 2]))
    expected = torch.tensor([math.log(0.25), math.log(0.5), math.log(0.25)])
    assert_close(found, expected, atol=FP32, rtol=FP32)


def test_entropy_by_hand() -> None:
    """1/4 ln 4 + 1/2 ln 2 + 1/4 ln 4 = 3/2 ln 2."""
    assert_close(entropy(QUARTERS), torch.tensor([1.5 * math.log(2)]), atol=FP32, rtol=FP32)
    assert_close(entropy(torch.full((1, 24), 7.0)), torch.tensor([math.log(24)]), atol=FP32, rtol=FP32)
    assert_close(entropy(torch.tensor([[90.0, 0.0, 0.0]])), torch.tensor([0.0]), atol=FP32, rtol=FP32)


def test_both_at_once() -> None:
    logprobs, entropies = logprobs_and_entropy(QUARTERS, torch.tensor([1]))
    assert_close(logprobs, torch.tensor([math.log(0.5)]), atol=FP32, rtol=FP32)
    assert_close(entropies, torch.tensor([1.5 * math.log(2)]), atol=FP32, rtol=FP32)


def test_a_shift_of_the_logits_changes_nothing() -> None:
    shifted, action = QUARTERS + 1000.0, torch.tensor([0])
    assert_close(chosen_logprobs(shifted, action), torch.tensor([math.log(0.25)]), atol=1e-4, rtol=0.0)


def test_forbidden_action_adds_nothing_to_entropy_or_gradient() -> None:
    logits = FORBIDDEN.clone().requires_grad_()
    logprobs, entropies = logprobs_and_entropy(logits, torch.tensor([0]))
    assert_close(entropies, torch.tensor([math.log(2)]), atol=FP32, rtol=FP32)
    (logprobs + entropies).sum().backward()
    # d log pi_0 / dz = onehot - pi; the entropy is at its maximum, so its own gradient is 0.
    assert_close(logits.grad, torch.tensor([[0.5, -0.5, 0.0]]), atol=FP32, rtol=FP32)
    assert chosen_logprobs(FORBIDDEN, torch.tensor([2])).item() == -math.inf


def test_forbidden_action_under_a_steep_loss() -> None:
    """A weight of 1e5 on the entropy must not meet 0 * inf on the way back; by hand 1e5 * -pi (log pi + H)."""
    logits = torch.tensor([[0.0, math.log(3), -math.inf]], requires_grad=True)
    (1e5 * entropy(logits)).sum().backward()
    h = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    expected = [-0.25 * (math.log(0.25) + h), -0.75 * (math.log(0.75) + h), 0.0]
    assert_close(logits.grad / 1e5, torch.tensor([expected]), atol=FP32, rtol=FP32)


def test_an_entropy_that_is_only_looked_at_leaves_the_gradient_alone() -> None:
    grads = []
    for weight in (None, 0.0):
        logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(1)).requires_grad_()
        logprobs, entropies = logprobs_and_entropy(logits, torch.arange(4))
        (logprobs.sum() if weight is None else logprobs.sum() + weight * entropies.sum()).backward()
        grads.append(logits.grad)
    assert torch.equal(*grads)


def test_any_number_of_leading_dimensions() -> None:
    """The vocabulary is the last dimension, whatever stands before it; all gradients too."""
    table = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(2))
    actions = torch.tensor([[0, 4, 2], [1, 1, 3]])
    deep, rows = table.clone().requires_grad_(), table.reshape(6, 5).clone().requires_grad_()
    for function in (chosen_logprobs, lambda z, _: entropy(z), lambda z, a: sum(logprobs_and_entropy(z, a))):
        found, expected = function(deep, actions), function(rows, actions.flatten())
        assert_close(found, expected.reshape(2, 3), atol=0.0, rtol=0.0)
        weights = torch.arange(6.0)
        (found.flatten() * weights).sum().backward()
        (expected * weights).sum().backward()
        assert_close(deep.grad, rows.grad.reshape(2, 3, 5), atol=0.0, rtol=0.0)


def test_bf16_logits_are_lifted_to_fp32() -> None:
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(1))
    logprobs, entropies = logprobs_and_entropy(logits.bfloat16(), torch.arange(4))
    assert logprobs.dtype == entropies.dtype == torch.float32
    assert_close(logprobs, chosen_logprobs(logits, torch.arange(4)), atol=BF16, rtol=BF16)
    assert_close(entropies, entropy(logits), atol=BF16, rtol=BF16)


def problem(rows: int, V: int) -> tuple[Tensor, nn.Linear, Tensor]:
    generator = torch.Generator().manual_seed(3)
    head = nn.Linear(4, V)
    with torch.no_grad():
        for p in head.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    hidden = torch.randn(rows, 4, generator=generator).requires_grad_()
    return hidden, head, torch.randint(0, V, (rows,), generator=generator)


def gradients(rows: int, chunk: int | None, *, with_entropy: bool = True) -> list[Tensor]:
    hidden, head, actions = problem(rows, 11)
    found, entropies = head_logprobs(hidden, head, actions, temperature=0.7, chunk=chunk, entropy=with_entropy)
    weights = torch.arange(rows, dtype=torch.float32)
    ((found + 0.3 * entropies) * weights).sum().backward()
    return [found.detach(), entropies.detach(), hidden.grad, head.weight.grad, head.bias.grad]


def by_definition(rows: int) -> list[Tensor]:
    """Softmax written out, one sum per row."""
    hidden, head, actions = problem(rows, 11)
    pi = torch.exp(head(hidden) / 0.7)
    pi = pi / pi.sum(1, keepdim=True)
    found = torch.stack([row[a].log() for row, a in zip(pi, actions, strict=True)])
    entropies = torch.stack([-sum(p * p.log() for p in row) for row in pi])
    ((found + 0.3 * entropies) * torch.arange(rows)).sum().backward()
    return [found.detach(), entropies.detach(), hidden.grad, head.weight.grad, head.bias.grad]


@pytest.mark.parametrize("chunk", [None, 1, 4, 9, 10, 50])
def test_chunks_give_the_definition_and_all_gradients(chunk: int | None) -> None:
    for found, expected in zip(gradients(10, chunk), by_definition(10), strict=True):
        assert_close(found, expected, atol=FP32_SUM, rtol=FP32_SUM)


def test_without_entropy_zeros_stand_in_its_place() -> None:
    for chunk in (3, None):
        found, entropies, *_ = gradients(10, chunk, with_entropy=False)
        assert torch.equal(entropies, torch.zeros(10))
        assert_close(found, by_definition(10)[0], atol=FP32_SUM, rtol=FP32_SUM)


def test_a_frozen_head_lets_gradients_through() -> None:
    hidden, head, actions = problem(10, 11)
    head.requires_grad_(False)
    head_logprobs(hidden, head, actions, chunk=3)[0].sum().backward()
    assert hidden.grad.abs().sum() > 0
    assert head.weight.grad is None


@pytest.mark.parametrize(("chunk", "calls"), [(10, 1), (5, 4)])
def test_what_fits_one_chunk_is_computed_once(chunk: int, calls: int) -> None:
    """Two chunks are computed in the forward pass and again in the backward pass; one is kept."""
    hidden, head, actions = problem(10, 11)
    sizes: list[int] = []
    head.register_forward_hook(lambda module, given, result: sizes.append(len(result)))
    head_logprobs(hidden, head, actions, chunk=chunk)[0].sum().backward()
    assert sizes == [chunk] * calls


def test_no_rows() -> None:
    hidden, head, actions = problem(0, 11)
    found, entropies = head_logprobs(hidden, head, actions)
    assert found.shape == entropies.shape == (0,)


def test_rows_per_chunk_fill_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, head, _ = problem(5, 11)
    assert rows_per_chunk(hidden, head) == 2**24 // 11
    monkeypatch.setattr(module, "CELLS_PER_CHUNK", 34)
    assert rows_per_chunk(hidden, head) == 3
    monkeypatch.setattr(module, "CELLS_PER_CHUNK", 10)
    assert rows_per_chunk(hidden, head) == 1


class Watch(TorchDispatchMode):
    """Remembers the size of everything that is computed, and who is still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0
        self.made: list[weakref.ref[Tensor]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for x in result if isinstance(result, list | tuple) else [result]:
            if isinstance(x, Tensor):
                self.largest = max(self.largest, x.numel())
                self.made.append(weakref.ref(x))
        return result

    def alive(self, at_least: int) -> int:
        return sum(x() is not None and x().numel() >= at_least for x in self.made)


def test_nothing_wider_than_a_chunk_is_made_and_none_is_kept() -> None:
    rows, V, chunk = 64, 101, 8
    hidden, head, actions = problem(rows, V)
    kept: list[int] = []

    def pack(x: Tensor) -> Tensor:
        kept.append(x.numel())
        return x

    with Watch() as watch, torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        found, entropies = head_logprobs(hidden, head, actions, chunk=chunk)
        assert watch.alive(at_least=chunk * V) == 0
        (found.sum() + entropies.sum()).backward()
    assert watch.largest == chunk * V
    assert max(kept) < chunk * V
    assert head.weight.grad.abs().sum() > 0


def test_without_gradients_nothing_wider_than_a_chunk_is_made() -> None:
    hidden, head, actions = problem(64, 101)
    with torch.no_grad(), Watch() as watch:
        found, _ = head_logprobs(hidden, head, actions, chunk=8)
    assert watch.largest == 8 * 101
    assert not found.requires_grad
