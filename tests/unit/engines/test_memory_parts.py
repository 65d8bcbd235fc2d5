"""The parts of a run's memory, counted by hand from the shapes of its models."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from heedful.engines import memory_parts
from heedful.engines.generation import sample
from heedful.engines.memory_parts import MemoryWatch, size_of
from heedful.models.adapters import add_lora
from heedful.models.policy import base_reference, copied_reference
from heedful.testing.policies import byte_causal, byte_policy
from tests.alignment import aligned, inputs
from tests.families import some_prompts

FLOAT = 4
"""Bytes."""


def weights(model: Any) -> int:
    return sum({id(p): p.numel() for p in model.parameters()}.values())


def watch(policy: Any, reference: Any, optimizer: Any = None) -> MemoryWatch:
    optimizer = optimizer or torch.optim.AdamW([p for _, p in policy.trainable()])
    return MemoryWatch(policy, reference, optimizer, before=1000)


def test_a_storage_is_counted_once() -> None:
    whole = torch.zeros(10)
    assert size_of([whole, whole[3:], whole.view(2, 5), torch.zeros(2)]) == 10 * FLOAT + 2 * FLOAT


def test_an_adapter_run_holds_its_base_once_and_its_reference_is_free() -> None:
    """r = 4 on q and v of each layer: A is r x in, B is out x r; the value head adds its own few."""
    base = byte_causal()
    total = weights(base)
    linear = [m for name, m in base.named_modules() if name.endswith(("q_proj", "v_proj"))]
    adapter = sum(4 * (m.in_features + m.out_features) for m in linear)
    policy = byte_policy(add_lora(base, r=4, alpha=8.0, targets=["q_proj", "v_proj"], seed=0))
    trained = adapter + sum(p.numel() for p in policy.value_head.parameters())  # type: ignore[union-attr]
    parts = watch(policy, base_reference(policy)).parts()
    assert parts["before"] == 1000
    assert parts["trainable"] == trained * FLOAT
    assert parts["frozen"] - total * FLOAT == sum(each.nbytes for each in policy.model.buffers())
    assert (parts["reference"], parts["gradients"], parts["optimizer"]) == (0, 0, 0)


def test_full_training_holds_a_copy_gradients_and_two_moments() -> None:
    policy = byte_policy(byte_causal())
    reference = copied_reference(policy)
    optimizer = torch.optim.AdamW([p for _, p in policy.trainable()])
    trained = [p for _, p in policy.trainable()]
    for parameter in trained:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    parts = watch(policy, reference, optimizer).parts()
    size = sum(p.numel() for p in trained) * FLOAT
    assert (parts["trainable"], parts["gradients"]) == (size, size)
    assert parts["optimizer"] == 2 * size + len(trained) * FLOAT  # and a count of steps for each
    assert parts["reference"] == weights(policy.model) * FLOAT


def test_the_cache_is_that_of_the_largest_batch() -> None:
    """Keys and values of each layer: rows x heads x (prompt + decisions) x width of a head."""
    policy = byte_policy(byte_causal())
    prompts = some_prompts((5, 5, 5))
    sampled = sample(policy, prompts, [1, 2, 3], max_new_tokens=6, batch_rows=2)
    config = policy.bare.config
    cells = 2 * config.num_key_value_heads * (5 + 6) * config.head_dim
    assert sampled.cache_bytes == 2 * config.num_hidden_layers * cells * FLOAT


def test_the_highest_peak_of_a_phase_is_kept_with_its_parts_and_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = byte_policy(byte_causal())
    measured = watch(policy, copied_reference(policy))
    known = sum(measured.parts().values())
    for more in (500, 900, 100):
        monkeypatch.setattr(memory_parts, "peak_since_restart", lambda more=more: known + more)
        measured.end("update", cache=200)
    assert (measured.peaks["update"]["cache"], measured.peaks["update"]["rest"]) == (200, 700)
    assert sum(measured.peaks["update"].values()) == known + 900
    assert "rollout" not in measured.peaks


def test_the_parts_add_up_to_the_peak_where_earlier_memory_was_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = byte_policy(byte_causal())
    measured = watch(policy, copied_reference(policy))
    known = sum(measured.parts().values())
    monkeypatch.setattr(memory_parts, "peak_since_restart", lambda: known - 300)
    measured.end("rollout")
    parts = measured.peaks["rollout"]
    assert (parts["before"], parts["rest"], sum(parts.values())) == (1000 - 300, 0, known - 300)


def test_a_run_writes_them_beside_its_bits(tmp_path: Path) -> None:
    store = tmp_path / "store"
    finished = aligned(store, inputs(store), iterations=2)
    lines = [json.loads(line) for line in (finished.path / "timings.jsonl").read_text().splitlines()]
    memory = next(line["memory"] for line in lines if "memory" in line)
    assert set(memory) == {"rollout", "update"}
    assert memory["rollout"]["cache"] > 0 == memory["update"]["cache"]
    assert memory["update"]["gradients"] == memory["update"]["trainable"] > 0
    assert memory["update"]["optimizer"] > 2 * memory["update"]["trainable"]
    assert "timings.jsonl" not in finished.manifest["files"]
