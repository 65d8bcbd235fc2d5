"""Out of memory halves what is held at once and changes nothing else; freed memory goes back to the system."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from heedful.engines import generation
from heedful.engines.generation import Sampled, sample
from heedful.engines.memory import ForwardBudget, decoding_budget, is_out_of_memory
from heedful.engines.ppo import PPOSettings, update
from heedful.errors import HealthError
from tests.families import ALL
from tests.tolerances import FP32, FP32_SUM
from tests.unit.engines.test_generation import PROMPTS, SEEDS, policy_of, rows_of
from tests.unit.engines.test_ppo import ONE_STEP, Recorder, either_policy, lora, played

CPU_REFUSAL = (
    "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError(CPU_REFUSAL), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


REAL = """
import resource, torch
from heedful.engines.memory import ForwardBudget
MIB = 2**20
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 450 * MIB, used + 450 * MIB))
budget = ForwardBudget(1024)
print(budget.fit(lambda cells: torch.zeros(cells, MIB // 4).shape[0], longest=8), budget.cells)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory are set as on Linux")
def test_a_real_refusal_of_the_allocator_halves() -> None:
    """1 MiB a cell, 450 MiB there (of which threads may take some): 1024 and 512 are refused, 256 fit."""
    done = subprocess.run([sys.executable, "-c", REAL], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["256", "256"]
    first, second = done.stderr.strip().splitlines()
    assert first.startswith("out of memory with 1024 tokens per forward; going on with 512 (microbatch_tokens;")
    assert second.startswith("out of memory with 512 tokens per forward; going on with 256 (microbatch_tokens;")


class Refusing:
    """A policy whose forward number `refused` finds no memory."""

    def __init__(self, policy: Any, refused: int) -> None:
        self.policy, self.refused, self.calls, self.rows = policy, refused, 0, [0]

    def trainable(self) -> Any:
        return self.policy.trainable()

    def evaluate(self, table: Any) -> Any:
        self.calls += 1
        if self.calls == self.refused:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.rows.append(len(table))
        return self.policy.evaluate(table)


def gradients(policy: Any, settings: PPOSettings, budget: ForwardBudget | None = None) -> dict[str, Tensor]:
    recorder = Recorder(policy)
    update(policy, recorder, played(getattr(policy, "policy", policy)), settings, seed=0, budget=budget)
    assert recorder.calls == 1
    return recorder.gradients


@either_policy
@pytest.mark.parametrize("refused", [1, 2, 3])
def test_an_update_that_was_cut_smaller_has_the_same_gradients(build: Callable[[], Any], refused: int) -> None:
    """Three microbatches of 12 cells; whichever is refused, the step begins again with 6, the longest row."""
    settings = replace(ONE_STEP, microbatch_cells=12)
    whole = gradients(build(), settings)
    policy, budget = Refusing(build(), refused), ForwardBudget(12)
    again = gradients(policy, settings, budget)
    assert budget.cells == 6
    assert sum(policy.rows) > 8 or refused == 1, "rows before the refusal are computed again"
    for name, gradient in whole.items():
        assert_close(again[name], gradient, atol=FP32, rtol=FP32_SUM, msg=name)


def test_one_row_that_does_not_fit_is_an_error_with_its_numbers() -> None:
    policy = lora()
    recorder = Recorder(policy)
    longest = int(played(policy).costs.max())

    class Never(Refusing):
        def evaluate(self, table: Any) -> Any:
            raise RuntimeError(CPU_REFUSAL)

    budget = ForwardBudget(64, "align.ppo.microbatch_tokens")
    with pytest.raises(
        HealthError, match=f"one row of {longest} tokens per forward .align.ppo.microbatch_tokens = {longest}"
    ):
        update(Never(policy, 0), recorder, played(policy), ONE_STEP, seed=0, budget=budget)
    assert recorder.calls == 0


def test_any_other_error_is_passed_on_and_nothing_is_halved() -> None:
    budget = ForwardBudget(64)

    def wrong(cells: int) -> int:
        raise RuntimeError(f"not of memory, with {cells}")

    with pytest.raises(RuntimeError, match="not of memory, with 64"):
        budget.fit(wrong, longest=1)
    assert budget.cells == 64


def scarce_from(monkeypatch: pytest.MonkeyPatch, rows: int) -> list[int]:
    """Let the third token of a batch of `rows` rows or more find no memory; return the sizes of the batches that are begun."""
    begun: list[int] = []
    build = generation._decoder

    def decoder(policy: Any, prompts: Any, limit: int) -> Any:
        found: Any = build(policy, prompts, limit)
        steps: list[Tensor] = []
        step, size = found.step, len(prompts)
        begun.append(size)

        def limited(tokens: Tensor) -> Tensor:
            steps.append(tokens)
            if len(steps) == 2 and size >= rows:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return step(tokens)

        found.step = limited
        return found

    monkeypatch.setattr(generation, "_decoder", decoder)
    return begun


def drawn(policy: Any, **options: Any) -> Sampled:
    return sample(policy, PROMPTS, SEEDS, max_new_tokens=8, **options)


@pytest.mark.parametrize("family", ALL)
def test_completions_decoded_in_smaller_batches_for_want_of_memory_are_the_same(
    family: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six rows, then three, find no memory at the third token; one by one they do."""
    policy = policy_of(ALL[family]())
    whole = drawn(policy)
    begun = scarce_from(monkeypatch, rows=2)
    noted: list[int] = []
    budget = decoding_budget(6, "align.rollout.rows", noted.append)
    parts = drawn(policy, budget=budget)
    assert (begun, noted, budget.cells) == ([6, 3, *[1] * 6], [3, 1], 1)
    assert rows_of(parts) == rows_of(whole)
    assert_close(parts.logprobs, whole.logprobs, atol=FP32_SUM, rtol=FP32_SUM)
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith(
        "out of memory with 6 rows decoded together; going on with 3 (align.rollout.rows; each row has"
    )


def test_without_a_budget_batches_are_halved_too(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policy_of(ALL["llama"]())
    whole = drawn(policy)
    begun = scarce_from(monkeypatch, rows=4)
    assert rows_of(drawn(policy, batch_rows=5)) == rows_of(whole)
    assert begun == [5, 2, 2, 2]


def test_a_single_row_that_cannot_be_decoded_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policy_of(ALL["llama"](), frozenset())
    scarce_from(monkeypatch, rows=1)
    with pytest.raises(HealthError, match=r"1 row decoded by itself \(batch_rows = 1\); take shorter prompts"):
        drawn(policy)


FREED = """
import torch
from heedful.engines.memory import release
kept = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
tensors = [torch.ones(1000) for _ in range(50_000)]
last = torch.ones(1000)
full = kept()
del tensors
release()
print(full - kept())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc keeps freed heap, others do not")
def test_freed_memory_goes_back_to_the_system() -> None:
    """50,000 tensors of 4,000 bytes are too small for mappings of their own; they are 191 MiB together."""
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, timeout=120, check=True)
    assert int(done.stdout) > 100 * 2**20
