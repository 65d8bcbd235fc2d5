"""Who may go where: every route, every role, every method. A route that is missing from the table fails."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from fastapi.routing import APIRoute

from tests.sites import ORIGIN, Site

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Rule(NamedTuple):
    """Status for: nobody signed in, a stranger to the project, a labeler of it, a manager who does not label."""

    nobody: int
    stranger: int
    labeler: int
    manager: int


OPEN, HOME = Rule(200, 200, 200, 200), Rule(401, 200, 200, 200)
MINE = Rule(401, 404, 200, 404)
MINE_THEN_ON = Rule(401, 404, 303, 404)
MANAGED, MANAGED_THEN_ON = Rule(401, 404, 404, 200), Rule(401, 404, 404, 303)

TABLE: dict[tuple[str, str], Rule] = {
    ("GET", "/healthz"): OPEN,
    ("GET", "/static/{version}/{name}"): OPEN,
    ("GET", "/join/{token}"): OPEN,
    ("POST", "/join"): Rule(403, 403, 403, 403),
    ("GET", "/"): HOME,
    ("POST", "/logout"): Rule(401, 303, 303, 303),
    ("POST", "/messages/{message_id}/read"): MINE_THEN_ON,
    ("GET", "/settings"): HOME,
    ("POST", "/settings"): Rule(401, 303, 303, 303),
    ("GET", "/projects/{project_id}"): MINE_THEN_ON,
    ("POST", "/projects/{project_id}/acknowledge"): MINE_THEN_ON,
    ("GET", "/projects/{project_id}/task"): MINE,
    ("GET", "/projects/{project_id}/recent"): MINE,
    ("GET", "/tasks/{task_id}"): MINE,
    ("POST", "/tasks/{task_id}"): MINE_THEN_ON,
    ("GET", "/tasks/{task_id}/feedback"): MINE,
    ("POST", "/api/join"): Rule(403, 403, 403, 403),
    ("GET", "/api/projects"): HOME,
    ("GET", "/api/projects/{project_id}"): MINE,
    ("POST", "/api/projects/{project_id}/acknowledge"): MINE,
    ("GET", "/api/projects/{project_id}/next"): MINE,
    ("PUT", "/api/tasks/{task_id}/answer"): MINE,
    ("POST", "/api/tasks/{task_id}/heartbeat"): Rule(401, 200, 200, 200),
    ("GET", "/manage"): MANAGED,
    ("GET", "/manage/new"): MANAGED,
    # The form of the table is empty: the page comes back and says what is missing.
    ("POST", "/manage/new"): Rule(401, 404, 404, 422),
    ("GET", "/manage/projects/{project_id}"): MANAGED,
    ("GET", "/manage/projects/{project_id}/tasks"): MANAGED,
    ("POST", "/manage/projects/{project_id}/tasks"): Rule(401, 404, 404, 422),
    ("GET", "/manage/projects/{project_id}/tasks/{task_id}"): MANAGED,
    ("POST", "/manage/projects/{project_id}/tasks/{task_id}"): MANAGED_THEN_ON,
    ("POST", "/manage/projects/{project_id}/statistics"): MANAGED_THEN_ON,
    ("POST", "/manage/projects/{project_id}/messages"): MANAGED_THEN_ON,
    ("POST", "/manage/projects/{project_id}/flags/{flag_id}"): MANAGED_THEN_ON,
    ("POST", "/manage/projects/{project_id}/instructions"): MANAGED_THEN_ON,
    ("POST", "/manage/projects/{project_id}/open"): MANAGED_THEN_ON,
    ("POST", "/manage/projects/{project_id}/invite"): MANAGED,
    ("GET", "/manage/projects/{project_id}/members/{user_id}"): MANAGED,
    ("POST", "/manage/projects/{project_id}/members/{user_id}"): MANAGED_THEN_ON,
    ("POST", "/manage/projects/{project_id}/members/{user_id}/messages"): MANAGED_THEN_ON,
    ("POST", "/manage/projects/{project_id}/members/{user_id}/logout"): MANAGED_THEN_ON,
    ("POST", "/manage/projects/{project_id}/members/{user_id}/link"): MANAGED,
    ("GET", "/manage/projects/{project_id}/export/{kind}"): MANAGED,
}
FIELDS = {
    "/tasks/{task_id}": {"action": "draft", "client_uuid": "a-draft-of-a-test", "based_on": "0"},
    "/projects/{project_id}/acknowledge": {"version": "1"},
    "/manage/projects/{project_id}/invite": {"name": "somebody new"},
    "/manage/projects/{project_id}/members/{user_id}": {"state": "active"},
    "/manage/projects/{project_id}/members/{user_id}/messages": {"text": "Well done."},
    "/manage/projects/{project_id}/messages": {"text": "Well done, all of you."},
    "/manage/projects/{project_id}/flags/{flag_id}": {"decision": "dismissed", "reason": "they are right"},
    "/manage/projects/{project_id}/tasks/{task_id}": {"action": "one_more", "words": "to be sure"},
}
BODIES = {"/api/join": {"token": "unknown"}, "/api/projects/{project_id}/acknowledge": {"version": 1}}
"""What JSON takes where it is posted."""
ANSWER = {"client_uuid": "a-draft-of-a-test", "based_on": 0, "state": "draft"}


class World:
    """A project with a labeler at a task, a stranger with a project of their own, a manager."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.project, self.other = site.project(), site.project()
        self.ids = {name: site.user(name) for name in ("labeler", "stranger")}
        self.ids["manager"] = site.user("manager", "manager")
        site.join(self.project, self.ids["labeler"])
        site.join(self.other, self.ids["stranger"])
        task = site.visitor(self.ids["labeler"]).get(f"/api/projects/{self.project}/next").json()["task"]
        self.task = task["task_id"]
        self.message = site.message(self.project, self.ids["labeler"], "Hello.")
        self.flag = site.flag(self.project, self.ids["labeler"], "disagrees")

    def practised(self) -> int:
        """Let the labeler answer a practice task."""
        task = self.site.known_task(self.project, "practice", practice=True)
        labeler = self.site.visitor(self.ids["labeler"])
        labeler.get(f"/api/projects/{self.project}/next", params={"after": self.task})
        answer = {"ranks": dict(zip("abcd", (1, 2, 3, 4), strict=True))}
        sent = {"client_uuid": "practice-of-a-test", "based_on": 0, "state": "submitted", "answer": answer}
        assert labeler.put(f"/api/tasks/{task}/answer", sent).status_code == 200
        return task

    def path(self, route: str) -> str:
        values = {"project_id": self.project, "task_id": self.task, "user_id": self.ids["labeler"]}
        values |= {"message_id": self.message, "flag_id": self.flag}
        if route == "/tasks/{task_id}/feedback":
            values["task_id"] = self.practised()
        values |= {"token": "unknown", "kind": "rankings", "version": "any", "name": "heed.css"}
        return route.format(**values)

    def ask(self, role: str, method: str, route: str) -> int:
        visitor = self.site.visitor(self.ids.get(role))
        options = {"headers": {"x-csrf-token": visitor.csrf}}
        if method == "PUT":
            options["json"] = ANSWER
        elif route in BODIES:
            options["json"] = BODIES[route]
        elif method == "POST":
            options["data"] = {"csrf": visitor.csrf, **FIELDS.get(route, {})}
        return visitor.client.request(method, self.path(route), **options).status_code


def all_routes(routes, prefix=""):
    """Every (method, path) that the application answers, routers inside routers included."""
    found = set()
    for route in routes:
        if isinstance(route, APIRoute):
            found |= {(method, route.path) for method in route.methods if method != "HEAD"}
        elif hasattr(route, "methods") and route.methods:
            found |= {(method, prefix + route.path) for method in route.methods if method != "HEAD"}
        elif hasattr(route, "original_router"):
            found |= all_routes(route.original_router.routes, prefix)
        elif getattr(route, "routes", None):
            found |= all_routes(route.routes, prefix + route.path)
        else:
            raise AssertionError(f"a kind of route that this test does not know: {route!r}")
    return found


@pytest.fixture
def world(site):
    return World(site)


def test_the_table_names_every_route_and_no_other(site):
    assert all_routes(site.app.routes) == set(TABLE)


@pytest.mark.parametrize("role", ["nobody", "stranger", "labeler", "manager"])
@pytest.mark.parametrize(("method", "route"), list(TABLE), ids=[" ".join(key) for key in TABLE])
def test_every_role_gets_what_the_table_says(world, role, method, route):
    assert world.ask(role, method, route) == getattr(TABLE[method, route], role)


@pytest.mark.parametrize("route", sorted({route for _, route in TABLE}))
def test_other_methods_are_refused(world, route):
    for method in METHODS:
        if (method, route) not in TABLE:
            assert world.ask("manager", method, route) in (404, 405), method


@pytest.mark.parametrize("kind", ["missing", "wrong", "of another session"])
def test_a_form_without_its_token_changes_nothing(world, kind):
    for method, route in TABLE:
        if method in ("POST", "PUT") and route not in ("/join", "/api/join"):
            role = "manager" if route.startswith("/manage") else "labeler"
            visitor = world.site.visitor(world.ids[role])
            token = {"missing": "", "wrong": "x" * 64, "of another session": world.site.visitor(world.ids[role]).csrf}[
                kind
            ]
            body = ANSWER if method == "PUT" else BODIES.get(route)
            options = {"json": body} if body else {"data": {"csrf": token, **FIELDS.get(route, {})}}
            headers = {"x-csrf-token": token}
            answer = visitor.client.request(method, world.path(route), headers=headers, **options)
            assert answer.status_code == 403, route
    assert world.site.responses() == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": ORIGIN, "sec-fetch-site": "cross-site"},
        {"origin": ORIGIN, "sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_a_request_from_another_site_changes_nothing(world, headers):
    visitor = world.site.visitor(world.ids["labeler"])
    fields = {"csrf": visitor.csrf, **FIELDS["/tasks/{task_id}"]}
    answer = visitor.client.post(f"/tasks/{world.task}", data=fields, headers=headers)
    assert answer.status_code == 403
    assert world.site.responses() == []


def test_a_browser_that_says_same_origin_is_believed(world):
    visitor = world.site.visitor(world.ids["labeler"])
    fields = {"csrf": visitor.csrf, **FIELDS["/tasks/{task_id}"]}
    answer = visitor.client.post(f"/tasks/{world.task}", data=fields, headers={"sec-fetch-site": "same-origin"})
    assert answer.status_code == 303


def test_a_bearer_token_needs_neither_cookie_nor_token_of_a_form(world):
    visitor = world.site.visitor(world.ids["labeler"], bearer=True)
    answer = visitor.client.put(f"/api/tasks/{world.task}/answer", json=ANSWER)
    assert answer.status_code == 200, answer.text
    assert answer.json()["created"]


def test_with_a_bearer_token_no_cookie_counts(world):
    visitor = world.site.visitor(world.ids["labeler"])
    headers = {"authorization": "Bearer wrong"}
    assert visitor.client.get("/", headers=headers).status_code == 401


def test_a_foreign_task_looks_like_none(world):
    visitor = world.site.visitor(world.ids["stranger"])
    foreign, absent = visitor.get(f"/tasks/{world.task}"), visitor.get("/tasks/999999")
    assert (foreign.status_code, foreign.text) == (absent.status_code, absent.text)


def test_the_api_stores_once_under_one_name_and_says_of_a_conflict_what_is_stored(world):
    visitor = world.site.visitor(world.ids["labeler"])
    keys = [each["id"] for each in visitor.get(f"/api/projects/{world.project}/next").json()["task"]["completions"]]
    body = {
        "client_uuid": "answer-number-one",
        "based_on": 0,
        "state": "submitted",
        "answer": {"ranks": {key: at for at, key in enumerate(keys, 1)}},
    }
    path = f"/api/tasks/{world.task}/answer"
    first, again = visitor.put(path, body), visitor.put(path, body)
    assert [first.json()["created"], again.json()["created"]] == [True, False]
    assert first.json()["revision"] == again.json()["revision"]
    conflict = visitor.put(path, {**body, "client_uuid": "answer-number-two"})
    assert conflict.status_code == 409
    assert conflict.json()["stored"]["ranks"] == body["answer"]["ranks"]
    incomplete = visitor.put(
        path, {**body, "client_uuid": "answer-number-three", "based_on": 1, "answer": {"ranks": {keys[0]: 1}}}
    )
    assert incomplete.status_code == 422
    assert "ranks" in incomplete.json()["error"]
    assert len(world.site.responses()) == 1
