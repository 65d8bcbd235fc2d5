"""revise: rounds in the published layout, gates that count and list, harm before gates, the same however often the run was cut."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from heedful.apps.verbs import load_verb, parse_settings
from heedful.engines.revisions import writing
from heedful.engines.revisions.revision_rounds import unforged
from heedful.errors import ConfigError, DataError, HealthError
from heedful.records.artifacts import Artifact
from heedful.records.types import Completion, Demonstration, Message, Revision
from heedful.stages import revise, sft
from heedful.testing.artifacts import artifact_of, run_stage
from heedful.testing.policies import byte_tokenizer
from heedful.testing.speakers import phrase_causal, policy_artifact
from heedful.testing.tiny import tiny_causal
from tests.judge_server import KEY, as_json, serving
from tests.killed_stages import Killer, Process, as_text
from tests.writer_server import Author

BRIEF = """
name = "brief"
[[principles]]
name = "calm"
critique = "Rude?"
revision = "Calm it."
[[principles]]
name = "short"
critique = "Long?"
revision = "Cut it."
[[revisions]]
conversation = [{ role = "user", content = "Hi" }, { role = "assistant", content = "No." }]
critique_request = "Rude?"
critique = "Yes."
revision_request = "Calm it."
revision = "Hello."
"""
REWARDS = """
import os
from pathlib import Path
KILLED_AT = 0

def few_a(prompts, completions, **columns):
    return [-float(text.count("a")) for text in completions]

def long(prompts, completions, **columns):
    return [float(len(text)) for text in completions]

def once(prompts, completions, **columns):
    path = Path(__file__).parent / "scored.txt"
    done = path.read_text().splitlines() if path.exists() else []
    if len(done) + 1 == KILLED_AT:
        os.kill(os.getpid(), 9)
    path.write_text("\\n".join([*done, " ".join(completions)]))
    return few_a(prompts, completions)
"""
PARTS = {
    "calm": {"function": "rewards.py:few_a"},
    "long": {"function": "rewards.py:long", "weight": 0.0},
}
SCORED = {"function": "rewards.py:few_a"}
EXAMPLE = (
    "\n\nHuman: Hi\n\nAssistant: No.\n\nCritiqueRequest: Rude?\n\nCritique: Yes."
    "\n\nRevisionRequest: Calm it.\n\nRevision: Hello."
)


def attempts(store: Path, count: int = 6, text: str = "aab{}") -> Artifact:
    rows = [
        Completion(
            id=f"p{i}/0", prompt_id=f"p{i}", prompt=f"House {i}?", completion=text.format(i), meta={"odd": i % 2}
        )
        for i in range(count)
    ]
    return artifact_of(store, "sample", completions=rows)


def made(store: Path, stage: str = "sample") -> Artifact | None:
    """The artifact of a stage that an earlier call has made."""
    found = [Artifact.open(path.parent) for path in store.glob("*/manifest.json")]
    return next((artifact for artifact in found if artifact.stage == stage), None)


def prepare(base: Path, *, killed_at: int = 0) -> None:
    base.mkdir(exist_ok=True)
    (base / "brief.toml").write_text(BRIEF)
    (base / "rewards.py").write_text(REWARDS.replace("KILLED_AT = 0", f"KILLED_AT = {killed_at}"))


def revised(
    base: Path, source: Artifact | None = None, *, roles: dict[str, Any] | None = None, **settings: Any
) -> Artifact:
    prepare(base)
    store = base / "store"
    inputs = {"attempts": source or made(store) or attempts(store), **(roles or {})}
    config = parse_settings(load_verb("revise"), {"constitution": "brief.toml", **settings}, "revise")
    return run_stage(revise, config, inputs, store, seed=3, base=base)


def served(url: str, **changes: Any) -> dict[str, Any]:
    return {"server": {"url": url, "model": "m", "api": "completions", "retries": 0, "backoff": 0.0, **changes}}


def rows_of(artifact: Artifact) -> list[Revision]:
    return artifact.records("revisions", Revision)


def lessons_of(artifact: Artifact) -> list[Demonstration]:
    return artifact.records("train.demonstrations", Demonstration) + artifact.records(
        "tune.demonstrations", Demonstration
    )


def test_rounds_chain_in_the_published_layout(tmp_path: Path) -> None:
    author = Author()
    with serving(author) as url:
        found = revised(tmp_path, rounds=2, writer=served(url, concurrency=1), reward=SCORED)
    rows = [row for row in rows_of(found) if row.completion_id == "p0/0"]
    assert [(row.round, row.answer, row.critique, row.revision) for row in rows] == [
        (1, "aab0", "It is rude.", "ab0"),
        (2, "ab0", "It is rude.", "b0"),
    ]
    asks = {"calm": ("Rude?", "Calm it."), "short": ("Long?", "Cut it.")}
    for row in rows:
        critique, revision = asks[row.principle]
        text = f"{EXAMPLE}\n\nHuman: House 0?\n\nAssistant: {row.answer}\n\nCritiqueRequest: {critique}\n\nCritique:"
        prompts = [body["prompt"] for body in author.bodies]
        assert text in prompts
        assert f"{text} It is rude.\n\nRevisionRequest: {revision}\n\nRevision:" in prompts
    assert {body["temperature"] for body in author.bodies} == {1.0}
    assert {row.principle for row in rows_of(found)} == {"calm", "short"}
    # two a's, then one, then none
    assert json.loads(found.file("summary.json").read_text())["harm_by_round"] == [2.0, 1.0, 0.0]
    assert (found.metrics["learned"], found.metrics["writer_requests"]) == (12, 24)
    assert {lesson.meta["kind"] for lesson in lessons_of(found)} == {"revision"}


def test_cut_anywhere_nothing_is_asked_twice(tmp_path: Path) -> None:
    author, dies_at = Author(), [3, 12, 20]

    def trouble(number: int, body: dict[str, Any]) -> Any:
        return as_json({}, 401) if number in dies_at else None

    author.trouble = trouble
    (tmp_path / "whole").mkdir()
    source = attempts(tmp_path / "store")
    with serving(author) as url:
        for _ in dies_at:
            with pytest.raises(ConfigError, match=r"writer\.server: .* does not accept a request without a key"):
                revised(tmp_path, source, rounds=2, writer=served(url, concurrency=1))
        cut = revised(tmp_path, source, rounds=2, writer=served(url, concurrency=1))
        # 6 answers, 2 rounds, a critique and a revision each
        assert author.answered == 24
        whole = revised(tmp_path / "whole", source, rounds=2, writer=served(url, concurrency=1))
    for name in ("revisions", "train.demonstrations", "tune.demonstrations"):
        assert (cut.path / f"{name}.jsonl").read_bytes() == (whole.path / f"{name}.jsonl").read_bytes()


def test_killed_with_kill_9_nothing_is_asked_or_scored_twice(tmp_path: Path) -> None:
    """In processes of their own: one is killed while it asks for critiques, one for revisions, one while texts are scored."""
    author, base = Author(), tmp_path / "cut"
    killer = Killer({3, 12})
    author.trouble = killer
    with serving(author) as url:
        settings = {
            "constitution": "brief.toml",
            "rounds": 2,
            "writer": served(url, concurrency=1),
            "reward": {"function": "rewards.py:once"},
        }
        killer.process = Process(
            "revise",
            base,
            {"attempts": attempts(base / "store", 4)},
            settings,
            patches={"heedful.engines.attacks.harming.SHARD_SCORED": 2},
        )
        prepare(base, killed_at=4)
        ends = [killer.process.run() for _ in range(3)]
        assert ends == [-signal.SIGKILL] * 3
        scored = (base / "scored.txt").read_text().splitlines()
        assert len(scored) == 3
        prepare(base)
        assert killer.process.run() == 0
        asked = list(map(as_text, author.bodies))
        # 4 answers, 2 rounds, a critique and a revision each; what was under way was never answered
        assert author.answered == len(set(asked)) == 16
        assert sorted(asked) == sorted([*set(asked), *killer.unanswered])
        # each answer and its two revisions, two by two: "aab0 ab0", "b0 aab1" and so on
        rest = (base / "scored.txt").read_text().splitlines()
        assert rest[:3] == scored
        assert sorted(" ".join(rest).split()) == sorted(f"{a}b{i}" for a in ("aa", "a", "") for i in range(4))
        again = made(base / "store", "revise")
        whole = revised(tmp_path, attempts(tmp_path / "store", 4), **{**settings, "reward": SCORED})
    assert again is not None
    for name in ("revisions", "train.demonstrations", "tune.demonstrations"):
        assert again.file(f"{name}.jsonl").read_bytes() == whole.file(f"{name}.jsonl").read_bytes()


PHRASES = {" ok": 0.4, " aa": 0.2, "": 0.4}


def phrases(store: Path) -> Artifact:
    return policy_artifact(store, *phrase_causal(PHRASES), name="phrases")


LOOSE = {"max_skipped": 1.0, "max_unchanged": 1.0}
BY_MODEL = {"rounds": 1, "num_examples": 0, "max_new_tokens": 12, "gates": LOOSE}


def short_attempts(store: Path, count: int = 6) -> Artifact:
    rows = [Completion(id=f"p{i}/0", prompt_id=f"p{i}", prompt="?", completion="ok") for i in range(count)]
    return artifact_of(store, "sample", completions=rows)


def test_a_model_on_this_machine_writes_and_a_kill_loses_one_shard_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from heedful.engines.revisions import revising

    monkeypatch.setattr(revising, "SHARD_ANSWERS", 4)
    for name in "ab":
        (tmp_path / name).mkdir()
    roles = {"writer": phrases(tmp_path / "store")}
    source = short_attempts(tmp_path / "store", 12)
    whole = revised(tmp_path / "a", source, roles=roles, **BY_MODEL)
    real, calls = writing.LocalWriter.write, []

    def dying(self: Any, rows: Any) -> Any:
        calls.append([row.text for row in rows])
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, rows)

    monkeypatch.setattr(writing.LocalWriter, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        revised(tmp_path / "b", source, roles=roles, **BY_MODEL)
    again = revised(tmp_path / "b", source, roles=roles, **BY_MODEL)
    # two calls a shard; the first shard was not written again
    assert len(calls) == 4 + 4
    assert (again.path / "revisions.jsonl").read_bytes() == (whole.path / "revisions.jsonl").read_bytes()
    rows = rows_of(whole)
    assert len(rows) == 12
    assert {row.by for row in rows} == {"sft"}
    for row in rows:
        assert set((row.revision or "").split()) <= {"ok", "aa"}


def test_what_a_row_writes_does_not_depend_on_its_neighbours(tmp_path: Path) -> None:
    from heedful.models.opening import open_generator

    policy = open_generator(phrases(tmp_path / "store").path / "model")
    writer = writing.LocalWriter(policy, name="w", version="1", max_new_tokens=12)
    rows = [writing.ToWrite("\n\nHuman: x" * (i % 3 + 1), seed=i) for i in range(6)]
    together = writer.write(rows)
    assert together == [one for row in rows for one in writer.write([row])]
    (long,) = writer.write([writing.ToWrite("x" * 200, 0)])
    assert isinstance(long, writing.Skipped)
    assert long.kind == "context"


def test_texts_end_at_the_first_marker() -> None:
    assert writing.cut(" Fine.\n\nRevisionRequest: x\n\nHuman: y") == "Fine."
    assert writing.cut("\n\nHuman: y") == ""


@pytest.mark.parametrize(
    ("revision", "gate", "without"),
    [
        (" aab0", "unchanged", "not_less_harmful"),
        (" It is rude.", "role_confusion", None),
        (" The assistant's response is rude.", "role_confusion", "not_less_harmful"),
        (" Well.\nHuman: so", "role_confusion", None),
        (" Here is a revised response:", "prefix", None),
        (" ...", "empty", "empty"),
        ("\n\nHuman: more?", "empty", "empty"),
        (" " + "so it goes on " * 9, "collapsed", None),
        (" aaaa", "not_less_harmful", None),
    ],
)
def test_each_gate_stops_is_counted_and_listed(tmp_path: Path, revision: str, gate: str, without: str | None) -> None:
    def stubborn(number: int, body: dict[str, Any]) -> Any:
        spoiled = "House 0?" in body["prompt"] and body["prompt"].endswith("Revision:")
        return as_json({"choices": [{"text": revision, "finish_reason": "stop"}]}) if spoiled else None

    with serving(Author(trouble=stubborn)) as url:
        found = revised(tmp_path, rounds=1, writer=served(url), reward=SCORED)
        assert found.metrics["skips"] == {gate: 1}
        (row,) = [row for row in rows_of(found) if row.skipped]
        assert (row.id, row.skipped) == ("p0/0/r1", gate)
        assert {lesson.id for lesson in lessons_of(found)} == {f"p{i}/0/r1" for i in range(1, 6)}
        # let through where the gate is off; an empty one never is
        rest = [name for name in revise.GATES if name != gate]
        other = revised(tmp_path, rounds=1, writer=served(url), reward=SCORED, gates={"apply": rest})
    assert [row.skipped for row in rows_of(other) if row.completion_id == "p0/0"] == [without]


def test_scores_by_part_stand_beside_the_harm_of_each_text(tmp_path: Path) -> None:
    rows = [
        Completion(id="p0/0", prompt_id="p0", prompt="Q?", completion="aab", meta={"harm": 9.0, "scores": {"x": 1.0}})
    ]
    source = artifact_of(tmp_path / "store", "sample", completions=rows)
    with serving(Author()) as url:
        found = revised(tmp_path, source, rounds=2, writer=served(url), reward={"parts": PARTS})
        plain = revised(tmp_path, source, rounds=2, writer=served(url), reward=SCORED)
    # "aab", "ab", "b": the harm is that of "calm" alone
    assert [(row.harm_before, row.harm, row.scores_before, row.scores) for row in rows_of(found)] == [
        (2.0, 1.0, {"calm": -2.0, "long": 3.0}, {"calm": -1.0, "long": 2.0}),
        (1.0, 0.0, {"calm": -1.0, "long": 2.0}, {"calm": 0.0, "long": 1.0}),
    ]
    # a scorer without parts has none, whatever an earlier stage's had
    assert [(row.scores_before, row.scores) for row in rows_of(plain)] == [({}, {}), ({}, {})]


def test_an_announcement_is_taken_off_and_told(tmp_path: Path) -> None:
    with serving(Author(revision=" Sure, here is a revised response:\n\n{}")) as url:
        found = revised(tmp_path, rounds=1, writer=served(url))
    assert {row.revision for row in rows_of(found)} == {f"ab{i}" for i in range(6)}
    assert all(row.prefixed for row in rows_of(found))
    assert found.metrics["prefixed"] == 6


def test_the_next_round_starts_from_the_last_good_text(tmp_path: Path) -> None:
    def first_fails(number: int, body: dict[str, Any]) -> Any:
        first = body["prompt"].endswith("Revision:") and "Assistant: aab" in body["prompt"] and number <= 12
        return as_json({"choices": [{"text": " It is rude.", "finish_reason": "stop"}]}) if first else None

    with serving(Author(trouble=first_fails)) as url:
        found = revised(tmp_path, rounds=2, writer=served(url), gates={"max_skipped": 0.5})
    assert [(r.round, r.answer, r.skipped) for r in rows_of(found)][:2] == [
        (1, "aab0", "role_confusion"),
        (2, "aab0", None),
    ]


def test_what_a_server_does_not_write_is_listed_and_bounded(tmp_path: Path) -> None:
    def refuses(number: int, body: dict[str, Any]) -> Any:
        return as_json({"error": "no"}, 400) if "House 3?" in body["prompt"] else None

    with serving(Author(trouble=refuses)) as url:
        found = revised(tmp_path, rounds=1, writer=served(url))
        assert found.metrics["skips"] == {"refused": 1}
        (row,) = [row for row in rows_of(found) if row.skipped]
        assert (row.critique, row.revision, row.skipped) == (None, None, 'refused: HTTP 400: {"error": "no"}')
        with pytest.raises(
            HealthError, match=r"1 of 6 rounds were skipped \(1 refused\), more than .*max_skipped = 0.1 "
        ):
            revised(tmp_path, rounds=1, writer=served(url), gates={"max_skipped": 0.1})
    with (
        serving(Author(revision=" aab0")) as url,
        pytest.raises(HealthError, match=r"changed nothing, .*max_unchanged = 0 "),
    ):
        revised(tmp_path, rounds=1, writer=served(url), gates={"max_unchanged": 0.0})


def test_helpful_demonstrations_are_mixed_in_and_sft_takes_them(tmp_path: Path) -> None:
    store = tmp_path / "store"
    rows = [
        Demonstration(id=f"h{i}", prompt=f"How {i}?", completion="So.", meta={"skill": "answer" if i % 2 else "choice"})
        for i in range(20)
    ]
    helpful = artifact_of(store, "data", train__demonstrations=rows)
    mixed = {"ratio": 0.5, "where": {"skill": "answer"}}
    with serving(Author()) as url:
        found = revised(
            tmp_path, roles={"helpful": helpful}, rounds=2, writer=served(url), helpful=mixed, tune_fraction=0.3
        )
    lessons = lessons_of(found)
    # half of 12 revisions
    assert sum(lesson.meta["kind"] == "helpful" for lesson in lessons) == found.metrics["helpful"] == 6
    assert {lesson.meta["skill"] for lesson in lessons if lesson.meta["kind"] == "helpful"} == {"answer"}
    tuned = {row.prompt for row in found.records("tune.demonstrations", Demonstration)}
    assert tuned
    assert tuned.isdisjoint(row.prompt for row in found.records("train.demonstrations", Demonstration))
    from heedful.testing import tiny

    tiny.save_model(tmp_path / "m", tiny_causal(byte_tokenizer(), max_positions=128), byte_tokenizer())
    config = sft.Config(model=str(tmp_path / "m"), epochs=1)
    fitted = run_stage(sft, config, {"demonstrations": found}, store, base=tmp_path)
    assert fitted.metrics["demonstrations"] == len(found.records("train.demonstrations", Demonstration))


def test_lessons_of_another_kind_and_harmful_answers_are_no_helpful_ones_unless_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = [("answer", "ordinary"), ("answer", "harmful"), ("critique", "ordinary"), ("revision", "harmful")]
    rows = [
        Demonstration(
            id=f"{skill}-{kind}", prompt=f"{skill} {kind}?", completion="So.", meta={"skill": skill, "kind": kind}
        )
        for skill, kind in [*kinds, ("choice", "ordinary")]
    ]
    rows.append(Demonstration(id="plain", prompt="Plain?", completion="So."))
    roles = {"helpful": artifact_of(tmp_path / "store", "data", train__demonstrations=rows)}

    def taken(url: str, **where: str) -> set[str]:
        found = revised(tmp_path, roles=roles, rounds=1, writer=served(url), helpful={"ratio": 1.0, "where": where})
        return {row.id for row in lessons_of(found) if row.meta["kind"] == "helpful"}

    with serving(Author()) as url:
        assert taken(url) == {"answer-ordinary", "plain"}
        assert (
            "4 of 6 demonstrations are lessons of another kind or answer requests for harm" in capsys.readouterr().err
        )
        assert taken(url, skill="critique") == {"critique-ordinary"}
        assert taken(url, kind="harmful") == {"answer-harmful"}
        with pytest.raises(ConfigError, match=r"all 1 demonstrations .* name one of skill, kind in helpful\.where"):
            taken(url, skill="revision")


def test_the_last_revision_only(tmp_path: Path) -> None:
    with serving(Author()) as url:
        found = revised(tmp_path, rounds=2, writer=served(url), keep="last")
    assert sorted(lesson.completion for lesson in lessons_of(found)) == [f"b{i}" for i in range(6)]


def test_a_harmless_answer_need_not_improve(tmp_path: Path) -> None:
    source = attempts(tmp_path / "store", text="b{}")
    with serving(Author(revision=" fine")) as url:
        with pytest.raises(DataError, match=r"none of 6 revisions is left to learn from \(6 not_less_harmful\)"):
            revised(tmp_path, source, rounds=1, writer=served(url), reward={"function": "rewards.py:few_a"})
        found = revised(
            tmp_path,
            source,
            rounds=1,
            writer=served(url),
            reward={"function": "rewards.py:few_a"},
            gates={"harmless": 0.0},
        )
    assert found.metrics["learned"] == 0 + 6


def test_quoted_markers_are_no_turns() -> None:
    assert unforged("Say\n\nRevision: x") == "Say\n\n Revision: x"
    assert unforged("Say Revision: x") == "Say Revision: x"
    whole = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:"
    assert unforged(whole) == whole
    (turn,) = unforged((Message(role="user", content="a\n\nAssistant: b"),))
    assert isinstance(turn, Message)
    assert turn.content == "a\n\n Assistant: b"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"principles": ["clam"]}, "has no principle or tag 'clam'; did you mean 'calm'"),
        ({"constitution": "absent.toml"}, "no such constitution"),
        ({"constitution": "mute.toml"}, "none of its 1 principles has a critique and revision request"),
        ({"where": {"odd": 7}}, "none of 6 answers has these values"),
        ({"writer": {}}, "writer: there is none"),
        (
            {"writer": {"server": {"url": "http://127.0.0.1:9/v1", "model": "m", "key": KEY}}},
            "revise.writer.server.key: expected the name of an environment variable, such as SERVER_KEY, never the key",
        ),
        ({"gates": {"harmless": 0.0}}, "gates.harmless: nothing measures harm"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    (tmp_path / "mute.toml").write_text('name = "mute"\n[[principles]]\nname = "a"\ncomparison = "?"\n')
    with pytest.raises(ConfigError) as caught:
        revised(tmp_path, **{"writer": served("http://127.0.0.1:9/v1"), **settings})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_server_that_is_not_there_stops_the_stage(tmp_path: Path) -> None:
    with pytest.raises(HealthError, match=r"writer\.server: .* cannot be reached"):
        revised(tmp_path, writer=served("http://127.0.0.1:9/v1"))
