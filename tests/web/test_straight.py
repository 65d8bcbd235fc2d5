"""The short way to the next task and to an answer says what the framework's way says, whatever is sent."""

from __future__ import annotations

import json

import pytest

from tests.sites import BOTH

RANKS = {"ranks": {"a": 1, "b": 2, "c": 3, "d": 4}}
SENT = {"client_uuid": "answer-number-one", "based_on": 0, "state": "submitted", "answer": RANKS}
FRAMEWORK = "?way=framework"
"""A query that nobody reads: with one, a request goes the framework's way."""


def both_ways(visitor, method, path, **request):
    """Return what the short way says and what the framework's says; each changes nothing that the other would notice."""
    answers = [visitor.client.request(method, path + query, **request) for query in ("", FRAMEWORK)]
    return [(each.status_code, each.json(), sorted(each.headers)) for each in answers]


@pytest.fixture
def walked(site, monkeypatch):
    """Which way requests to the API went: the paths that the framework's routes were asked for."""
    asked = []
    whole = site.app.router.app

    async def noted(scope, receive, send):
        if scope["type"] == "http":
            asked.append(scope["path"])
        await whole(scope, receive, send)

    monkeypatch.setattr(site.app.router, "middleware_stack", noted)
    return asked


def test_ordinary_requests_go_the_short_way(site, walked):
    project_id, anna = site.project(), site.user("anna")
    site.join(project_id, anna)
    visitor = site.visitor(anna)
    task = visitor.get(f"/api/projects/{project_id}/next").json()["task"]
    assert visitor.put(f"/api/tasks/{task['task_id']}/answer", SENT).json()["created"]
    assert [path for path in walked if path.startswith("/api/")] == []
    visitor.get(f"/api/projects/{project_id}/next{FRAMEWORK}")
    assert [path for path in walked if path.startswith("/api/")] == [f"/api/projects/{project_id}/next"]


@BOTH
def test_both_ways_lead_to_the_same_task_and_the_same_receipt(site):
    project_id, anna = site.project(), site.user("anna")
    site.join(project_id, anna)
    visitor = site.visitor(anna)
    straight, framework = both_ways(visitor, "GET", f"/api/projects/{project_id}/next")
    # The lease is held for longer each time that one comes for it.
    for answer in (straight, framework):
        assert answer[1]["task"].pop("lease_expires")
    assert straight == framework
    path = f"/api/tasks/{straight[1]['task']['task_id']}/answer"
    straight, framework = both_ways(visitor, "PUT", path, json=SENT, headers={"x-csrf-token": visitor.csrf})
    assert straight[1].pop("created") is True
    assert framework[1].pop("created") is False
    assert straight == framework


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[]", 422),
        (b"null", 422),
        (b"{}", 422),
        (json.dumps({**SENT, "more": 1}).encode(), 422),
        (json.dumps({**SENT, "based_on": "0"}).encode(), 200),
        (json.dumps({**SENT, "based_on": -1}).encode(), 422),
        (json.dumps({**SENT, "based_on": 1.5}).encode(), 422),
        (json.dumps({**SENT, "state": "sent"}).encode(), 422),
        (json.dumps({**SENT, "client_uuid": "a b"}).encode(), 422),
        (json.dumps({**SENT, "answer": {"ranks": {"a": 1}}}).encode(), 422),
        (json.dumps({**SENT, "answer": {"text": "\ud800"}}).encode(), 422),
        (json.dumps({**SENT, "events": [{"at": float("nan")}]}).encode(), 422),
        (json.dumps({**SENT, "reason": "x" * 501}).encode(), 422),
        ('{"client_uuid": "\xff"}'.encode("latin-1"), 400),
    ],
)
def test_bodies_are_taken_and_refused_alike(at_work, body, status):
    visitor, project_id = at_work
    task = visitor.get(f"/api/projects/{project_id}/next").json()["task"]
    headers = {"x-csrf-token": visitor.csrf, "content-type": "application/json"}
    straight, framework = both_ways(
        visitor, "PUT", f"/api/tasks/{task['task_id']}/answer", content=body, headers=headers
    )
    assert straight[0] == status
    straight[1].pop("created", None)
    framework[1].pop("created", None)
    assert straight == framework


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/projects/{other}/next", 404),
        ("GET", "/api/projects/0/next", 404),
        ("GET", "/api/projects/007/next", 404),
        ("GET", "/api/projects/9007199254740993/next", 404),
        ("GET", "/api/projects/x/next", 404),
        ("POST", "/api/projects/{project}/next", 405),
        ("PUT", "/api/tasks/{other}/answer", 404),
        ("GET", "/api/tasks/{other}/answer", 405),
    ],
)
def test_addresses_are_known_and_unknown_alike(at_work, site, method, path, status):
    visitor, project_id = at_work
    path = path.format(project=project_id, other=site.project() + 100)
    request = {"json": SENT} if method == "PUT" else {}
    straight, framework = both_ways(visitor, method, path, headers={"x-csrf-token": visitor.csrf}, **request)
    assert straight[0] == status
    assert straight == framework


@pytest.mark.parametrize("headers", [{}, {"x-csrf-token": "forged"}, {"content-type": "text/plain"}], ids=str)
def test_forged_and_stray_requests_are_refused_alike(at_work, headers):
    visitor, project_id = at_work
    task = visitor.get(f"/api/projects/{project_id}/next").json()["task"]
    path = f"/api/tasks/{task['task_id']}/answer"
    straight, framework = both_ways(visitor, "PUT", path, content=json.dumps(SENT), headers=headers)
    assert straight[0] in (403, 422)
    assert straight == framework


def test_strangers_and_the_excluded_are_refused_alike(site):
    project_id, anna = site.project(), site.user("anna")
    strangers = [site.visitor(), site.visitor(site.user("ben")), site.visitor(bearer=True)]
    strangers[2].client.headers["authorization"] = "Bearer nobody"
    site.join(project_id, anna, read=False)
    for visitor, status in zip([*strangers, site.visitor(anna)], (401, 404, 401, 403), strict=True):
        straight, framework = both_ways(visitor, "GET", f"/api/projects/{project_id}/next")
        assert straight[0] == status
        assert straight == framework
