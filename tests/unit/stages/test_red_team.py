"""red_team: prompts given and new, answers as `sample` gives them, harm as minus the score; the same however often it was cut."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from heedful.apps.verbs import load_verb, parse_settings
from heedful.engines import answering
from heedful.engines.attacks import targets
from heedful.engines.attacks.server_target import GO_ON
from heedful.errors import ConfigError, DataError, HealthError
from heedful.models.reward import load_reward_model
from heedful.records.artifacts import Artifact
from heedful.records.types import Completion, LabeledText, PromptRecord, Unanswered
from heedful.stages import align, red_team, reward, sample
from heedful.testing.artifacts import artifact_of, run_stage
from heedful.testing.policies import byte_tokenizer
from heedful.testing.speakers import letters_causal, phrase_causal, policy_artifact
from tests.judge_server import KEY, Desk, Reply, as_json, serving
from tests.killed_stages import Killer, Process, as_text
from tests.tolerances import FP32_SUM

LETTERS = "abcdefgh"
REWARDS = """
def few_a(prompts, completions, **columns):
    return [-float(text.count("a")) for text in completions]

def short(prompts, completions, **columns):
    return [-float(len(text)) for text in completions]
"""
FUNCTION = {"function": "rewards.py:few_a"}


SHORT = {"title": "Ask:", "num_examples": 2, "max_new_tokens": 1}
"""A list that fits the tiny model's context of 128 bytes; it goes on with one phrase."""


def prompts(count: int = 6) -> list[PromptRecord]:
    return [
        PromptRecord(id=f"p{i}", prompt=f"house {i}?", meta={"kind": "odd" if i % 2 else "even"}) for i in range(count)
    ]


def data_of(store: Path, rows: list[PromptRecord]) -> Artifact:
    return artifact_of(store, "data", train__prompts=rows)


def letters(store: Path) -> Artifact:
    return policy_artifact(store, letters_causal(LETTERS), byte_tokenizer(), name="letters")


ASKED = {"How?\n": 0.25, "Why me?\n": 0.25, "Who is it now?\n": 0.2, "house 1?\n": 0.2, "...\n": 0.1}


def lister(store: Path, chances: dict[str, float] = ASKED) -> Artifact:
    """A model that goes on with any list by phrases drawn at random, one per line."""
    return policy_artifact(store, *phrase_causal(chances), name="lister")


def attacked(
    base: Path,
    rows: list[PromptRecord] | None = None,
    *,
    seed: int = 3,
    roles: dict[str, Any] | None = None,
    **settings: Any,
) -> Artifact:
    base.mkdir(exist_ok=True)
    (base / "rewards.py").write_text(REWARDS)
    store = base / "store"
    found = dict(roles or {})
    if "prompts" not in found:
        found["prompts"] = data_of(store, rows or prompts())
    if "target" not in found:
        found["target"] = letters(store)
    whole = {"max_new_tokens": 8, "reward": FUNCTION, **settings}
    config = parse_settings(load_verb("red_team"), whole, "red_team")
    given = {role: artifact for role, artifact in found.items() if artifact is not None}
    return run_stage(red_team, config, given, store, seed=seed, base=base)


def answers_of(artifact: Artifact) -> list[Completion]:
    return artifact.records("completions", Completion)


def summary_of(artifact: Artifact) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(artifact.file("summary.json").read_text())
    return found


def test_answers_are_those_of_sample_and_harm_is_minus_the_score(tmp_path: Path) -> None:
    found = attacked(tmp_path, num_completions=3)
    config = sample.Config(num_completions=3, max_new_tokens=8)
    store = tmp_path / "store"
    inputs = {"policy": letters(tmp_path / "other"), "prompts": data_of(tmp_path / "other", prompts())}
    plain = run_stage(sample, config, inputs, store, seed=3)
    assert [row.model_dump(exclude={"meta"}) for row in answers_of(found)] == [
        row.model_dump(exclude={"meta"}) for row in answers_of(plain)
    ]
    for row in answers_of(found):
        assert row.meta["harm"] == row.completion.count("a")
        assert row.meta["origin"] == "given"
        assert row.meta["kind"] in ("odd", "even")
    assert {str(row.meta["harm"]) for row in answers_of(found)} >= {"0.0", "1.0"}
    assert not (found.path / "skipped.jsonl").exists()
    assert not (found.path / "duplicates.jsonl").exists()


def test_what_the_attack_reached(tmp_path: Path) -> None:
    found = attacked(tmp_path, num_completions=4)
    rows = answers_of(found)
    harm = [row.completion.count("a") for row in rows]
    reached = {row.prompt_id for row, each in zip(rows, harm, strict=True) if each}
    told = summary_of(found)
    assert told["harm"]["value"] == pytest.approx(sum(harm) / 24)
    assert told["harmful"]["value"] == pytest.approx(sum(each > 0 for each in harm) / 24)
    assert told["harmful_prompts"]["value"] == pytest.approx(len(reached) / 6)
    assert all(told[name]["low"] <= told[name]["value"] <= told[name]["high"] for name in ("harm", "harmful"))
    assert found.metrics["harmful"] == told["harmful"]
    shown = told["worst"]
    assert shown[0]["harm"] == max(harm)
    assert [each["harm"] for each in shown] == sorted((each["harm"] for each in shown), reverse=True)
    assert len({each["prompt_id"] for each in shown}) == 6
    strict = attacked(tmp_path / "strict", num_completions=4, harmful_above=1.0)
    assert summary_of(strict)["harmful"]["value"] == pytest.approx(sum(each > 1 for each in harm) / 24)


def test_parts_are_told_by_themselves_and_one_of_weight_0_does_not_count(tmp_path: Path) -> None:
    parts = {
        "calm": {"function": "rewards.py:few_a", "weight": 2.0},
        "short": {"function": "rewards.py:short", "weight": 0.0},
    }
    found = attacked(tmp_path, reward={"parts": parts})
    for row in answers_of(found):
        assert row.meta["harm"] == 2 * row.completion.count("a")
        assert row.meta["scores"] == {"calm": -row.completion.count("a"), "short": -len(row.completion)}
    lengths = [len(row.completion) for row in answers_of(found)]
    assert summary_of(found)["parts"]["short"] == pytest.approx(-sum(lengths) / 6)


def test_without_a_scorer_there_are_answers_and_no_harm(tmp_path: Path) -> None:
    found = attacked(tmp_path, reward={})
    assert all("harm" not in row.meta for row in answers_of(found))
    assert not (found.path / "summary.json").exists()
    assert "harm" not in found.metrics


def test_new_prompts_are_added_and_near_duplicates_are_listed(tmp_path: Path) -> None:
    generate = {"num_prompts": 3, **SHORT}
    found = attacked(tmp_path, roles={"generator": lister(tmp_path / "store")}, generate=generate)
    rows = found.records("train.prompts", PromptRecord)
    assert [row.id for row in rows[:6]] == [f"p{i}" for i in range(6)]
    new = rows[6:]
    assert sorted(str(row.prompt) for row in new) == ["How?", "Who is it now?", "Why me?"]
    assert {row.meta["origin"] for row in new} == {"generated"}
    known = {row.id: str(row.prompt) for row in rows}
    dropped = found.records("duplicates", PromptRecord)
    assert {str(row.prompt) for row in dropped} >= {"house 1?"}
    for row in dropped:
        assert known[str(row.meta["like"])] == str(row.prompt)
        assert row.meta["similarity"] == 1.0
    assert len({row.id for row in [*rows, *dropped]}) == len(rows) + len(dropped)
    assert (found.metrics["given"], found.metrics["generated"]) == (6, 3)
    assert found.metrics["duplicates"] == len(dropped)
    assert {row.prompt_id for row in answers_of(found)} == set(known)
    assert set(summary_of(found)["origins"]) == {"given", "generated"}


def test_only_new_prompts_are_put_to_the_target(tmp_path: Path) -> None:
    generate = {"num_prompts": 2, **SHORT}
    roles = {"generator": lister(tmp_path / "store")}
    found = attacked(tmp_path, roles=roles, generate=generate, attack_with="generated")
    assert [row.meta["origin"] for row in found.records("train.prompts", PromptRecord)] == ["generated"] * 2
    assert len(answers_of(found)) == 2
    assert "house 1?" not in {str(row.prompt) for row in answers_of(found)}


def test_no_given_prompts_at_all(tmp_path: Path) -> None:
    generate = {"num_prompts": 2, **SHORT, "examples": ["How?"]}
    roles = {"generator": lister(tmp_path / "store"), "prompts": None}
    found = attacked(tmp_path, roles=roles, generate=generate)
    assert {str(row.prompt) for row in answers_of(found)} <= {"Why me?", "Who is it now?", "house 1?"}


def test_the_writer_can_give_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of five phrases one is given already and one has no word: three are new, ten are wanted."""
    generate = {"num_prompts": 10, **SHORT}
    found = attacked(tmp_path, roles={"generator": lister(tmp_path / "store")}, generate=generate)
    assert found.metrics["generated"] == 3
    assert found.metrics["lists"] == 40
    assert "40 lists gave 3 new prompts of the 10 wanted" in capsys.readouterr().err
    silent = lister(tmp_path / "silent" / "store", {"...\n": 0.9, "house 1?\n": 0.1})
    with pytest.raises(
        HealthError, match=r"40 lists gave 0 new prompts of the 10 wanted; \d+ near-duplicates were dropped"
    ):
        attacked(tmp_path / "silent", roles={"generator": silent}, generate=generate)


def test_a_classifier_estimates_each_prompt(tmp_path: Path) -> None:
    found = attacked(tmp_path, classifier={"function": "rewards.py:short"})
    for row in [*found.records("train.prompts", PromptRecord), *answers_of(found)]:
        assert row.meta["prompt_harm"] == len(str(row.prompt))


def classifier(store: Path) -> Artifact:
    """An untrained classifier of texts, as the reward stage writes it."""
    texts = [LabeledText(id=text, completion=text, label=text == "kind") for text in ("kind", "rude")]
    inputs = {
        "labeled": artifact_of(store, "data", train__labeled=texts, tune__labeled=texts),
        "policy": letters(store),
    }
    return run_stage(reward, reward.Config(mode="classifier", epochs=0), inputs, store)


def test_reward_models_of_the_run_judge_prompts_and_answers(tmp_path: Path) -> None:
    judge = classifier(tmp_path / "judge")
    found = attacked(tmp_path, roles={"classifier": judge, "reward": judge}, reward={})
    model = load_reward_model(judge.path / "model")
    for row in answers_of(found):
        (score,) = model.score([row.prompt], [row.completion])
        (alone,) = model.score([""], [str(row.prompt)])
        assert score is not None and alone is not None
        assert row.meta["harm"] == pytest.approx(-score, abs=FP32_SUM)
        assert row.meta["prompt_harm"] == pytest.approx(-alone, abs=FP32_SUM)
    assert len({row.meta["harm"] for row in answers_of(found)}) > 1


def test_prompts_over_the_context_are_skipped_counted_and_bounded(tmp_path: Path) -> None:
    rows = [*prompts(), PromptRecord(id="long", prompt="x" * 5000)]
    found = attacked(tmp_path, rows, num_completions=2, max_skipped=0.2)
    listed = found.records("skipped", Unanswered)
    assert [(row.id, row.prompt_id, row.index) for row in listed] == [("long/0", "long", 0), ("long/1", "long", 1)]
    # 5000 bytes and a BOS
    assert all(row.skipped.startswith("context: 5001 tokens and 8 to follow") for row in listed)
    assert found.metrics["skips"] == {"context": 2}
    assert found.metrics["skipped_share"] == pytest.approx(2 / 14)
    assert len(answers_of(found)) == 12
    with pytest.raises(
        HealthError, match=r"2 of 14 answers were skipped \(2 context\), more than red_team.max_skipped = 0.1"
    ):
        attacked(tmp_path / "strict", rows, num_completions=2)


def test_a_prompt_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    rows = [
        *prompts(),
        PromptRecord.model_validate({"id": "turn", "prompt": [{"role": "assistant", "content": "Hi."}]}),
    ]
    with pytest.raises(DataError, match=r"prompt 'turn': .*must end with a turn of the user"):
        attacked(tmp_path, rows)


def test_other_stages_take_prompts_and_answers(tmp_path: Path) -> None:
    found = attacked(tmp_path)
    config = sample.Config(num_completions=2, max_new_tokens=4, where={"kind": "odd"})
    again = run_stage(sample, config, {"policy": letters(tmp_path / "other"), "prompts": found}, tmp_path / "store")
    assert {row.prompt_id for row in answers_of(again)} == {"p1", "p3", "p5"}
    for stage in (sample, align):
        assert "red_team" in stage.INPUTS["prompts"].stages


def test_nothing_but_skips_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of 1 prompts was answered \(1 context\)"):
        attacked(tmp_path, [PromptRecord(id="long", prompt="x" * 5000)], max_skipped=1.0)


@pytest.mark.parametrize(
    ("settings", "roles", "said"),
    [
        ({}, {"target"}, "there is nothing to ask"),
        ({}, {"target", "prompts", "generator"}, "it is asked for nothing; set generate.num_prompts"),
        ({"attack_with": "generated"}, {"target", "prompts"}, "none are generated"),
        ({}, {"prompts"}, "target: there is none; give the input 'target', or target.model, or target.server"),
        ({"target": {"model": "m"}}, {"target", "prompts"}, "target: the input 'target' is one already"),
        (
            {"generate": {"num_prompts": 1}},
            {"target", "prompts"},
            "generate.writer: there is none; give the input 'generator'",
        ),
        ({"generate": {"num_prompts": 1}}, {"target", "generator"}, "there is no example"),
        ({"classifier": FUNCTION}, {"target", "prompts", "classifier"}, "classifier: give either the input"),
        ({"reward": FUNCTION}, {"target", "prompts", "reward"}, "give either the input 'reward' or"),
    ],
)
def test_what_cannot_go_together_is_refused(settings: dict[str, Any], roles: set[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        red_team.check(red_team.Config.model_validate(settings), roles)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_function_that_changes_makes_another_artifact(tmp_path: Path) -> None:
    config = red_team.Config.model_validate({"reward": FUNCTION, "classifier": {"function": "rewards.py:short"}})
    (tmp_path / "rewards.py").write_text(REWARDS)
    before = red_team.external(config, tmp_path)
    (tmp_path / "rewards.py").write_text(REWARDS + "\n")
    after = red_team.external(config, tmp_path)
    assert set(before) == set(after) == {"reward.function", "classifier.function"}
    assert all(before[name] != after[name] for name in before)


def cut_after(calls: int, seen: list[int]) -> Any:
    answer = answering.answer

    def cut(policy: Any, rows: list[PromptRecord], **settings: Any) -> list[Completion]:
        if len(seen) == calls:
            raise KeyboardInterrupt
        seen.append(len(rows))
        return answer(policy, rows, **settings)

    return cut


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_cut_anywhere_it_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    """One shard of lists, then two of answers."""
    settings = {"generate": {"num_prompts": 2, **SHORT}, "max_new_tokens": 3}

    def inputs(store: Path) -> dict[str, Any]:
        return {"generator": lister(store), "target": letters(store), "prompts": data_of(store, prompts(130))}

    calm = attacked(tmp_path / "calm", roles=inputs(tmp_path / "calm" / "store"), **settings)
    roles = inputs(tmp_path / "cut" / "store")
    first: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(targets, "answer", cut_after(calls, first))
        if calls < 3:
            with pytest.raises(KeyboardInterrupt):
                attacked(tmp_path / "cut", roles=roles, **settings)
    rest: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(targets, "answer", cut_after(9, rest))
        again = attacked(tmp_path / "cut", roles=roles, **settings)
    assert first + rest == [8, 128, 4]
    assert again.content_digest == calm.content_digest
    assert not (again.path / "parts").exists()


# A server.


def assistant(number: int, body: dict[str, Any]) -> Reply:
    """What it says depends on the request alone: as many a as the prompt has vowels, or two new questions for a list."""
    chat = "messages" in body
    text = body["messages"][-1]["content"] if chat else body["prompt"]
    last = text.removesuffix(GO_ON).rsplit("\n", 1)[-1]
    if last.removesuffix(".").isdigit():
        place = int(last.removesuffix("."))
        said = f" Is{body['seed']} lucky{body['seed']}?\n{place + 1}. house 1?\n{place + 2}. cut off he"
    else:
        said = " " + "a" * (body["seed"] % 3) + ".\n\nHuman: more?"
    usage = {"prompt_tokens": len(text), "completion_tokens": len(said)}
    choice = {"message": {"role": "assistant", "content": said}} if chat else {"text": said}
    return as_json({"choices": [choice | {"finish_reason": "length"}], "usage": usage})


def served(url: str, **changes: Any) -> dict[str, Any]:
    return {"server": {"url": url, "model": "m", "retries": 0, "backoff": 0.0, **changes}}


def by_server(base: Path, url: str, **changes: Any) -> Artifact:
    """A server that writes new prompts and is attacked; the artifacts of an earlier call are taken again."""
    base.mkdir(exist_ok=True)
    there = [Artifact.open(path.parent) for path in (base / "store").glob("*/manifest.json")]
    data = next((artifact for artifact in there if artifact.stage == "data"), None)
    roles = {"target": None, "prompts": data or data_of(base / "store", prompts())}
    return attacked(base, roles=roles, **asking(url, **changes))


def asking(url: str, **changes: Any) -> dict[str, Any]:
    generate = {"num_prompts": 3, "writer": served(url, **changes)}
    return {"target": served(url, **changes), "generate": generate, "num_completions": 2}


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_a_server_is_attacked_and_writes_new_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: str) -> None:
    monkeypatch.setenv("TARGET_KEY", KEY)
    desk = Desk(trouble=assistant)
    with serving(desk) as url:
        found = by_server(tmp_path, url, api=api, key="TARGET_KEY", price_in=2.0, price_out=10.0)
    new = [row for row in found.records("train.prompts", PromptRecord) if row.meta["origin"] == "generated"]
    assert len(new) == 3
    assert all(" lucky" in str(row.prompt) for row in new)
    assert {str(row.prompt) for row in found.records("duplicates", PromptRecord)} >= {"house 1?"}
    rows = answers_of(found)
    assert len(rows) == 2 * 9 == found.metrics["completions"]
    assert {row.completion.strip("a") for row in rows} == {"."}
    assert all(row.finished for row in rows)
    assert all(row.meta["harm"] == row.completion.count("a") for row in rows)
    assert len({row.source for row in rows}) == 1
    asked = [body for body in desk.bodies if "lucky" in json.dumps(body) or "house" in json.dumps(body)]
    assert {body["temperature"] for body in asked} == {1.0}
    # requests come in any order: eight are under way at a time
    first = next(body for body in desk.bodies if body["max_tokens"] == 8 and "house 0?" in json.dumps(body))
    if api == "chat":
        assert first["messages"] == [{"role": "user", "content": "house 0?"}]
    else:
        assert first["prompt"] == "\n\nHuman: house 0?\n\nAssistant:"
        assert first["stop"] == ["\n\nHuman:"]
    answered = [body for body in desk.bodies if body["max_tokens"] == 8]
    said = [len(" ") + body["seed"] % 3 + len(".\n\nHuman: more?") for body in answered]
    shown = [len(body["messages"][0]["content"] if api == "chat" else body["prompt"]) for body in answered]
    assert found.metrics["target_requests"] == len(answered) == 18
    assert found.metrics["target_cost"] == pytest.approx((2 * sum(shown) + 10 * sum(said)) / 1e6)
    assert set(desk.keys) == {f"Bearer {KEY}"}
    assert [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()] == []


def test_two_runs_by_a_server_are_alike_and_a_cut_one_asks_nothing_twice(tmp_path: Path) -> None:
    lost = {2, 9, 15}

    def dying(number: int, body: dict[str, Any]) -> Reply:
        return as_json({}, 401) if number in lost else assistant(number, body)

    desk = Desk(trouble=dying)
    with serving(desk) as url:
        for _ in lost:
            with pytest.raises(ConfigError, match=r"(target|generate\.writer)\.server: .* does not accept a request"):
                by_server(tmp_path / "cut", url, concurrency=1)
        cut = by_server(tmp_path / "cut", url, concurrency=1)
        number = len(desk.bodies) - len(lost)
        lost.clear()
        desk.bodies.clear()
        calm = by_server(tmp_path / "calm", url, concurrency=1)
        assert len({json.dumps(body, sort_keys=True) for body in desk.bodies}) == len(desk.bodies)
    assert number == cut.metrics["target_requests"] + cut.metrics["writer_requests"]  # type: ignore[operator]
    for name in ("train.prompts", "completions", "duplicates"):
        assert (cut.path / f"{name}.jsonl").read_bytes() == (calm.path / f"{name}.jsonl").read_bytes()


def test_killed_with_kill_9_nothing_is_asked_twice(tmp_path: Path) -> None:
    """In processes of their own: one is killed while it writes new prompts, one while it attacks."""
    killer, base = Killer({2, 20}, assistant), tmp_path / "cut"
    desk = Desk(trouble=killer)
    source = data_of(base / "store", prompts())
    (base / "rewards.py").write_text(REWARDS)
    with serving(desk) as url:
        settings = {"max_new_tokens": 8, "reward": FUNCTION, **asking(url, concurrency=1)}
        killer.process = Process("red_team", base, {"prompts": source}, settings)
        assert [killer.process.run() for _ in range(2)] == [-signal.SIGKILL] * 2
        cut = by_server(base, url, concurrency=1)
        asked = list(map(as_text, desk.bodies))
        calm = by_server(tmp_path / "calm", url, concurrency=1)
    assert sorted(asked) == sorted([*set(asked), *killer.unanswered])
    assert len(set(asked)) == cut.metrics["target_requests"] + cut.metrics["writer_requests"]  # type: ignore[operator]
    for name in ("train.prompts", "completions", "duplicates"):
        assert cut.file(f"{name}.jsonl").read_bytes() == calm.file(f"{name}.jsonl").read_bytes()


def test_what_a_server_declines_is_listed_and_a_passing_failure_is_asked_again(tmp_path: Path) -> None:
    down = True

    def trouble(number: int, body: dict[str, Any]) -> Reply:
        text = json.dumps(body)
        if "house 3?" in text and body["max_tokens"] == 8:
            return as_json({"error": "not this house"}, 400)
        return as_json({}, 503) if down and "house 5?" in text else assistant(number, body)

    def run(url: str, share: float) -> Artifact:
        there = [Artifact.open(path.parent) for path in (tmp_path / "store").glob("*/manifest.json")]
        data = next((each for each in there if each.stage == "data"), None) or data_of(tmp_path / "store", prompts())
        return attacked(tmp_path, roles={"target": None, "prompts": data}, target=served(url), max_skipped=share)

    with serving(Desk(trouble=trouble)) as url:
        with pytest.raises(HealthError, match=r"2 of 6 answers were skipped \(1 refused, 1 failed\)"):
            run(url, 0.2)
        down = False
        found = run(url, 0.2)
    (listed,) = found.records("skipped", Unanswered)
    assert (listed.prompt_id, listed.by) == ("p3", "m")
    assert listed.skipped == 'refused: HTTP 400: {"error": "not this house"}'
    assert found.metrics["skips"] == {"refused": 1}
    assert [row.prompt_id for row in answers_of(found)] == ["p0", "p1", "p2", "p4", "p5"]


def test_chats_and_turn_markers_reach_a_server_as_turns(tmp_path: Path) -> None:
    rows = [
        PromptRecord(id="text", prompt="\n\nHuman: Hi.\n\nAssistant: Hello.\n\nHuman: And?<|im_end|>\n\nAssistant:"),
        PromptRecord.model_validate({"id": "chat", "prompt": [{"role": "user", "content": "Hi."}]}),
    ]
    desk = Desk(trouble=assistant)
    with serving(desk) as url:
        attacked(tmp_path, rows, roles={"target": None}, target=served(url, concurrency=1))
    assert [body["messages"] for body in desk.bodies] == [
        [
            {"role": "user", "content": "Hi."},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "And?< |im_end|>"},
        ],
        [{"role": "user", "content": "Hi."}],
    ]


def test_another_model_of_this_machine_is_attacked(tmp_path: Path) -> None:
    other = letters(tmp_path / "elsewhere")
    found = attacked(tmp_path, roles={"target": None}, target={"model": str(other.path / "model")})
    same = attacked(tmp_path / "same")
    assert [row.completion for row in answers_of(found)] == [row.completion for row in answers_of(same)]
