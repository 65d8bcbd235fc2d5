"""The manager's rooms: a project from a file, people, pauses, exports."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from heedful.apps.web.completions import read_tasks
from heedful.errors import DataError
from heedful.records.types import Completion, Ranking
from tests.sites import BOTH
from tests.web.forms import answer_form, task_id

FORM = {
    "title": "Helpfulness, round 2",
    "name": "helpful-2",
    "criterion": "Rank them.",
    "mode": "ranking",
    "ties": "discourage",
    "overlap": "2",
    "rating_min": "1",
    "rating_max": "7",
    "instructions": "Read.",
}


def completions(prompts=3, each=4, **changes):
    lines = []
    for prompt in range(prompts):
        for index in range(each):
            record = Completion(
                id=f"p{prompt}-{index}",
                prompt_id=f"p{prompt}",
                prompt=f"prompt {prompt}",
                completion=f"answer {index}",
                index=index,
                source="a-model",
            )
            lines.append(json.dumps({**record.model_dump(mode="json"), **changes}))
    return ("\n".join(lines) + "\n").encode()


def create(manager, content, **changes):
    files = {"completions": ("completions.jsonl", content, "application/jsonl")}
    return manager.post("/manage/new", {**FORM, **changes}, files=files)


@BOTH
def test_from_a_file_and_an_invitation_to_an_export(site, manager):
    made = create(manager, completions())
    assert made.status_code == 303, made.text
    path = made.headers["location"]
    dashboard = manager.get(path).text
    assert "Not done: 0 of 6 answers are in." in dashboard
    link = re.search(r"http://testserver(/join/[\w-]+)", manager.post(f"{path}/invite", {"name": "violet-37"}).text)
    assert link
    labeler = site.visitor()
    assert labeler.get(link[1]).status_code == 200
    assert labeler.post("/join", {"token": link[1].removeprefix("/join/")}).status_code == 303
    csrf = re.search(r'name="csrf" value="(\w+)"', labeler.get("/settings").text)
    assert csrf
    labeler.csrf = csrf[1]
    project_id = path.rpartition("/")[2]
    labeler.post(f"/projects/{project_id}/acknowledge", {"version": "1"})
    page = labeler.get(f"/projects/{project_id}/task").text
    ranks = {"rank-0": "1", "rank-1": "2", "rank-2": "2", "rank-3": "F", "action": "submit", "active_ms": "90000"}
    labeler.post(f"/tasks/{task_id(page)}", {**answer_form(page), **ranks})
    assert "Not done: 1 of 6 answers are in." in manager.get(path).text
    (people,) = re.findall(r'<table class="stacked people">.*?</table>', manager.get(path).text, re.DOTALL)
    assert re.findall(r'<td class="number"[^>]*>(?:<a [^>]*>)?(\d+)<', people) == ["1", "2", "0"]
    download = manager.get(f"{path}/export/rankings")
    assert download.headers["content-disposition"] == 'attachment; filename="helpful-2-rankings.jsonl"'
    ranking = Ranking.model_validate_json(download.text)
    assert ranking.labeler == "violet-37"
    assert [len(group) for group in ranking.ranking] == [1, 2]
    rows = list(csv.DictReader(io.StringIO(manager.get(f"{path}/export/table").text)))
    assert sorted(row["rank"] for row in rows) == ["1", "2", "2", "F"]
    assert "a-model" not in page


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"not json\n", "not valid JSON"),
        (b"\xff\xfe\n", "not valid UTF-8"),
        (b'{"id": "a"}\n', "prompt_id"),
        (completions(each=1), "has 1 completions, and ranking takes 2 to 9"),
        (completions(each=10), "has 10 completions"),
        (completions(prompts=1) + completions(prompts=1), "already the id of line 1"),
    ],
)
def test_a_file_with_anything_wrong_creates_nothing_and_the_form_comes_back(manager, content, says):
    refused = create(manager, content, title="Kept <title>")
    assert refused.status_code == 422
    assert says in refused.text.replace("&#39;", "'")
    assert "Kept &lt;title&gt;" in refused.text
    assert "None yet." in manager.get("/manage").text


@pytest.mark.parametrize(
    "changes",
    [{"name": "Not A Name"}, {"title": ""}, {"overlap": "0"}, {"mode": "guessing"}, {"rating_max": "1"}],
    ids=str,
)
def test_a_form_with_anything_wrong_creates_nothing(manager, changes):
    refused = create(manager, completions(), **changes)
    assert refused.status_code == 422
    assert next(iter(changes)) in refused.text
    assert "None yet." in manager.get("/manage").text


def test_a_name_is_taken_once(manager):
    assert create(manager, completions()).status_code == 303
    assert "already" in create(manager, completions()).text


def test_the_same_file_again_adds_nothing(manager):
    path = create(manager, completions()).headers["location"]
    files = {"completions": ("more.jsonl", completions(prompts=5), "application/jsonl")}
    assert manager.post(f"{path}/tasks", files=files).status_code == 303
    assert "See all 5 tasks" in manager.get(path).text


def test_pausing_is_logged_with_its_reason_and_taken_back(site, manager, at_work):
    labeler, project_id = at_work
    path = f"/manage/projects/{project_id}"
    (anna,) = set(re.findall(rf"{path}/members/(\d+)", manager.get(path).text))
    manager.post(f"{path}/members/{anna}", {"state": "paused", "reason": "ranks look reversed"})
    assert "ranks look reversed" in manager.get(path).text
    assert "Your queue is paused" in labeler.get(f"/projects/{project_id}/task").text
    manager.post(f"{path}/members/{anna}", {"state": "active", "reason": "talked about it"})
    assert "data-task" in labeler.get(f"/projects/{project_id}/task").text
    assert manager.post(f"{path}/members/{anna}", {"state": "gone"}).status_code == 422


def test_a_new_link_ends_the_earlier_one(site, manager, at_work):
    _, project_id = at_work
    path = f"/manage/projects/{project_id}"
    (anna,) = set(re.findall(rf"{path}/members/(\d+)", manager.get(path).text))
    first, second = (re.search(r"/join/([\w-]+)", manager.post(f"{path}/members/{anna}/link").text) for _ in range(2))
    assert first and second and first[1] != second[1]
    assert site.visitor().post("/join", {"token": first[1]}).status_code == 403
    assert site.visitor().post("/join", {"token": second[1]}).status_code == 303


def test_a_manager_cannot_make_a_link_for_another_manager(site, manager):
    project_id, other = site.project(), site.user("max", "admin")
    site.join(project_id, other)
    assert manager.post(f"/manage/projects/{project_id}/members/{other}/link").status_code == 404


@BOTH
def test_a_closed_project_hands_out_nothing_and_takes_what_is_at_hand(site, manager, at_work):
    labeler, project_id = at_work
    page = labeler.get(f"/projects/{project_id}/task").text
    path = f"/manage/projects/{project_id}"
    assert manager.post(f"{path}/open", {"open": "0"}).status_code == 303
    assert "This project is closed" in labeler.get(f"/projects/{project_id}/task").text
    assert labeler.get(f"/api/projects/{project_id}/next").json() == {"task": None, "why": "closed"}
    ranks = {f"rank-{place}": str(place + 1) for place in range(4)}
    sent = labeler.post(f"/tasks/{task_id(page)}", {**answer_form(page), **ranks, "action": "submit"})
    assert sent.status_code == 303
    assert len(site.rankings(project_id)) == 1
    manager.post(f"{path}/open", {"open": "1"})
    assert "data-task" in labeler.get(f"/projects/{project_id}/task").text


def test_the_list_of_tasks_is_filtered_and_paged(site, manager):
    project_id = site.project(prompts=[f"prompt {at}" for at in range(120)])
    path = f"/manage/projects/{project_id}/tasks"
    first, third = manager.get(path).text, manager.get(f"{path}?page=3").text
    assert (first.count("<tr><td"), third.count("<tr><td")) == (50, 20)
    assert "page=2" in first and "page=4" not in third
    assert manager.get(f"{path}?contains=t11").text.count("<tr><td") == 11
    assert manager.get(f"{path}?contains=%25").text.count("<tr><td") == 0
    assert manager.get(f"{path}?state=done").text.count("<tr><td") == 0
    assert manager.get(f"{path}?state=nonsense").status_code == 422


def test_completions_of_one_prompt_are_one_task_with_the_models_kept_apart():
    (first, *rest) = read_tasks(io.BytesIO(completions(prompts=2, each=3)), "a.jsonl", "ranking")
    assert len(rest) == 1
    assert first.completions == {"p0-0": "answer 0", "p0-1": "answer 1", "p0-2": "answer 2"}
    assert set(first.source_models.values()) == {"a-model"}


def test_one_prompt_id_for_two_prompts_is_refused():
    lines = completions(prompts=1, each=2).decode().splitlines()
    other = json.dumps({**json.loads(lines[1]), "prompt": "another"})
    with pytest.raises(DataError, match="stood for another prompt"):
        read_tasks(io.BytesIO(f"{lines[0]}\n{other}\n".encode()), "a.jsonl", "ranking")
