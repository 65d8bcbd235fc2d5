"""Practice comes first, tells what differs from the known answer and why, and counts nowhere; gold comes in with the file."""

from __future__ import annotations

import io
import json

import pytest

from heedful.apps.web.completions import read_tasks
from heedful.errors import DataError
from heedful.feedback.asking.answers import Answer
from tests.sites import BOTH, TEXTS
from tests.web.forms import answer_form, places, task_id
from tests.web.test_dashboard import words
from tests.web.test_managing import FORM, completions

RIGHT = {text: rank for rank, text in enumerate(TEXTS, start=1)}


@pytest.fixture
def practising(site):
    """A labeler whose first task is practice: (visitor, project, task)."""
    project_id, anna = site.project(), site.user("anna")
    task = site.known_task(project_id, "practice", practice=True, note="The first says it <b>all</b>.")
    site.join(project_id, anna)
    return site.visitor(anna), project_id, task


def send(visitor, project_id, ranks, **options):
    page = visitor.get(f"/projects/{project_id}/task").text
    fields = {f"rank-{place}": str(ranks[text]) for place, text in enumerate(places(page))}
    return visitor.post(f"/tasks/{task_id(page)}", {**answer_form(page), **fields, "action": "submit"}, **options)


@BOTH
def test_a_wrong_answer_is_told_what_differs_and_why_and_then_one_goes_on(site, practising):
    visitor, project_id, task = practising
    swapped = {**RIGHT, TEXTS[0]: 2, TEXTS[1]: 1, TEXTS[3]: "3"}
    sent = send(visitor, project_id, swapped)
    assert sent.headers["location"] == f"/tasks/{task}/feedback"
    html = visitor.get(sent.headers["location"]).text
    page = words(html)
    # The first two are swapped, the last two tied: two pairs of six.
    assert "2 pairs of 6 are not as they should be." in page
    assert page.count("you have it the other way round") == 1
    assert page.count("you tied them") == 1
    assert "The first says it <b>all</b>." in page
    assert "<b>all</b>" not in html
    assert f'href="/projects/{project_id}/task"' in html
    assert task_id(visitor.get(f"/projects/{project_id}/task").text) != task
    assert site.rankings(project_id) == []


def test_a_right_answer_is_told_so(practising):
    visitor, project_id, _ = practising
    sent = send(visitor, project_id, RIGHT)
    assert "Your answer is as it should be." in words(visitor.get(sent.headers["location"]).text)


def test_the_script_of_the_page_is_told_where_to_go(practising):
    visitor, project_id, task = practising
    sent = send(visitor, project_id, RIGHT, headers={"accept": "application/json"})
    assert sent.json()["feedback"] == f"/tasks/{task}/feedback"
    assert send(visitor, project_id, RIGHT, headers={"accept": "application/json"}).json()["feedback"] is None


def test_before_an_answer_and_for_gold_among_real_tasks_there_is_nothing_to_read(site, practising):
    visitor, project_id, task = practising
    visitor.get(f"/projects/{project_id}/task")
    assert visitor.get(f"/tasks/{task}/feedback").status_code == 404
    send(visitor, project_id, RIGHT)
    gold = site.known_task(project_id, "hidden")
    while (found := task_id(visitor.get(f"/projects/{project_id}/task").text)) != gold:
        assert send(visitor, project_id, RIGHT).headers["location"] == f"/projects/{project_id}/task", found
    assert send(visitor, project_id, RIGHT).headers["location"] == f"/projects/{project_id}/task"
    assert visitor.get(f"/tasks/{gold}/feedback").status_code == 404


def with_known(gold, *, practice=False, note="", each=4, **others):
    """The lines of one prompt with a `gold` per completion."""
    lines = completions(prompts=1, each=each).decode().splitlines()
    rows = [{**json.loads(line), "gold": known, **others} for line, known in zip(lines, gold, strict=True)]
    rows[0] |= {"practice": practice} if practice else {}
    rows[-1] |= {"gold_note": note} if note else {}
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def read(content, mode="ranking"):
    (task,) = read_tasks(io.BytesIO(content), "a.jsonl", mode)
    return task


def test_a_file_brings_known_answers_and_practice():
    task = read(with_known([1, "F", 2, 2], practice=True, note="because"))
    assert task.gold == Answer(ranks={"p0-0": 1, "p0-2": 2, "p0-3": 2}, fails=("p0-1",))
    assert (task.practice, task.gold_note) == (True, "because")
    assert read(with_known([True, False], each=2), "thumbs").gold == Answer(thumbs={"p0-0": True, "p0-1": False})
    assert read(with_known([2, 7], each=2), "rating").gold == Answer(ratings={"p0-0": 2, "p0-1": 7})
    assert read(with_known([None] * 4)).gold is None


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (with_known([1, 2, 3, None]), "ranking", "3 of 4 completions have a known answer"),
        (with_known([1, 2, 3, "G"]), "ranking", 'a rank from 1, or "F"'),
        (with_known([0, 1, 2, 3]), "ranking", 'a rank from 1, or "F"'),
        (with_known([True, 2, 3, 4]), "ranking", 'a rank from 1, or "F"'),
        (with_known([1, 2], each=2), "thumbs", "true or false"),
        (with_known(["F", 2], each=2), "rating", "a whole number"),
        (with_known([1, 2], each=2), "demonstration", "no known answer"),
        (with_known([1, 2, 3, 4], practice="yes"), "ranking", "true or false"),
        (with_known([1, 2, 3, 4], gold_note=7), "ranking", "text"),
    ],
)
def test_a_known_answer_that_cannot_be_is_refused_with_its_line(content, mode, says):
    with pytest.raises(DataError, match=r"a\.jsonl") as refused:
        read(content, mode)
    assert says in str(refused.value)


def create(manager, content, **changes):
    files = {"completions": ("completions.jsonl", content, "application/jsonl")}
    return manager.post("/manage/new", {**FORM, **changes}, files=files)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ties": "forbid"}, "takes no ties"),
        ({"gold_share": "51"}, "0 to 50 per cent"),
        ({"repeat_share": "-1"}, "0 to 50 per cent"),
        ({"repeat_share": "many"}, "0 to 50 per cent"),
        ({"mode": "rating", "rating_max": "3"}, "expected 1 to 3"),
    ],
)
def test_nothing_is_created_where_a_known_answer_or_a_share_breaks_the_rules(manager, changes, says):
    gold = [1, 2, 3, 4] if changes.get("mode") == "rating" else [1, 1, 2, 3]
    refused = create(manager, with_known(gold), **changes)
    assert refused.status_code == 422
    assert says in words(refused.text)
    assert "None yet." in manager.get("/manage").text


@BOTH
def test_shares_and_known_tasks_of_the_form_are_stored(site, manager):
    made = create(manager, with_known([1, 2, 3, 4], practice=True), gold_share="10", repeat_share="5")
    assert made.status_code == 303, made.text
    path = made.headers["location"]
    listed = words(manager.get(f"{path}/tasks?state=practice").text)
    assert "p0 gold practice" in listed
    from heedful.feedback.setup.projects import project_named

    found = site.database.read(lambda s: project_named(s, FORM["name"]))
    assert (found.gold_share, found.repeat_share) == (0.1, 0.05)
