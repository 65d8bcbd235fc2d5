"""The rooms for programs: from a one-time link to an answer, and names of completions that tell nothing."""

from __future__ import annotations

import json

import pytest

from tests.sites import BOTH, ORIGIN

MODES = {
    "ranking": lambda names: {"ranks": {name: at for at, name in enumerate(names, 1)}},
    "thumbs": lambda names: {"thumbs": dict.fromkeys(names, True)},
    "rating": lambda names: {"ratings": dict.fromkeys(names, 3)},
    "demonstration": lambda names: {"text": "Mine.", "edited_from": names[0]},
}


def send(visitor, task, answer, **changes):
    body = {"client_uuid": "answer-number-one", "based_on": task["revision"], "state": "submitted", "answer": answer}
    return visitor.put(f"/api/tasks/{task['task_id']}/answer", {**body, **changes})


def next_task(visitor, project_id):
    return visitor.get(f"/api/projects/{project_id}/next").json()["task"]


@BOTH
def test_a_program_goes_from_its_link_to_an_answer(site):
    project_id, anna = site.project(), site.user("anna")
    site.join(project_id, anna, read=False)
    visitor = site.visitor(bearer=True)
    joined = visitor.client.post("/api/join", json={"token": site.token(anna)})
    assert joined.status_code == 200
    assert "set-cookie" not in joined.headers
    visitor.client.headers["authorization"] = f"Bearer {joined.json()['session']}"
    (mine,) = visitor.get("/api/projects").json()["projects"]
    assert (mine["id"], mine["version"]) == (project_id, 1)
    assert mine["progress"] == {"done": 0, "total": 3}
    about = visitor.get(f"/api/projects/{project_id}").json()
    assert (about["criterion"], about["instructions"], about["mode"]) == ("Rank them.", "Read *first*.", "ranking")
    assert about["acknowledged"] is False
    assert visitor.get(f"/api/projects/{project_id}/next").json()["kind"] == "unread"
    read = visitor.client.post(f"/api/projects/{project_id}/acknowledge", json={"version": 1})
    assert read.json() == {"acknowledged": True}
    task = next_task(visitor, project_id)
    names = [each["id"] for each in task["completions"]]
    assert send(visitor, task, MODES["ranking"](names)).status_code == 200
    assert visitor.get(f"/api/projects/{project_id}").json()["progress"] == {"done": 1, "total": 3}


def test_a_link_opens_one_session_and_guesses_are_counted(site):
    anna = site.user("anna")
    token = site.token(anna)
    visitor = site.visitor(bearer=True)
    assert [visitor.client.post("/api/join", json={"token": token}).status_code for _ in range(2)] == [200, 403]
    answers = {visitor.client.post("/api/join", json={"token": "guess"}).status_code for _ in range(30)}
    assert answers == {403, 429}


@pytest.mark.parametrize(
    "headers", [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}], ids=str
)
def test_another_site_cannot_use_a_link_up(site, headers):
    token = site.token(site.user("anna"))
    visitor = site.visitor(bearer=True)
    assert visitor.client.post("/api/join", json={"token": token}, headers=headers).status_code == 403
    assert visitor.client.post("/api/join", json={"token": token}, headers={"origin": ORIGIN}).status_code == 200


@BOTH
@pytest.mark.parametrize("mode", list(MODES))
def test_names_tell_neither_the_model_nor_the_order_and_the_ids_are_stored(site, mode):
    project_id, anna = site.project(mode=mode, texts=("one", "two", "three", "four")), site.user("anna")
    site.join(project_id, anna)
    visitor = site.visitor(anna)
    task = next_task(visitor, project_id)
    assert [each["id"] for each in task["completions"]] == ["a", "b", "c", "d"]
    names = [each["id"] for each in task["completions"]]
    assert send(visitor, task, MODES[mode](names), state="draft").status_code == 200
    again = next_task(visitor, project_id)
    wanted = MODES[mode](names)
    assert {field: again["draft"][field] for field in wanted} == wanted
    assert send(visitor, again, wanted, client_uuid="answer-number-two").status_code == 200
    (row,) = [each for each in site.responses() if each["state"] == "submitted"]
    # The fixture's ids say where each text came from: "one" is c0.
    stored = row["answer"] if isinstance(row["answer"], dict) else json.loads(row["answer"])
    number = {"one": 0, "two": 1, "three": 2, "four": 3}
    ids = [f"c{number[each['text']]}" for each in task["completions"]]
    if mode == "demonstration":
        assert stored["edited_from"].endswith(ids[0])
    else:
        (field,) = wanted
        assert {key.partition("-")[2]: value for key, value in stored[field].items()} == dict(
            zip(ids, wanted[field].values(), strict=True)
        )


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"ranks": {"a": 1, "b": 2, "c": 3, "e": 4}}, "'e' is not a completion"),
        ({"ranks": {"a": 1, "b": 2, "c": 3, "d": 4}, "fails": ["b"]}, "'b' has a rank and is marked F"),
        ({"ranks": {"a": 1}}, "3 of 4"),
        ({"ranks": {"t0-c0": 1, "t0-c1": 2, "t0-c2": 3, "t0-c3": 4}}, "is not a completion"),
        ({"thumbs": {"a": True}}, "does not belong"),
    ],
)
def test_what_is_wrong_is_said_in_the_same_names_and_nothing_is_stored(at_work, site, answer, says):
    visitor, project_id = at_work
    refused = send(visitor, next_task(visitor, project_id), answer)
    assert refused.status_code == 422
    assert says in refused.json()["error"]
    assert site.responses() == []


def test_a_conflict_shows_what_is_stored_in_the_same_names(at_work):
    visitor, project_id = at_work
    task = next_task(visitor, project_id)
    first, second = {"ranks": {"a": 1, "b": 2, "c": 3}, "fails": ["d"]}, {"ranks": dict.fromkeys("abcd", 1)}
    assert send(visitor, task, first).status_code == 200
    conflict = send(visitor, task, second, client_uuid="answer-number-two").json()
    assert conflict["stored"]["ranks"] == first["ranks"]
    assert conflict["stored"]["fails"] == ["d"]
    assert conflict["sent"]["ranks"] == second["ranks"]


def test_one_name_for_answers_to_two_tasks_is_a_conflict(at_work):
    visitor, project_id = at_work
    answer = MODES["ranking"]("abcd")
    assert send(visitor, next_task(visitor, project_id), answer).status_code == 200
    other = send(visitor, next_task(visitor, project_id), answer)
    assert other.status_code == 409
    assert other.json()["stored"] is None


@pytest.mark.parametrize("body", [{}, {"version": 0}, {"version": "one"}, {"version": 10**12}, {"version": 1, "x": 2}])
def test_a_version_that_cannot_be_is_refused(at_work, body):
    visitor, project_id = at_work
    headers = {"x-csrf-token": visitor.csrf}
    answer = visitor.client.post(f"/api/projects/{project_id}/acknowledge", json=body, headers=headers)
    assert answer.status_code == 422


def test_a_version_that_is_not_there_is_not_read(at_work):
    visitor, project_id = at_work
    headers = {"x-csrf-token": visitor.csrf}
    answer = visitor.client.post(f"/api/projects/{project_id}/acknowledge", json={"version": 9}, headers=headers)
    assert answer.status_code == 404
