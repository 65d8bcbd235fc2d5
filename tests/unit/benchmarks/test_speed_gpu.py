"""`gpu.py`: its arithmetic by hand, its search against a known limit, and the whole way with tiny sizes on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.speed import gpu
from benchmarks.speed.ceilings import Shape
from benchmarks.speed.gpu import bytes_read, largest, operations
from benchmarks.speed.gpu_models import Qwen
from transformers import LlamaConfig, Qwen2Config

from heedful.models import placement

ROOT = Path(__file__).resolve().parents[3]
SMALL = Qwen(width=4, layers=2, heads=2, key_heads=1, inner=3, tied=True, vocabulary=5)
LAYER = 2 * 16 + 2 * 8 + 3 * 12
"""Weights: q and o [4, 4], k and v [4, 2], three of the feed-forward layer [4, 3]."""


def test_a_shape_counts_the_heads_that_keys_and_values_share() -> None:
    config = Qwen2Config(
        vocab_size=5,
        hidden_size=4,
        intermediate_size=3,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    shape = Shape.of(config)
    assert shape.weights == 2 * LAYER + 20
    assert shape.cache_bytes(7, 2) == 2 * 2 * 2 * 7 * 2
    plain = LlamaConfig(vocab_size=5, hidden_size=4, intermediate_size=3, num_hidden_layers=2, num_attention_heads=2)
    assert Shape.of(plain).weights == Shape(5, 4, 3, 2).weights == 2 * (4 * 16 + 3 * 12) + 20


def test_bytes_of_decoding_by_hand() -> None:
    """Prompts of 3 and 5 tokens, completions of 3 and 1: two steps of the first row, which look at 4 and 5 tokens."""
    weights, cells = 2 * LAYER + 20, 4 + 5
    expected = 2 * weights * 2 + 2 * 2 * 2 * cells * 2
    assert bytes_read(SMALL, torch.tensor([3, 5]), torch.tensor([3, 1])) == expected


@pytest.mark.parametrize(("lora", "per_weight"), [(False, 6), (True, 4)])
def test_operations_of_an_update_by_hand(lora: bool, per_weight: int) -> None:
    products = 2 * LAYER * (4 + 6) + 20 * (1 + 3)
    attention = 3 * 2 * 2 * 2 * 4 * (16 + 36) / 2
    found = operations(SMALL, torch.tensor([4, 6]), torch.tensor([1, 3]), epochs=2, lora=lora)
    assert found == 2 * (per_weight * products + attention)


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 7, 8, 41, 64, 100])
def test_the_search_finds_the_limit_and_tries_little(limit: int) -> None:
    asked: list[int] = []

    def fits(number: int) -> bool:
        asked.append(number)
        return number <= limit

    assert largest(fits, most=64) == min(limit, 64)
    assert len(asked) == len(set(asked)) <= 14
    assert max(asked) <= 64


def test_the_whole_way_with_tiny_sizes(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    options = "--device cpu --only table --sizes tiny --wanted 1 --rows 4 --response 4 --microbatch 512 --square 32"
    command = [sys.executable, "benchmarks/speed/gpu.py", *options.split(), "--work", str(tmp_path), "--out", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"HEED_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = {one["name"]: one for one in json.loads(out.read_text(encoding="utf-8"))}
    for method in ("full", "lora"):
        line = f"CPU, tiny-{method} bf16, batch 4: "
        assert rows[f"{line}ratio error"]["value"] <= 1e-2
        assert 4 <= rows[f"{line}response tokens"]["value"] <= 16
        phases = sum(rows[line + phase]["value"] for phase in ("generation", "score", "update"))
        assert rows[f"{line}total"]["value"] == pytest.approx(phases)
        assert all(rows[line + what]["value"] > 0 for what in ("peak memory", "update: model FLOP utilisation"))


def test_a_card_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEED_DEVICE", "cpu")
    monkeypatch.setattr(placement, "num_gpus", lambda: 1)
    monkeypatch.setattr("sys.argv", ["gpu.py", "--device", "cuda:77", "--out", str(tmp_path / "results.json")])
    with pytest.raises(
        SystemExit, match=r"^HEED_DEVICE=cuda:77: the last GPU here is cuda:0; set another device, or cpu$"
    ):
        gpu.main()
    assert not list(tmp_path.iterdir())
