from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from heedful.engines.tracking import MetricWriter, to_trl_names
from heedful.errors import ConfigError, HealthError
from heedful.records.artifacts import Identity, Workspace

ROW = {"iteration": 2, "score_mean": 0.5, "kl_estimate": 4.0, "kl_coef": 0.05, "approx_kl": 0.01, "distinct_2": 0.9}


@pytest.fixture
def out(tmp_path: Path) -> Any:
    with Workspace(tmp_path, Identity("align", 1, {}, 0).manifest()) as workspace:
        yield workspace


def test_rows_go_to_the_workspace_under_our_names(out: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    writer = MetricWriter(out)
    writer.write(ROW)
    writer.close()
    assert out.rows() == [ROW]
    assert capsys.readouterr().err == "iteration 2: score_mean 0.500\n"


def test_the_names_are_those_of_trl() -> None:
    assert to_trl_names(ROW) == {
        "iteration": 2.0,
        "objective/scores": 0.5,
        "objective/kl": 4.0,
        "objective/non_score_reward": -0.2,
        "policy/approxkl_avg": 0.01,
        "heed/distinct_2": 0.9,
        "heed/kl_coef": 0.05,
    }


def test_a_number_that_is_none_stops_the_run(out: Workspace) -> None:
    with pytest.raises(HealthError, match="score_mean is nan at iteration 2"):
        MetricWriter(out).write({**ROW, "score_mean": float("nan")})
    assert out.rows() == []


def test_tensorboard_gets_the_curves(out: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setenv("HEED_TRACKER", "tensorboard")
    writer = MetricWriter(out)
    for i in range(3):
        writer.write({"iteration": i, "score_mean": i / 2})
    writer.close()
    events = accumulator.EventAccumulator(str(out.path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("objective/scores")] == [(0, 0.0), (1, 0.5), (2, 1.0)]
    assert out.finish().manifest["files"].keys() == {"metrics.jsonl"}  # curves carry the clock and are not hashed


def test_wandb_gets_the_same_names(out: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[tuple[dict[str, float], int]] = []
    run = SimpleNamespace(log=lambda metrics, step: logged.append((metrics, step)), finish=lambda: None)
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **_: run))
    monkeypatch.setenv("HEED_TRACKER", "wandb")
    writer = MetricWriter(out)
    writer.write({"iteration": 1, "entropy": 0.3})
    writer.close()
    assert logged == [({"iteration": 1.0, "policy/entropy_avg": 0.3}, 1)]


def test_a_library_that_is_missing_and_a_tracker_that_is_none(out: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    for name, message in (
        ("wandb", r"wandb is not installed; run: pip install"),
        ("tensorboard", "tensorboard is not installed"),
        ("excel", "HEED_TRACKER=excel: no such tracker"),
    ):
        monkeypatch.setenv("HEED_TRACKER", name)
        with pytest.raises(ConfigError, match=message):
            MetricWriter(out)


def test_the_parts_of_a_score_are_called_as_grpo_calls_reward_functions() -> None:
    row = {"score_mean.kind": 1.0, "score_sd.kind": 2.0, "scored_share.kind": 0.5, "score_mean": 3.0, "odd.": 4.0}
    assert to_trl_names(row) == {
        "rewards/kind/mean": 1.0,
        "rewards/kind/std": 2.0,
        "heed/scored_share.kind": 0.5,
        "objective/scores": 3.0,
        "heed/odd.": 4.0,
    }
