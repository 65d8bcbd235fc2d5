"""collect asks people: the round lies in the store, the quota lets the run go on, and what comes later is told."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from heedful.errors import ConfigError, DataError, WaitingForPeople
from heedful.feedback.asking.answers import Submission, store_answer
from heedful.feedback.asking.queue import next_assignment
from heedful.feedback.setup.accounts import add_user, people
from heedful.feedback.setup.answer_rules import Answer
from heedful.feedback.setup.projects import all_projects, join, set_member_state
from heedful.feedback.setup.rulings import rule
from heedful.feedback.store.database import Database
from heedful.records.artifacts import Artifact
from heedful.records.types import Completion, Ranking
from heedful.stages import collect
from heedful.testing.artifacts import artifact_of, run_stage
from tests.stores import postgresql_server


def completions(prompts: int = 4, each: int = 3) -> list[Completion]:
    return [
        Completion(id=f"p{i}-{k}", prompt_id=f"p{i}", prompt=f"prompt {i}", completion=f"text {k}", index=k)
        for i in range(prompts)
        for k in range(each)
    ]


def settings(overlap: int = 1, **people: Any) -> collect.Config:
    return collect.Config(criterion="Which is better?", overlap=overlap, people=people)  # type: ignore[arg-type]


def collected(folder: Path, config: collect.Config, rows: list[Completion] | None = None) -> Artifact:
    store, rows = folder / "artifacts", rows or completions()
    # A store of its own for each sample: they are made once.
    shelf = folder / f"samples-{len(rows)}"
    known = [path for path in shelf.glob("*") if path.is_dir()]
    source = Artifact.open(known[0]) if known else artifact_of(shelf, "sample", completions=rows)
    return run_stage(collect, config, {"completions": source}, store, base=folder)


def in_store(folder: Path, job: Callable[[Any], Any], where: str | None = None) -> Any:
    database = Database.open(where or folder / "labels.sqlite")
    try:
        return database.write(job)
    finally:
        database.close()


def somebody_answers(
    folder: Path, name: str, most: int = 99, answer: Answer | None = None, where: str | None = None
) -> int:
    """Let somebody answer up to `most` tasks; as they were listed, unless said otherwise. Return how many it were."""
    now = datetime.now(UTC)

    def job(s: Any) -> int:
        known = {each.name: each.user_id for each in people(s)}
        user = known[name] if name in known else add_user(s, name, "labeler", now)
        (project,) = (each.id for each in all_projects(s))
        join(s, project, user, now)
        done = 0
        while done < most and (task := next_assignment(s, project, user, now)) is not None:
            keys = sorted(key for key, _ in task.displayed)
            said = answer or Answer(ranks={key: rank for rank, key in enumerate(keys, start=1)})
            sent = {"client_uuid": str(uuid.uuid4()), "based_on": task.revision, "state": "submitted", "answer": said}
            store_answer(s, Submission(task_id=task.task_id, user_id=user, **sent), now)
            done += 1
        return done

    return int(in_store(folder, job, where))


def test_it_waits_and_goes_on_by_the_same_call(tmp_path: Path) -> None:
    with pytest.raises(WaitingForPeople) as waiting:
        collected(tmp_path, settings())
    assert str(waiting.value).startswith("0 of 4 answers are in; to let people answer run: heed label --database ")
    assert waiting.value.address == "http://127.0.0.1:8400/manage/projects/1"
    assert waiting.value.exit_code == 0
    assert "\n" not in str(waiting.value)
    assert (tmp_path / "labels.sqlite").is_file()  # beside the folder of artifacts
    assert somebody_answers(tmp_path, "anna", 3) == 3
    with pytest.raises(WaitingForPeople, match="3 of 4 answers are in"):
        collected(tmp_path, settings())
    somebody_answers(tmp_path, "ben")
    found = collected(tmp_path, settings())
    rankings = found.records("rankings", Ranking)
    assert [one.task_id for one in rankings] == ["p0", "p1", "p2", "p3"]
    assert sorted(one.labeler for one in rankings) == ["anna", "anna", "anna", "ben"]
    assert {one.ranking[0][0][-2:] for one in rankings} == {"-0"}
    assert found.metrics == {"rankings": 4, "tasks": 4, "labelers": 2}
    about = json.loads(found.file("labelers.json").read_text())
    assert (about["labelers"], about["planted"], about["agreement_with_gold"]) == (["anna", "ben"], {}, None)


def test_what_a_project_is_comes_from_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "words.md").write_text("Be *kind*.")
    about = {
        "instructions": "words.md",
        "ties": "forbid",
        "title": "Kindness",
        "content_warning": True,
        "gold_share": 0.1,
    }
    with pytest.raises(WaitingForPeople):
        collected(tmp_path, settings(overlap=2, repeat_share=0.2, **about))
    (found,) = in_store(tmp_path, all_projects)
    assert found.name.startswith("kindness-")
    assert (found.title, found.criterion, found.instructions) == ("Kindness", "Which is better?", "Be *kind*.")
    assert (found.ties, found.overlap, found.content_warning, found.mode) == ("forbid", 2, True, "ranking")
    assert (found.gold_share, found.repeat_share, found.listed) == (0.1, 0.2, False)


def test_the_default_instructions_are_those_of_the_site(tmp_path: Path) -> None:
    from heedful.apps.web.phrases import default_instructions

    with pytest.raises(WaitingForPeople):
        collected(tmp_path, settings())
    (found,) = in_store(tmp_path, all_projects)
    assert found.instructions == default_instructions()


def test_another_question_is_another_round_and_another_quota_is_not(tmp_path: Path) -> None:
    for config in (settings(), settings(quota=0.5), settings(overlap=2), settings(snapshot=2)):
        with pytest.raises(WaitingForPeople):
            collected(tmp_path, config)
    assert len(in_store(tmp_path, all_projects)) == 1
    for config, rows in ((settings(mode="rating"), None), (settings(), completions(5))):
        with pytest.raises(WaitingForPeople):
            collected(tmp_path, config, rows)
    assert len(in_store(tmp_path, all_projects)) == 3


def test_a_quota_below_all(tmp_path: Path) -> None:
    with pytest.raises(WaitingForPeople):
        collected(tmp_path, settings(quota=0.5))
    somebody_answers(tmp_path, "anna", 2)
    assert collected(tmp_path, settings(quota=0.5)).metrics["tasks"] == 2


def test_ratings_tie_where_they_are_equal(tmp_path: Path) -> None:
    config = settings(mode="rating", rating_max=5)
    rows = completions(1)
    with pytest.raises(WaitingForPeople):
        collected(tmp_path, config, rows)
    somebody_answers(tmp_path, "anna", answer=Answer(ratings={"p0-0": 2, "p0-1": 5, "p0-2": 2}))
    (found,) = collected(tmp_path, config, rows).records("rankings", Ranking)
    assert found.ranking == (("p0-1",), ("p0-0", "p0-2"))
    assert found.meta["ratings"] == {"p0-0": 2, "p0-1": 5, "p0-2": 2}


def test_a_ruling_comes_along_and_is_no_labeler(tmp_path: Path) -> None:
    with pytest.raises(WaitingForPeople):
        collected(tmp_path, settings())
    somebody_answers(tmp_path, "anna")
    answer = Answer(ranks={"p1-2": 1, "p1-1": 2, "p1-0": 3})
    in_store(tmp_path, lambda s: rule(s, 2, answer, "by the book", datetime.now(UTC), by=None))
    found = collected(tmp_path, settings())
    rankings = found.records("rankings", Ranking)
    assert [(one.task_id, one.source) for one in rankings][-1] == ("p1", "ruling")
    assert len(rankings) == 5
    assert found.metrics == {"rankings": 4, "tasks": 4, "labelers": 1}
    assert found.facts["rulings"] == 1


def test_news_of_answers_exclusions_and_nothing(tmp_path: Path) -> None:
    config = settings(overlap=2, quota=0.25)
    with pytest.raises(WaitingForPeople):
        collected(tmp_path, config)
    somebody_answers(tmp_path, "anna", 1)
    somebody_answers(tmp_path, "ben", 1)
    artifact = collected(tmp_path, config)

    def news() -> str | None:
        return collect.news(config, artifact, tmp_path, "collect.")

    assert news() is None
    somebody_answers(tmp_path, "ben", 2)
    assert news() == "2 newer answers since; to take them: --set collect.people.snapshot=2"
    now = datetime.now(UTC)

    def leave_out(s: Any) -> None:
        user = next(each.user_id for each in people(s) if each.name == "ben")
        set_member_state(s, 1, user, "excluded", by=None, reason="a test", now=now)

    in_store(tmp_path, leave_out)
    assert (
        news() == "2 newer answers and other rulings or exclusions since; to take them: --set collect.people.snapshot=2"
    )
    (tmp_path / "labels.sqlite").rename(tmp_path / "elsewhere.sqlite")
    assert news() is None
    assert not (tmp_path / "labels.sqlite").exists()  # asking makes no database


def test_where_answers_are_kept_may_come_from_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELS", f"sqlite:///{tmp_path}/mine/team.sqlite")
    config = settings(database="$LABELS")
    with pytest.raises(WaitingForPeople):
        collected(tmp_path, config)
    assert (tmp_path / "mine" / "team.sqlite").is_file()
    assert "team.sqlite" not in config.model_dump_json()
    with pytest.raises(WaitingForPeople):
        collected(tmp_path, settings(database="near/it.sqlite"))
    assert (tmp_path / "near" / "it.sqlite").is_file()


def test_answers_in_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgresql_server() as server:
        url = server.empty()
        monkeypatch.setenv("LABELS", url)
        config = settings(database="$LABELS", overlap=2)
        with pytest.raises(WaitingForPeople, match=r"0 of 8 answers are in; .* heed label --database postgresql://"):
            collected(tmp_path, config)
        for name in ("anna", "ben"):
            assert somebody_answers(tmp_path, name, where=url) == 4
        artifact = collected(tmp_path, config)
        assert artifact.metrics == {"rankings": 8, "tasks": 4, "labelers": 2}
        assert collect.news(config, artifact, tmp_path, "") is None
    # The server is gone: what was taken stays, and that nothing newer is known is said in one line.
    news = collect.news(config, artifact, tmp_path, "")
    assert news is not None and news.startswith("whether there are newer answers is not known: postgresql://")
    assert "\n" not in news


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"people": {"database": "postgresql://anna:secret@host/labels"}}, "people.database: it holds a password"),
        ({"people": {"rating_min": 5, "rating_max": 5}}, "people.rating_max: expected more than rating_min"),
        ({"people": {}, "rankings": "r.jsonl"}, "one source"),
        ({"people": {}, "world": "household"}, "for a panel only"),
        ({"people": {}, "format": "argilla"}, "format: it is for a file only"),
        ({"panel": [{"name": " Ada"}], "world": "household"}, "panel: a name needs printable characters"),
    ],
)
def test_settings_that_do_not_go_together(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        collect.check(collect.Config(criterion="better", **given), [])
    assert "secret" not in str(caught.value)


def test_instructions_are_part_of_what_decides(tmp_path: Path) -> None:
    config = settings(instructions="words.md")
    with pytest.raises(DataError, match="no such file"):
        collect.external(config, tmp_path)
    (tmp_path / "words.md").write_bytes(b"abc")
    # printf abc | sha256sum
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert collect.external(config, tmp_path) == {"instructions": digest}
    assert collect.external(settings(), tmp_path) == {}
    (tmp_path / "words.md").write_bytes(b"\xff")
    with pytest.raises(DataError, match="not valid UTF-8"):
        collected(tmp_path, config)


@pytest.mark.parametrize(
    ("mode", "each", "message"), [("pairwise", 3, "a pair takes 2"), ("ranking", 10, "takes 2 to 9")]
)
def test_how_many_completions_a_task_may_have(tmp_path: Path, mode: str, each: int, message: str) -> None:
    with pytest.raises(DataError, match=f"has {each} completions; .*{message}; set sample.num_completions"):
        collected(tmp_path, settings(mode=mode), completions(2, each))
    assert not (tmp_path / "labels.sqlite").exists()
