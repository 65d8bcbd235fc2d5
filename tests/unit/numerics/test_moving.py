"""Rows moved to other places: as `index_select` moves them, forward and backward, where rows that count are taken once."""

import pytest
import torch
from torch.testing import assert_close

from heedful.numerics.moving import take

SIX, THREE = [2, 0, 1, 4, 5, 3], [4, 0, 5]


def test_some_rows_by_hand() -> None:
    rows = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]], requires_grad=True)
    back, real = torch.tensor([1, 0, 0, 0, 0, 2]), torch.tensor([True, False, False, False, True, True])
    moved = take(rows, torch.tensor(THREE), back, real)
    assert moved.tolist() == [[5.0], [1.0], [6.0]]
    (moved * torch.tensor([[10.0], [20.0], [30.0]])).sum().backward()
    assert rows.grad is not None
    assert rows.grad.tolist() == [[20.0], [0.0], [0.0], [0.0], [10.0], [30.0]]


@pytest.mark.parametrize("there", [SIX, THREE])
def test_the_gradient_is_that_of_index_select(there: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    places = torch.tensor(there)
    back, real = torch.zeros(6, dtype=torch.long), torch.zeros(6, dtype=torch.bool)
    back[places], real[places] = torch.arange(len(there)), True
    rows = torch.randn(6, 2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.equal(take(rows, places, back, real), rows.index_select(0, places))
    weights = torch.randn(len(there), 2, 3, generator=generator, dtype=torch.float64)
    found = torch.autograd.grad((take(rows, places, back, real) * weights).sum(), rows)[0]
    expected = torch.autograd.grad((rows.index_select(0, places) * weights).sum(), rows)[0]
    assert_close(found, expected, atol=0.0, rtol=0.0)
