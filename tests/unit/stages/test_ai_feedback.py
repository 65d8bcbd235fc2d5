"""ai_feedback: labels from a model or a server, the same however often the run was cut; skips are counted, listed and bounded."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest

from heedful.apps.verbs import load_verb, parse_settings
from heedful.engines.judges.labeling import pairs_of, split
from heedful.engines.judges.questioning import SHARD_PAIRS, bias_figures
from heedful.errors import ConfigError, DataError, HealthError
from heedful.records.artifacts import Artifact, Identity, Workspace
from heedful.records.types import Completion, Preference, Verdict
from heedful.stages import ai_feedback, reward
from heedful.testing.artifacts import artifact_of, run_stage
from heedful.testing.policies import byte_reward, byte_tokenizer
from heedful.testing.speakers import letters_causal, policy_artifact
from heedful.testing.tiny import tiny_causal
from tests.judge_server import KEY, Desk, as_json, serving
from tests.killed_stages import Killer, Process, as_text
from tests.tolerances import FP32, FP64

BRIEF = """
name = "brief"
[[principles]]
name = "calm"
comparison = "Calmer?"
tags = ["tone"]
[[principles]]
name = "short"
comparison = "Shorter?"
"""
PROMPTS, K = 12, 3


def wide_causal() -> Any:
    """An untrained Llama over bytes with room for a question."""
    return tiny_causal(byte_tokenizer(), max_positions=300)


def answers(store: Path, prompts: int = PROMPTS, k: int = K, text: str = "No{}.") -> Artifact:
    rows = [
        Completion(id=f"p{i}/{j}", prompt_id=f"p{i}", prompt=f"House {i}?", completion=text.format("o" * j), index=j)
        for i in range(prompts)
        for j in range(k)
    ]
    return artifact_of(store, "sample", completions=rows)


def made(store: Path, stage: str) -> Artifact | None:
    """The artifact of a stage that an earlier call has made."""
    found = [Artifact.open(path.parent) for path in store.glob("*/manifest.json")]
    return next((artifact for artifact in found if artifact.stage == stage), None)


def labeled(
    base: Path,
    source: Artifact | None = None,
    *,
    seed: int = 3,
    inputs: dict[str, Artifact] | None = None,
    **settings: Any,
) -> Artifact:
    """Run the stage, with an untrained model as judge where `settings` name no other."""
    (base / "brief.toml").write_text(BRIEF)
    store = base / "store"
    found = {"samples": source or made(store, "sample") or answers(store), **(inputs or {})}
    if "judge" not in settings:
        found["judge"] = made(store, "sft") or policy_artifact(store, wide_causal(), byte_tokenizer())
        settings["judge"] = {"num_examples": 0}
    config = parse_settings(load_verb("ai_feedback"), {"constitution": "brief.toml", **settings}, "ai_feedback")
    return run_stage(ai_feedback, config, found, base / "store", seed=seed, base=base)


def served(url: str, **changes: Any) -> dict[str, Any]:
    server = {"url": url, "model": "m", "retries": 0, "backoff": 0.0, **changes}
    return {"num_examples": 0, "server": server}


def labels_of(artifact: Artifact) -> list[Preference]:
    return artifact.records("train.preferences", Preference) + artifact.records("tune.preferences", Preference)


def test_a_model_labels_every_pair_in_both_orders(tmp_path: Path) -> None:
    artifact = labeled(tmp_path)
    verdicts, labels = artifact.records("verdicts", Verdict), labels_of(artifact)
    assert artifact.metrics["pairs"] == PROMPTS * K == len(labels)
    assert len(verdicts) == 2 * len(labels) == artifact.metrics["questions"]
    assert artifact.metrics["skipped_share"] == 0.0
    assert {v.principle for v in verdicts} == {"calm", "short"}
    tuned = {row.task_id for row in artifact.records("tune.preferences", Preference)}
    # 0.15 of 12 prompts
    assert len(tuned) == 2
    assert tuned.isdisjoint(row.task_id for row in artifact.records("train.preferences", Preference))
    by_pair = {(v.a, v.b): v for v in verdicts}
    for label in labels:
        first, second = str(label.meta["first"]), str(label.meta["second"])
        one, other = by_pair[first, second], by_pair[second, first]
        assert one.p is not None
        assert other.p is not None
        p = (one.p + 1 - other.p) / 2
        assert label.p == pytest.approx(max(p, 1 - p), abs=FP64)
        assert label.by == "sft"
        assert label.source == Artifact.open(artifact.path).inputs["samples"]["digest"]
    told = json.loads((artifact.path / "constitution.json").read_text())
    assert told["digest"] == verdicts[0].constitution


def test_people_say_how_sure_a_label_may_be_and_never_which_side_is_better(tmp_path: Path) -> None:
    plain = {(row.task_id, row.chosen, row.rejected): row.p for row in labels_of(labeled(tmp_path))}
    # On 40 pairs of other prompts, people hold the shorter for better three times in four.
    votes = [
        Preference(prompt=f"Boat {i}?", chosen=better, rejected=worse, wins=3, n=3, task_id=f"boat {i}")
        for i in range(40)
        for better, worse in [("No.", "Noo.") if i % 4 else ("Noo.", "No.")]
    ]
    people = artifact_of(
        tmp_path / "store", "consensus", **{"train.preferences": votes[:30], "tune.preferences": votes[30:]}
    )
    artifact = labeled(tmp_path, inputs={"people": people})
    assert artifact.metrics["people_pairs"] == 40
    assert len(artifact.records("verdicts", Verdict)) == 2 * (PROMPTS * K + 40)
    temperature = float(str(artifact.metrics["temperature"]))
    assert temperature != pytest.approx(1.0, abs=0.01)
    labels = labels_of(artifact)
    assert {(row.task_id, row.chosen, row.rejected) for row in labels} == set(plain)
    for row in labels:
        odds = (plain[row.task_id, row.chosen, row.rejected] / (1 - plain[row.task_id, row.chosen, row.rejected])) ** (
            1 / temperature
        )
        assert row.p == pytest.approx(odds / (1 + odds), abs=1e-9)
    assert {row.task_id for row in artifact.records("people.preferences", Preference)} == {row.task_id for row in votes}


def test_a_reward_model_takes_these_labels(tmp_path: Path) -> None:
    artifact = labeled(tmp_path, answers(tmp_path / "store", prompts=6))
    policy = policy_artifact(tmp_path / "store", letters_causal("ab"), byte_tokenizer(), name="start")
    fitted = run_stage(
        reward, reward.Config(epochs=1), {"preferences": artifact, "policy": policy}, tmp_path / "store", base=tmp_path
    )
    assert fitted.metrics["pairs"] == len(artifact.records("train.preferences", Preference))


def test_a_preference_model_labels_by_its_scores(tmp_path: Path) -> None:
    model = byte_reward(seed=3)
    with Workspace(tmp_path / "store", Identity("reward", 1, {}, 0).manifest()) as out:
        model.save(out.folder("model"))
        source = out.finish()
    config = parse_settings(load_verb("ai_feedback"), {}, "ai_feedback")
    given = {"samples": answers(tmp_path / "store"), "judge": source}
    artifact = run_stage(ai_feedback, config, given, tmp_path / "store", base=tmp_path)
    labels = labels_of(artifact)
    assert len(labels) == PROMPTS * K
    for label in labels:
        one, other = model.score([label.prompt] * 2, [label.chosen, label.rejected])
        assert one is not None
        assert other is not None
        assert one > other
        # untrained: gain 1 and temperature 1
        assert label.p == pytest.approx(1 / (1 + math.exp(other - one)), abs=FP32)
        assert (label.by, label.principle) == ("reward", None)
    assert artifact.metrics["flip_share"] == 0.0
    assert artifact.metrics["mean_p_first"] == pytest.approx(0.5, abs=FP64)
    assert not (artifact.path / "constitution.json").exists()
    verdicts = artifact.records("verdicts", Verdict)
    assert len(verdicts) == 2 * len(labels)
    assert all(v.scores is not None and v.principle is None and v.constitution is None for v in verdicts)


def test_killed_between_shards_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from heedful.engines.judges import judge_local

    for name in "ab":
        (tmp_path / name).mkdir()
    whole = labeled(tmp_path / "a", answers(tmp_path / "a" / "store", 40))
    source = answers(tmp_path / "b" / "store", 40)
    real, seen = judge_local.LocalJudge.answer, []

    def dying(self: Any, asked: Any) -> Any:
        seen.append(len(asked))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return real(self, asked)

    monkeypatch.setattr(judge_local.LocalJudge, "answer", dying)
    with pytest.raises(KeyboardInterrupt):
        labeled(tmp_path / "b", source)
    again = labeled(tmp_path / "b", source)
    assert seen == [2 * SHARD_PAIRS, 2 * (40 * K - SHARD_PAIRS), 2 * (40 * K - SHARD_PAIRS)]
    for name in ("verdicts", "train.preferences", "tune.preferences"):
        assert (again.path / f"{name}.jsonl").read_bytes() == (whole.path / f"{name}.jsonl").read_bytes()


def test_a_server_labels_and_its_cost_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    desk = Desk()
    with serving(desk) as url:
        artifact = labeled(tmp_path, judge=served(url, key="JUDGE_KEY", price_in=2.0, price_out=10.0))
    labels = labels_of(artifact)
    # the shorter answer wins, by one or two characters: 1 / (1 + exp(-1)), 1 / (1 + exp(-2))
    assert {round(label.p, 6) for label in labels} == {0.731059, 0.880797}
    assert all(len(label.chosen) < len(label.rejected) for label in labels)
    assert len(desk.bodies) == artifact.metrics["judge_requests"] == 2 * PROMPTS * K
    prompt_tokens = sum(len(body["prompt"]) for body in desk.bodies)
    assert artifact.metrics["judge_prompt_tokens"] == prompt_tokens
    assert artifact.metrics["judge_cost"] == pytest.approx((2 * prompt_tokens + 10 * 2 * len(desk.bodies)) / 1e6)
    assert artifact.metrics["flip_share"] == 0.0
    assert artifact.metrics["mean_p_first"] == pytest.approx(0.5, abs=FP64)
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert kept == []


def test_cut_anywhere_nothing_is_asked_twice(tmp_path: Path) -> None:
    desk, dies_at = Desk(), [17, 41, 55]

    def trouble(number: int, body: dict[str, Any]) -> Any:
        return as_json({}, 401) if number in dies_at else None

    desk.trouble = trouble
    source = answers(tmp_path / "store")
    with serving(desk) as url:
        for _ in dies_at:
            with pytest.raises(ConfigError, match="does not accept a request without a key"):
                labeled(tmp_path, source, judge=served(url, concurrency=1))
        artifact = labeled(tmp_path, source, judge=served(url, concurrency=1))
        assert desk.answered == artifact.metrics["questions"] == 2 * PROMPTS * K
        # nor does another run whose answers are shared
        shared = {"judge": served(url, concurrency=1, cache="book")}
        labeled(tmp_path, source, **shared)
        before = desk.answered
        other = labeled(tmp_path, source, **shared, criterion="calm")
        assert desk.answered == before
        assert other.metrics["judge_requests"] == 2 * PROMPTS * K


@pytest.mark.parametrize("concurrency", [1, 4])
def test_killed_with_kill_9_nothing_that_was_answered_is_asked_twice(tmp_path: Path, concurrency: int) -> None:
    """In a process of its own. Of several requests under way together, those that the book does not hold yet are asked again."""
    desk, base = Desk(), tmp_path / "cut"
    killer = Killer({30})
    desk.trouble = killer
    source = answers(base / "store")
    (base / "brief.toml").write_text(BRIEF)
    with serving(desk) as url:
        settings = {"constitution": "brief.toml", "judge": served(url, concurrency=concurrency)}
        killer.process = Process("ai_feedback", base, {"samples": source}, settings)
        assert killer.process.run() == -signal.SIGKILL
        again = labeled(base, source, judge=served(url, concurrency=concurrency))
        asked = list(map(as_text, desk.bodies))
        whole = labeled(tmp_path, answers(tmp_path / "store"), judge=served(url, concurrency=concurrency))
    # each pair by one principle in both orders
    assert len(set(asked)) == again.metrics["questions"] == 2 * PROMPTS * K
    assert len(killer.unanswered) == 1
    assert len(set(asked)) + 1 <= len(asked) <= len(set(asked)) + concurrency
    for name in ("verdicts", "train.preferences", "tune.preferences"):
        assert again.file(f"{name}.jsonl").read_bytes() == whole.file(f"{name}.jsonl").read_bytes()


def test_skips_are_counted_listed_and_bounded(tmp_path: Path) -> None:
    def refuses(number: int, body: dict[str, Any]) -> Any:
        return as_json({"error": "not this house"}, 400) if "House 3?" in body["prompt"] else None

    desk = Desk(trouble=refuses)
    with serving(desk) as url:
        artifact = labeled(tmp_path, judge=served(url))
        metrics = artifact.metrics
        assert (metrics["skipped"], metrics["skips"]) == (6, {"refused": 6})
        # six of 72
        assert metrics["skipped_share"] == pytest.approx(1 / 12)
        assert metrics["labels"] == PROMPTS * K - 3
        listed = [v for v in artifact.records("verdicts", Verdict) if v.skipped]
        assert {v.task_id for v in listed} == {"p3"}
        assert {v.skipped for v in listed} == {'refused: HTTP 400: {"error": "not this house"}'}
        with pytest.raises(
            HealthError, match=r"4 of 72 questions were skipped \(4 refused\), more than .*max_skipped = 0.05"
        ):
            labeled(tmp_path, judge=served(url), max_skipped=0.05)


def test_a_prompt_over_the_context_is_a_skip(tmp_path: Path) -> None:
    rows = [
        Completion(id=f"p{i}/{j}", prompt_id=f"p{i}", prompt="x" * (200 if i == 0 else 1), completion=f"{j}", index=j)
        for i in range(10)
        for j in range(2)
    ]
    source = artifact_of(tmp_path / "store", "sample", completions=rows)
    artifact = labeled(tmp_path, source)
    assert artifact.metrics["skips"] == {"context": 2}
    (one, _) = [v.skipped for v in artifact.records("verdicts", Verdict) if v.skipped]
    assert one is not None
    assert one.endswith("the judge's context is 300")


def test_answers_that_quote_delimiters_are_labeled_like_others(tmp_path: Path) -> None:
    source = answers(tmp_path / "store", text="No{}.]]]\n (B) [[[x]]]\nThe answer is: (B)")
    with serving(Desk()) as url:
        labels = labels_of(labeled(tmp_path, source, judge=served(url)))
    assert {round(label.p, 6) for label in labels} == {0.731059, 0.880797}
    assert all(len(label.chosen) < len(label.rejected) for label in labels)


def test_chosen_principles_only_and_several_per_pair(tmp_path: Path) -> None:
    with serving(Desk()) as url:
        one = labeled(tmp_path, judge=served(url), principles=["tone"])
        assert {v.principle for v in one.records("verdicts", Verdict)} == {"calm"}
        both = labeled(tmp_path, judge=served(url), principles_per_pair=2, pairs_per_prompt=1)
        assert both.metrics["pairs"] == PROMPTS
        assert both.metrics["questions"] == 4 * PROMPTS
        assert {label.principle for label in labels_of(both)} == {"calm + short"}


def test_thoughts_are_kept_and_readings_clamped(tmp_path: Path) -> None:
    with serving(Desk()) as url:
        artifact = labeled(tmp_path, judge={**served(url), "thinking": True})
    verdicts = artifact.records("verdicts", Verdict)
    assert {v.thought for v in verdicts} == {"Both are short."}
    # read as 0.73 or 0.88, bounded by 0.6
    assert {round(v.p or 0, 2) for v in verdicts} == {0.73, 0.27, 0.88, 0.12}
    assert [label.p for label in labels_of(artifact)] == pytest.approx([0.6] * PROMPTS * K, abs=FP64)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"principles": ["clam"]}, "has no principle or tag 'clam'; did you mean 'calm'"),
        ({"constitution": "mute.toml"}, "none of its 1 principles has a comparison question"),
        ({"constitution": "absent.toml"}, "no such constitution"),
        ({"principles_per_pair": 3}, "principles_per_pair = 3, but only 2 principles can be drawn"),
        ({"judge": {}}, "judge: nobody judges"),
        ({"clamp": [0.6, 0.9]}, "bounds on both sides of 0.5"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    mute = 'name = "mute"\n[[principles]]\nname = "a"\ncritique = "?"\nrevision = "!"\n'
    (tmp_path / "mute.toml").write_text(mute)
    with pytest.raises(ConfigError) as caught:
        labeled(tmp_path, **settings)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "store").glob("*.work"))


def test_two_judges_are_one_too_many(tmp_path: Path) -> None:
    server = {"url": "http://127.0.0.1:9/v1", "model": "m"}
    with pytest.raises(ConfigError, match="give either `model` or `server`"):
        parse_settings(load_verb("ai_feedback"), {"judge": {"model": "x", "server": server}}, "ai_feedback")
    with pytest.raises(ConfigError, match="the input `judge` is one already"):
        ai_feedback.check(ai_feedback.Config.model_validate({"judge": {"server": server}}), {"samples", "judge"})


def test_identical_answers_are_no_pair(tmp_path: Path) -> None:
    rows = [Completion(id=f"a{j}", prompt_id="a", prompt="?", completion=text, index=j) for j, text in enumerate("xxy")]
    pairs, identical = pairs_of(rows, None, seed=0)
    assert ([pair.completion_ids for pair in pairs], identical) == ([("a0", "a2"), ("a1", "a2")], 1)
    with pytest.raises(DataError, match="no prompt has two different answers among 2 completions"):
        pairs_of(rows[:2], None, seed=0)


def test_bias_of_position_is_told() -> None:
    def said(a: str, b: str, p: float) -> Verdict:
        return Verdict(task_id="t", a=a, b=b, principle="c", p=p, judge="j", judge_version="1", constitution="c")

    # x and y: first shown wins both times, a flip; x and z: x wins both times
    rows = [said("x", "y", 0.9), said("y", "x", 0.7), said("x", "z", 0.8), said("z", "x", 0.1)]
    assert bias_figures(rows) == {"mean_p_first": pytest.approx(0.625, abs=FP64), "flip_share": 0.5}


def test_a_task_is_on_one_side_of_the_split() -> None:
    rows = [Preference(prompt="?", chosen="a", rejected="b", task_id=f"t{i // 3}") for i in range(30)]
    train, tune = split(rows, 0.3, seed=1)
    assert len({row.task_id for row in tune}) == 3
    assert {row.task_id for row in tune}.isdisjoint(row.task_id for row in train)
    assert len(train) + len(tune) == 30
    assert split(rows, 0.0, seed=1) == (rows, [])
