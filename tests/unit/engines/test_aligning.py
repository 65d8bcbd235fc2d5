import dataclasses
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from heedful.engines import aligning, generation
from heedful.engines.aligning import RATIO_TOLERANCE, PromptStream
from heedful.errors import ConfigError, HealthError
from heedful.models.loading import load_language_model
from heedful.models.opening import open_generator
from heedful.models.policy import LanguagePolicy
from heedful.records.artifacts import Artifact
from heedful.records.types import Completion, Demonstration, PromptRecord
from heedful.stages import align, sft
from heedful.testing.artifacts import artifact_of, run_stage
from heedful.testing.policies import byte_causal, byte_encoder_decoder, byte_tokenizer
from heedful.testing.tiny import save_model
from tests.alignment import aligned, inputs, rows, settings
from tests.interruptions import killed
from tests.tolerances import BF16, FP32_SUM


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
    kept = artifact.records("answers", Completion)
    for row in table:
        scores = [answer.meta["score"] for answer in kept if answer.meta["iteration"] == row["iteration"]]
        assert np.mean(scores) == pytest.approx(row["score_mean"], rel=FP32_SUM)
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


def test_killed_with_9_twice_and_started_again_gives_the_same_bits(
    store: Path, given: dict[str, Artifact], tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"iterations": 10, "checkpoint_every": 3}
    whole = aligned(store, given, **changes)
    cut = tmp_path / "cut" / "store"
    again = inputs(cut)
    moments = random.Random(5)
    for after_rows in (2, 6):
        assert killed(cut, again, changes, after_rows=after_rows, pause=moments.uniform(0, 0.05))
        assert list(cut.glob("*.work"))
    finished = aligned(cut, again, **changes)
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


def test_out_of_memory_cuts_forwards_smaller_for_the_rest_of_the_run_also_after_a_break(
    store: Path, given: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate, roll_out = LanguagePolicy.evaluate, aligning.AlignmentRun._roll_out
    refused, started = [], []

    def scarce(policy: LanguagePolicy, table: Any) -> Any:
        if not refused:
            refused.append(len(table))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return evaluate(policy, table)

    def failing(run: aligning.AlignmentRun, iteration: int) -> Any:
        started.append((iteration, run.budget.cells))
        if len(started) == 3:
            raise KeyboardInterrupt
        return roll_out(run, iteration)

    monkeypatch.setattr(LanguagePolicy, "evaluate", scarce)
    monkeypatch.setattr(aligning.AlignmentRun, "_roll_out", failing)
    changes: dict[str, Any] = {"iterations": 3, "ppo": {"microbatch_tokens": 64}}
    with pytest.raises(KeyboardInterrupt):
        aligned(store, given, **changes)
    finished = aligned(store, given, **changes)
    assert started == [(0, 64), (1, 32), (2, 32), (2, 32)]
    assert finished.facts["microbatch_tokens"] == 32
    assert [row["optimizer_steps"] for row in rows(finished)] == [4, 4, 4]
    assert (
        "out of memory with 64 tokens per forward; going on with 32 (align.ppo.microbatch_tokens"
        in capsys.readouterr().err
    )


def test_out_of_memory_while_sampling_decodes_fewer_rows_for_the_rest_of_the_run_also_after_a_break(
    store: Path, given: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sample_batch, roll_out = generation._sample_batch, aligning.AlignmentRun._roll_out
    refused, started = [], []

    def scarce(policy: LanguagePolicy, prompts: Any, draws: Any) -> Any:
        if not refused:
            refused.append(len(prompts))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return sample_batch(policy, prompts, draws)

    def failing(run: aligning.AlignmentRun, iteration: int) -> Any:
        started.append((iteration, run.rollout.decoding.cells))
        if len(started) == 3:
            raise KeyboardInterrupt
        return roll_out(run, iteration)

    monkeypatch.setattr(generation, "_sample_batch", scarce)
    monkeypatch.setattr(aligning.AlignmentRun, "_roll_out", failing)
    with pytest.raises(KeyboardInterrupt):
        aligned(store, given, iterations=3)
    finished = aligned(store, given, iterations=3)
    count = settings().rollout.rows
    assert started == [(0, count), (1, count // 2), (2, count // 2), (2, count // 2)]
    assert (refused, finished.facts["decoded_rows"]) == ([count], count // 2)
    assert f"{count} rows decoded together; going on with {count // 2} (align.rollout.rows" in capsys.readouterr().err


def test_a_microbatch_that_holds_not_one_row_is_refused_with_its_numbers(
    store: Path, given: dict[str, Artifact]
) -> None:
    with pytest.raises(
        ConfigError, match=r"microbatch_tokens = 8 holds not even one row: .* \d+ tokens .* is 6; give at least"
    ):
        aligned(store, given, ppo={"microbatch_tokens": 8})


def test_layers_that_are_computed_again_change_nothing(store: Path, given: dict[str, Artifact], tmp_path: Path) -> None:
    plain = aligned(store, given, iterations=2)
    again = aligned(store, given, iterations=2, policy={"gradient_checkpointing": True})
    for name in ("metrics.jsonl", "value_head.safetensors"):
        assert again.manifest["files"][name] == plain.manifest["files"][name]
    with pytest.raises(ValueError, match="cannot tell two adapters on one base apart"):
        settings(policy={"gradient_checkpointing": True, "value": "separate"})


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


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_reference_that_changes_during_a_run_stops_it(
    store: Path, given: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    roll_out = aligning.AlignmentRun._roll_out

    def meddling(run: aligning.AlignmentRun, iteration: int) -> Any:
        if iteration == 1:
            next(iter(run.reference._weights.values())).data.view(-1)[0] += 1e-3
        return roll_out(run, iteration)

    monkeypatch.setattr(aligning.AlignmentRun, "_roll_out", meddling)
    with pytest.raises(HealthError, match="must stay frozen"):
        aligned(store, given, iterations=2, policy={"method": method})
    assert not list(store.glob("*/value_head.safetensors"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_run_whose_policy_is_not_its_reference_at_the_start_is_stopped(
    store: Path, given: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch, method: str, precision: str
) -> None:
    open_policy = aligning.open_policy

    def moved(*given: Any, **settings: Any) -> Any:
        policy, reference = open_policy(*given, **settings)
        generator = torch.Generator().manual_seed(0)
        for _, value in policy.trainable():
            value.data.add_(0.2 * torch.randn(value.shape, generator=generator))
        return policy, reference

    monkeypatch.setattr(aligning, "open_policy", moved)
    with pytest.raises(HealthError, match="does not start from its reference"):
        aligned(store, given, iterations=1, policy={"method": method, "precision": precision})


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_run_in_bf16_is_that_of_fp32_but_for_its_rounding(
    store: Path, given: dict[str, Artifact], method: str
) -> None:
    exact, rounded = (
        rows(aligned(store, given, iterations=3, policy={"method": method, "precision": precision}))
        for precision in ("fp32", "bf16")
    )
    assert abs(rounded[0]["kl_per_token"]) <= BF16
    assert all(row["ratio_error"] <= BF16 for row in rounded)
    assert 0 < abs(rounded[0]["rollout_entropy"] - exact[0]["rollout_entropy"]) <= BF16
    assert rounded[-1]["kl_per_token"] > 0


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_each_precision_has_its_own_tolerance_of_the_ratio(
    store: Path, given: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch, method: str, precision: str
) -> None:
    """Old log-probs that are off by half the tolerance pass; off by twice the tolerance they stop the run."""
    roll_out, tolerance = aligning.AlignmentRun._roll_out, RATIO_TOLERANCE[precision]
    changes: dict[str, Any] = {"iterations": 1, "policy": {"method": method, "precision": precision}}
    monkeypatch.setattr(aligning.AlignmentRun, "_roll_out", shifted(roll_out, tolerance / 2))
    error = rows(aligned(store, given, **changes))[0]["ratio_error"]
    assert error == pytest.approx(math.expm1(tolerance / 2), abs=FP32_SUM)
    monkeypatch.setattr(aligning.AlignmentRun, "_roll_out", shifted(roll_out, tolerance * 2))
    with pytest.raises(HealthError, match="the ratio is off 1"):
        aligned(store, given, seed=1, **changes)


def shifted(roll_out: Any, off: float) -> Any:
    """A rollout whose log-probs are lower by `off` nats than the policy's."""

    def wrapped(run: aligning.AlignmentRun, iteration: int) -> Any:
        table = roll_out(run, iteration)
        return dataclasses.replace(table, logprobs=table.logprobs - off * table.mask)

    return wrapped


@pytest.fixture
def adapted(store: Path, given: dict[str, Artifact]) -> dict[str, Artifact]:
    """Inputs whose policy is an SFT adapter on a base with pickled weights, which the user let be read."""
    base = save_model(store.parent / "base", byte_causal(0), byte_tokenizer())
    (base / "model.safetensors").unlink()
    torch.save(byte_causal(0).state_dict(), base / "pytorch_model.bin")
    shown = [Demonstration(id=str(i), prompt=f"House {i}?", completion="so hot") for i in range(4)]
    group = sft.LoraGroup(r=4, alpha=8.0)
    config = sft.Config(model=str(base), lora=group, allow_pickle=True, epochs=1)
    policy = run_stage(sft, config, {"demonstrations": artifact_of(store, "data", train__demonstrations=shown)}, store)
    return {**given, "policy": policy}


def test_a_run_goes_on_with_an_sft_adapter_on_a_base_that_was_pickled(
    store: Path, adapted: dict[str, Artifact]
) -> None:
    artifact = aligned(store, adapted, iterations=2, policy={"targets": "all-linear"})
    assert abs(rows(artifact)[0]["kl_per_token"]) <= FP32_SUM
    assert rows(artifact)[-1]["kl_per_token"] > 0
    folders = [each.path / "model" for each in (adapted["policy"], artifact)]
    pointers = [json.loads((folder / "base.json").read_text()) for folder in folders]
    assert pointers[0]["digest"] == pointers[1]["digest"]
    bases = [(folder / pointer["base"]).resolve() for folder, pointer in zip(folders, pointers, strict=True)]
    assert bases == [(folders[0] / "base").resolve()] * 2  # the safetensors copy that sft made
    assert list(open_generator(artifact.file("model")).trainable()) == []


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"r": 16}, r"align\.policy\.r = 16.*r = 4"),
        ({"method": "full"}, r'align\.policy\.method = "full".*merge'),
    ],
)
def test_settings_that_an_sft_adapter_contradicts_are_refused(
    store: Path, adapted: dict[str, Artifact], asked: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        aligned(store, adapted, policy=asked)


def test_an_adapter_keeps_its_shape_where_nothing_is_asked(store: Path, adapted: dict[str, Artifact]) -> None:
    config = align.Config(rollout=align.RolloutGroup(rows=8))
    policy, _ = aligning._open(config, adapted["policy"].path / "model", 0)
    assert policy.model.peft_config["policy"].r == 4


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
