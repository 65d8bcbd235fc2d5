import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from heedful.engines import aligning
from heedful.engines.aligning import PromptStream
from heedful.errors import HealthError
from heedful.models.loading import load_language_model
from heedful.models.opening import open_generator
from heedful.records.artifacts import Artifact
from heedful.records.types import PromptRecord
from heedful.testing.policies import byte_encoder_decoder
from tests.alignment import aligned, inputs, rows, settings
from tests.tolerances import FP32_SUM


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def given(store: Path) -> dict[str, Artifact]:
    return inputs(store)


def test_a_run_writes_a_row_per_iteration_a_model_and_its_value_head(store: Path, given: dict[str, Artifact]) -> None:
    artifact = aligned(store, given)
    table = rows(artifact)
    assert [row["iteration"] for row in table] == list(range(6))
    assert abs(table[0]["kl_per_token"]) <= FP32_SUM
    assert all(row["ratio_error"] <= 1e-4 for row in table)
    assert table[-1]["kl_per_token"] > 0
    assert artifact.file("value_head.safetensors").is_file()
    assert artifact.metrics["iterations"] == 6
    assert artifact.facts["stopped"] == "all iterations done"
    assert not (artifact.path / "checkpoints").exists()
    assert list(open_generator(artifact.file("model")).trainable()) == []


@pytest.mark.parametrize("method", ["lora", "full"])
def test_two_runs_are_bit_identical_and_seeds_matter(
    store: Path, given: dict[str, Artifact], tmp_path: Path, method: str
) -> None:
    changes: dict[str, Any] = {"iterations": 3, "policy": {"method": method}}
    one = aligned(store, given, **changes)
    other = tmp_path / "other" / "store"
    two = aligned(other, inputs(other), **changes)
    assert one.manifest["files"] == two.manifest["files"]
    assert one.metrics == two.metrics
    three = aligned(store, given, seed=1, **changes)
    assert three.manifest["files"]["metrics.jsonl"] != one.manifest["files"]["metrics.jsonl"]


def test_the_base_is_never_written_to(store: Path, given: dict[str, Artifact]) -> None:
    before = load_language_model(given["policy"].path / "model").state_dict()
    aligned(store, given, iterations=2)
    given["policy"].verify()
    after = load_language_model(given["policy"].path / "model").state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


CHILD = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from heedful.records.artifacts import Artifact
from tests.alignment import aligned
store, policy, prompts = map(Path, sys.argv[1:4])
aligned(store, {"policy": Artifact.open(policy), "prompts": Artifact.open(prompts)}, iterations=10, checkpoint_every=3)
"""


def killed(store: Path, given: dict[str, Artifact], *, after_rows: int, pause: float) -> bool:
    """Run the same alignment in another process and kill it; False where it was done before."""
    arguments = [sys.executable, "-c", CHILD, str(store), *(str(given[role].path) for role in ("policy", "prompts"))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while child.poll() is None and _logged(store) < after_rows:
            time.sleep(0.005)
        time.sleep(pause)
    finally:
        child.send_signal(signal.SIGKILL)
    return child.wait() == -signal.SIGKILL


def _logged(store: Path) -> int:
    logs = list(store.glob("*.work/metrics.jsonl"))
    return len(logs[0].read_bytes().splitlines()) if logs else 0


def test_killed_with_9_twice_and_started_again_gives_the_same_bits(
    store: Path, given: dict[str, Artifact], tmp_path: Path
) -> None:
    whole = aligned(store, given, iterations=10, checkpoint_every=3)
    cut = tmp_path / "cut" / "store"
    again = inputs(cut)
    moments = random.Random(5)
    for after_rows in (2, 6):
        assert killed(cut, again, after_rows=after_rows, pause=moments.uniform(0, 0.05))
        assert list(cut.glob("*.work"))
    finished = aligned(cut, again, iterations=10, checkpoint_every=3)
    assert finished.manifest["files"] == whole.manifest["files"]
    assert finished.metrics == whole.metrics


def test_it_goes_on_from_the_checkpoint_and_not_from_the_start(
    store: Path, given: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {"kl": {"target": 0.5, "horizon": 50, "coef": 0.2}}
    whole = aligned(store, given, **changes)
    cut = tmp_path / "cut" / "store"
    again = inputs(cut)
    started: list[int] = []
    roll_out = aligning.AlignmentRun._roll_out

    def failing(run: aligning.AlignmentRun, iteration: int) -> Any:
        started.append(iteration)
        if len(started) == 6:
            raise KeyboardInterrupt
        return roll_out(run, iteration)

    monkeypatch.setattr(aligning.AlignmentRun, "_roll_out", failing)
    with pytest.raises(KeyboardInterrupt):
        aligned(cut, again, **changes)
    finished = aligned(cut, again, **changes)
    assert started == [0, 1, 2, 3, 4, 5, 4, 5]
    assert finished.manifest["files"] == whole.manifest["files"]
    coefs = [row["kl_coef"] for row in rows(finished)]
    assert len(set(coefs)) > 1  # the controller's state came back too


def test_it_stops_when_the_mean_score_is_reached(store: Path, given: dict[str, Artifact]) -> None:
    artifact = aligned(store, given, stop={"mean_reward": -1.0})
    assert artifact.metrics["iterations"] == 1
    assert "reached -1.0" in str(artifact.facts["stopped"])


def test_it_stops_when_the_kl_budget_is_spent(store: Path, given: dict[str, Artifact]) -> None:
    artifact = aligned(store, given, iterations=40, stop={"kl_budget": 1e-4}, kl={"coef": 0.0})
    table = rows(artifact)
    assert 1 < len(table) < 40
    assert all(row["kl_per_sequence"] <= 1e-4 for row in table[:-1])
    assert table[-1]["kl_per_sequence"] > 1e-4
    assert "budget of 0.0001 nats" in str(artifact.facts["stopped"])


def test_a_stopped_run_that_is_killed_before_its_end_stays_stopped(
    store: Path, given: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(_run: aligning.AlignmentRun) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(aligning.AlignmentRun, "finish", dead)
        with pytest.raises(KeyboardInterrupt):
            aligned(store, given, stop={"mean_reward": -1.0})
    artifact = aligned(store, given, stop={"mean_reward": -1.0})
    assert artifact.metrics["iterations"] == 1


@pytest.mark.parametrize("estimator", ["k1", "exact"])
def test_the_leash_holds(store: Path, given: dict[str, Artifact], estimator: str) -> None:
    """With a penalty far above any reward the policy stays near the reference; without one it leaves."""
    changes: dict[str, Any] = {"iterations": 10, "rollout": {"rows": 64}, "ppo": {"minibatch_rows": 32}}
    loose = rows(aligned(store, given, kl={"coef": 0.0}, **changes))[-1]["kl_per_sequence"]
    tight = rows(aligned(store, given, kl={"coef": 100.0, "estimator": estimator}, **changes))[-1]["kl_per_sequence"]
    assert loose > 1.0
    assert tight < loose / 2


def test_the_learning_rate_falls_to_zero(store: Path, given: dict[str, Artifact]) -> None:
    table = rows(aligned(store, given, iterations=4, optimizer={"schedule": "linear"}))
    assert [row["lr"] for row in table] == pytest.approx([0.01, 0.0075, 0.005, 0.0025])


def test_an_encoder_decoder_runs_the_same_way(tmp_path: Path) -> None:
    store = tmp_path / "t5" / "store"
    given = inputs(store, byte_encoder_decoder(0))
    artifact = aligned(store, given, iterations=2, policy={"targets": ["q", "v"]})
    assert abs(rows(artifact)[0]["kl_per_token"]) <= FP32_SUM


def test_a_score_that_cannot_be_given_stops_the_run(store: Path, given: dict[str, Artifact]) -> None:
    with pytest.raises(HealthError, match="the scorer gave None for row 0"):
        aligned(store, given, reward={"function": "scorers.py:broken"})
    assert not list(store.glob("*/value_head.safetensors"))


def test_a_policy_that_does_not_start_from_its_reference_is_refused() -> None:
    aligning._check_start(0.0, "fp32")
    with pytest.raises(HealthError, match="0 was expected"):
        aligning._check_start(1e-3, "fp32")


def test_prompts_come_in_a_fresh_order_each_pass_and_can_be_asked_for_at_any_time() -> None:
    prompts = [PromptRecord(id=str(i), prompt=str(i)) for i in range(10)]
    stream = PromptStream(prompts, rows=4, seed=0)
    seen = [p.id for i in range(5) for p in stream.at(i)]
    assert sorted(seen[:10]) == sorted(seen[10:]) == sorted(p.id for p in prompts)
    assert seen[:10] != seen[10:]
    assert [p.id for p in PromptStream(prompts, rows=4, seed=0).at(3)] == seen[12:16]
    assert [p.id for p in PromptStream(prompts, rows=4, seed=1).at(0)] != seen[:4]


def test_settings_are_those_of_the_stage() -> None:
    """The shared settings of these tests reach the stage, so that no test sets a field that does not exist."""
    config = settings(kl={"coef": 0.5})
    assert (config.kl.coef, config.rollout.rows, config.ppo.minibatch_rows) == (0.5, 8, 4)
