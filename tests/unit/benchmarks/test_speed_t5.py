"""Lengths that are given, on a real tiny T5, and the lines of the T5 part."""

import argparse
import json
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.speed import lengths, t5
from benchmarks.speed.duel import Side
from benchmarks.speed.models import SIZES, build

from heedful.engines import generation
from heedful.testing.policies import byte_causal, byte_encoder_decoder, byte_policy

OURS = Path(lengths.__file__).with_name("ours.py")


def test_lengths_are_spread_evenly() -> None:
    found = lengths.spread(16, 100, 400)
    assert sorted(found.tolist()) == list(range(100, 401, 20))
    assert found.tolist() != sorted(found.tolist())


@pytest.mark.parametrize("make", [byte_causal, byte_encoder_decoder])
def test_rows_end_just_where_they_are_told(make: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "_decoder", generation._decoder)  # put back afterwards
    policy = byte_policy(make(0))  # type: ignore[operator]
    prompts = policy.tokens(["a", "bcd", "ef", "ghij", "k"], room=12)
    lengths.end_at(2, 10)
    sampled = generation.sample(policy, prompts, range(5), max_new_tokens=10)
    assert sorted(sampled.mask.sum(1).tolist()) == [2, 4, 6, 8, 10]
    assert not sampled.truncated.any()
    stop = torch.isin(sampled.actions, torch.tensor(sorted(policy.stop))) & sampled.mask
    assert (stop.sum(1) == 1).all()


def test_every_line_has_a_size_and_layers_with_adapters() -> None:
    found = t5.settings()
    assert [s.name for s in found] == [
        "t5-60m-lora-bf16",
        "t5-60m-full-bf16",
        "t5-60m-lora-fp32",
        "t5-60m-full-fp32",
        "t5-250m-lab-bf16",
        "t5-250m-lab-fp32",
    ]
    assert {s.size for s in found} <= set(SIZES)
    assert [s.wanted for s in found] == [5, 5, 5, 5, 3, 3]


def test_a_tiny_t5_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(SIZES["t5-tiny"], tmp_path / "models" / "t5-tiny")
    monkeypatch.setenv("PYTHONPATH", str(OURS.parents[2] / "src"))

    def side(size: str, *options: str) -> Side:
        return Side("ours", [sys.executable, str(OURS), "--models", str(tmp_path / "models" / size), *options])

    options = ("--epochs", "1", "--rows", "4", "--response", "9", "--lengths", "3", "9", "--method", "lora")
    setting = t5.Setting("tiny", "t5-tiny", (*options, "--targets", "q", "wi_0"), 4, 1)
    args = argparse.Namespace(wanted=1, turns=9)
    rows = {one["name"]: one["value"] for one in t5.measure(side, tmp_path / "rows", setting, args)}
    assert rows["tiny, batch 4: response tokens per row, mean"] == 6
    assert rows["tiny, batch 4: total"] > 0
    log = [json.loads(line) for line in (tmp_path / "rows" / "tiny.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all(line["ratio_error"] < 1e-4 for line in log)
