"""Scalar heads: drawn as published, read back exactly, never fresh by accident."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from heedful.errors import ModelError
from heedful.models.heads import ScalarHead
from tests.tolerances import FP32, STANDARD_ERRORS

WIDTH = 4095


def test_weights_have_the_published_spread() -> None:
    weight = ScalarHead(WIDTH, seed=1).weight
    expected = (WIDTH + 1) ** -0.5  # 1/64
    # the sample sd of n normal numbers has standard error sd / sqrt(2 n)
    assert abs(weight.std().item() - expected) < STANDARD_ERRORS * expected / (2 * WIDTH) ** 0.5
    assert abs(weight.mean().item()) < STANDARD_ERRORS * expected / WIDTH**0.5


def test_the_seed_decides_and_zero_is_zero() -> None:
    assert torch.equal(ScalarHead(8, seed=1).weight, ScalarHead(8, seed=1).weight)
    assert not torch.equal(ScalarHead(8, seed=1).weight, ScalarHead(8, seed=2).weight)
    assert torch.equal(ScalarHead(8, zero=True)(torch.randn(3, 8)), torch.zeros(3))


def test_it_is_a_dot_product_and_a_bias_in_fp32() -> None:
    head = ScalarHead(2, zero=True)
    head.weight.data = torch.tensor([2.0, -1.0])
    head.bias.data = torch.tensor(0.5)
    out = head(torch.tensor([[1.0, 3.0], [0.0, 1.0]], dtype=torch.bfloat16))
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, torch.tensor([-0.5, -0.5]), atol=FP32, rtol=FP32)


def test_it_is_read_back_exactly(tmp_path: Path) -> None:
    head = ScalarHead(16, seed=4)
    head.bias.data = torch.tensor(0.1)
    head.save(tmp_path / "head.safetensors")
    loaded = ScalarHead.load(tmp_path / "head.safetensors")
    assert torch.equal(loaded.weight, head.weight)
    assert torch.equal(loaded.bias, head.bias)


def test_a_missing_or_foreign_head_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="missing"):
        ScalarHead.load(tmp_path / "head.safetensors")
    save_file({"score.weight": torch.zeros(1, 3)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(ModelError, match="expected the tensors"):
        ScalarHead.load(tmp_path / "other.safetensors")
