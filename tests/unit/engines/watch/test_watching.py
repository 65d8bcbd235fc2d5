"""Monitors in a whole run: what an alert leaves behind, rolling back, and kills."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from heedful.engines.watch import watching
from heedful.engines.watch.alerts import ALERTS
from heedful.errors import ConfigError, DataError, HealthError
from heedful.models.opening import open_generator
from heedful.records.artifacts import Artifact
from heedful.records.types import Prompt
from heedful.stages import align
from tests.alignment import SCORERS, aligned, inputs, rows, settings
from tests.interruptions import interrupted, killed

GOLD = """
def rises_and_falls(prompts, completions, **columns):
    return [sum(c.isascii() and c.islower() for c in text) - 0.5 * len(text) for text in completions]

def wears_off(prompts, completions, **columns):
    global asked
    asked = globals().get("asked", 0) + 1
    return [sum(c.isascii() and c.islower() for c in text) - 5.0 * asked for text in completions]

def breaks(prompts, completions, **columns):
    global calls
    calls = globals().get("calls", 0) + 1
    # The first rollout is scored twice, to see whether order matters; so the third one is the fourth call.
    return [float("nan") if calls > 3 and i == 1 else len(text) for i, text in enumerate(completions)]
"""
WITH_GOLD: dict[str, Any] = {"gold": {"function": "gold.py:rises_and_falls", "every": 2, "prompts": 8}}
LOUD = {"truncation": {"threshold": -1.0, "window": 3}, "phrase": {"threshold": 0.1, "window": 1}}
"""Thresholds that any run is beyond."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def given(store: Path) -> dict[str, Artifact]:
    return prepared(store)


def prepared(store: Path) -> dict[str, Artifact]:
    found = inputs(store)
    (store.parent / "gold.py").write_text(GOLD)
    (store.parent / "scorers.py").write_text(SCORERS + GOLD)
    return found


def alerts(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / ALERTS).read_text().splitlines()]


def trained_weights(artifact: Artifact, folder: str = "model") -> dict[str, torch.Tensor]:
    return load_file(artifact.path / folder / "adapter" / "adapter_model.safetensors")


def test_an_alert_is_written_printed_and_kept_in_the_manifest(
    store: Path, given: dict[str, Artifact], capsys: pytest.CaptureFixture[str]
) -> None:
    # the random bytes of an untrained policy have a bigram or have none: nothing to watch here
    quiet = {"diversity": {"threshold": -1.0}}
    artifact = aligned(store, given, iterations=4, monitors={"truncation": {"threshold": -1.0, "window": 2}, **quiet})
    (alert,) = alerts(artifact.path)
    assert (alert["iteration"], alert["monitor"], alert["metric"]) == (1, "truncation", "truncated_share")
    assert alert["value"] == pytest.approx(rows(artifact)[1]["truncated_share"] - rows(artifact)[0]["truncated_share"])
    assert len(alert["worst"]) == 3
    assert set(alert["worst"][0]) == {"prompt", "completion", "score", "length"}
    assert "warning in iteration 1: truncation: " in capsys.readouterr().err
    assert artifact.facts["alerts"] == [{name: alert[name] for name in alert if name != "worst"}]


def test_monitors_change_no_number_of_a_run(store: Path, given: dict[str, Artifact]) -> None:
    bare = rows(aligned(store, given, monitors={"enabled": False}))
    watched = rows(aligned(store, given, monitors={**WITH_GOLD, **LOUD}))
    assert [{name: row[name] for name in bare[0]} for row in watched] == bare
    assert set(watched[0]) - set(bare[0]) >= {"length_correlation", "seq_rep_4", "tied_share", "gold_mean"}


def test_a_run_without_monitors_writes_nothing_of_them(store: Path, given: dict[str, Artifact]) -> None:
    artifact = aligned(store, given, monitors={"enabled": False, **LOUD})
    assert not (artifact.path / ALERTS).exists()
    assert "alerts" not in artifact.facts


def followed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """Collect the trainable weights before each update."""
    seen: list[dict[str, torch.Tensor]] = []
    after_rollout = watching.RunWatch.after_rollout

    def noted(watch: watching.RunWatch, *args: Any) -> dict[str, float]:
        seen.append({name: value.detach().clone() for name, value in watch._weights()})
        return after_rollout(watch, *args)

    monkeypatch.setattr(watching.RunWatch, "after_rollout", noted)
    return seen


def same_weights(saved: dict[str, torch.Tensor], seen: dict[str, torch.Tensor]) -> bool:
    """Adapter files carry other names for the same tensors, in the same order."""
    ours = {name.replace(".policy.", ".").split("base_model.")[-1]: v for name, v in seen.items() if "lora" in name}
    theirs = {name.split("base_model.")[-1]: value for name, value in saved.items()}
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_rolling_back_restores_the_best_weights_bit_for_bit(
    store: Path, given: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = followed(monkeypatch)
    rule = {"truncation": {"threshold": -1.0, "window": 6, "action": "roll_back"}}
    artifact = aligned(store, given, iterations=9, monitors={**WITH_GOLD, **rule})
    best: Any = artifact.facts["best"]
    table = rows(artifact)
    assert len(table) == 6
    measured = {row["iteration"]: row["gold_mean"] for row in table if "gold_mean" in row}
    assert (best["value"], best["by"]) == (max(measured.values()), "gold_mean")
    assert measured[best["iteration"]] == best["value"]
    assert same_weights(trained_weights(artifact), seen[best["iteration"]])
    assert sum(same_weights(trained_weights(artifact), each) for each in seen) == 1
    assert str(artifact.facts["stopped"]).startswith("monitor truncation: ")
    assert not (artifact.path / "best").exists()


def test_gold_that_falls_while_the_score_rises_rolls_back_unless_told_otherwise(
    store: Path, given: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gold says five less each time it is asked, and the policy learns to score: the run ends with its first weights."""
    seen = followed(monkeypatch)
    gold = {"gold": {"function": "gold.py:wears_off", "every": 1, "prompts": 12}}
    artifact = aligned(store, given, iterations=12, monitors=gold)
    table, best = rows(artifact), artifact.facts["best"]
    assert len(table) < 12
    assert table[-1]["gold_mean"] < table[0]["gold_mean"]
    assert table[-1]["gold_score_mean"] > table[0]["gold_score_mean"]
    assert "roll_back" in {alert["action"] for alert in alerts(artifact.path)}
    assert str(artifact.facts["stopped"]).startswith("monitor gold_")
    assert isinstance(best, dict) and best["iteration"] == 0
    assert same_weights(trained_weights(artifact), seen[0])
    warned = {name: {"action": "warn"} for name in ("gold_falls", "gold_drop")}
    assert len(rows(aligned(store, given, iterations=12, monitors={**gold, **warned}))) == 12


def test_a_stop_keeps_the_best_beside_the_last(
    store: Path, given: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = followed(monkeypatch)
    rule = {"truncation": {"threshold": -1.0, "window": 4, "action": "stop"}}
    artifact = aligned(store, given, iterations=9, monitors={**WITH_GOLD, **rule})
    best: Any = artifact.facts["best"]
    assert len(rows(artifact)) == 4
    assert same_weights(trained_weights(artifact, "best/model"), seen[best["iteration"]])
    assert not any(
        same_weights(trained_weights(artifact), each) for each in seen
    )  # the last update came after them all
    assert (artifact.path / "best" / "value_head.safetensors").is_file()
    assert open_generator(artifact.path / "best" / "model").renderer is not None


def test_the_best_weights_are_kept_where_they_are_asked_for(
    store: Path, given: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = followed(monkeypatch)
    artifact = aligned(store, given, iterations=5, stop={"keep": "best"})
    best: Any = artifact.facts["best"]
    scores = [row["score_mean"] for row in rows(artifact)]
    assert best["by"] == "score_mean"
    assert scores[best["iteration"]] == best["value"] == max(scores)
    assert same_weights(trained_weights(artifact), seen[best["iteration"]])


def test_a_reward_that_is_no_number_is_an_alert_and_no_step_is_taken(store: Path, given: dict[str, Artifact]) -> None:
    with pytest.raises((HealthError, DataError)):
        aligned(store, given, reward={"function": "scorers.py:breaks"})
    (work,) = store.glob("*.work")
    (alert,) = alerts(work)
    assert (alert["iteration"], alert["monitor"], alert["metric"]) == (2, "health", "score_mean")
    assert alert["action"] == "stop"
    assert "nan" in alert["message"]
    assert len(alert["worst"]) == 3
    assert len((work / "metrics.jsonl").read_text().splitlines()) == 2


CHANGES: dict[str, Any] = {"iterations": 10, "checkpoint_every": 3, "monitors": {**WITH_GOLD, **LOUD}}


def test_killed_with_9_a_watched_run_ends_with_the_same_bits_and_alerts(
    store: Path, given: dict[str, Artifact], tmp_path: Path
) -> None:
    whole = aligned(store, given, **CHANGES)
    assert len(alerts(whole.path)) >= 2
    assert (whole.path / "best").is_dir()
    cut = tmp_path / "cut" / "store"
    again = prepared(cut)
    assert killed(cut, again, CHANGES, after_rows=5)
    finished = aligned(cut, again, **CHANGES)
    assert finished.manifest["files"] == whole.manifest["files"]
    assert finished.facts == whole.facts


@pytest.mark.parametrize("broken_at", [1, 4, 7])
def test_a_run_that_was_interrupted_counts_on(
    store: Path, given: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken_at: int
) -> None:
    changes = {**CHANGES, "iterations": 9, "checkpoint_every": 2}
    whole = aligned(store, given, **changes)
    cut = tmp_path / "cut" / "store"
    again = prepared(cut)
    with interrupted(monkeypatch, before=broken_at):
        aligned(cut, again, **changes)
    finished = aligned(cut, again, **changes)
    assert finished.manifest["files"] == whole.manifest["files"]
    assert finished.facts == whole.facts


def test_gold_answers_the_same_prompts_each_time(
    store: Path, given: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[Prompt]] = []
    score = watching.FunctionScorer.score

    def noted(scorer: Any, prompts: Any, completions: Any, **columns: Any) -> Any:
        if scorer.reference.startswith("gold.py"):
            asked.append(list(prompts))
        return score(scorer, prompts, completions, **columns)

    monkeypatch.setattr(watching.FunctionScorer, "score", noted)
    aligned(store, given, iterations=5, monitors=WITH_GOLD)
    assert len(asked) == 3
    assert asked[0] == asked[1] == asked[2]
    assert len(set(map(str, asked[0]))) == 8


def test_two_gold_scorers_or_one_that_nobody_asks_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"monitors\.gold\.function, not both"):
        align.check(settings(monitors=WITH_GOLD), {"policy", "prompts", "gold"})
    with pytest.raises(ConfigError, match="never be asked"):
        align.check(settings(monitors={"enabled": False}), {"policy", "prompts", "gold"})
    with pytest.raises(ValueError, match=r"needs monitors\.enabled"):
        settings(monitors={"enabled": False}, stop={"keep": "best"})


def test_the_gold_function_is_part_of_the_digest(store: Path, given: dict[str, Artifact]) -> None:
    assert given
    one = align.external(settings(monitors=WITH_GOLD), store.parent)
    (store.parent / "gold.py").write_text(GOLD + "\n# changed\n")
    two = align.external(settings(monitors=WITH_GOLD), store.parent)
    assert set(one) == {"reward.function", "monitors.gold.function"}
    assert one["monitors.gold.function"] != two["monitors.gold.function"]
