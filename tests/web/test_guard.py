"""What holds for every answer: headers, limits, error pages, and never a 5xx for what people send."""

from __future__ import annotations

import json
import logging

import pytest

from heedful.apps.web.rates import Rate
from heedful.apps.web.security import BODY_BYTES, CONTENT_SECURITY_POLICY
from heedful.apps.web.serve import check_host
from heedful.errors import ConfigError, StoreUnavailable
from tests.sites import ORIGIN, Site
from tests.web.test_access import TABLE, World

# Spelled out here, not read from the code: a weaker policy must turn the test red.
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def check_headers(answer):
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value], name
    assert "access-control-allow-origin" not in answer.headers
    kept = "/static/" in str(answer.request.url) and answer.status_code == 200
    assert ("no-store" in answer.headers["cache-control"]) != kept


def test_the_policy_allows_nothing_inline_and_nobody_else():
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY
    assert "http" not in CONTENT_SECURITY_POLICY


def test_every_route_sends_every_header_for_every_role(site):
    world = World(site)
    for role in ("nobody", "labeler", "manager"):
        visitor = site.visitor(world.ids.get(role))
        for method, route in TABLE:
            check_headers(visitor.client.request(method, world.path(route)))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/no/such/page", 404),
        ("GET", "/tasks/zero", 404),
        ("GET", "/tasks/0", 404),
        ("GET", "/tasks/99999999999999999999999", 404),
        ("GET", "/static/x/../../etc/passwd", 404),
        ("GET", "/static/x/%2e%2e%2fsecurity.py", 404),
        ("DELETE", "/", 405),
        ("POST", "/join", 403),
    ],
)
def test_errors_carry_the_headers_too(site, method, path, status):
    answer = site.visitor(site.user("anna")).client.request(method, path)
    assert answer.status_code == status
    check_headers(answer)


def test_programs_get_errors_as_json(site):
    visitor = site.visitor()
    for answer in (visitor.get("/api/projects/1/next"), visitor.get("/none", headers={"accept": "application/json"})):
        assert set(answer.json()) == {"error", "kind"}


def test_a_failure_of_ours_shows_nothing_of_it(site, monkeypatch, caplog):
    visitor = site.visitor(site.user("anna"))

    def broken(job):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(site.database, "read", broken)
    with caplog.at_level(logging.CRITICAL):
        answer = visitor.get("/")
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert "What you had saved is safe" in answer.text
    check_headers(answer)


def test_even_a_broken_error_page_has_its_headers(site, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("heedful.apps.web.security.problem_response", broken)
    with caplog.at_level(logging.CRITICAL):
        answer = site.visitor().client.post("/join", headers={"origin": "https://evil.example"})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    check_headers(answer)


def test_a_store_that_is_gone_is_said_to_be(site, monkeypatch):
    visitor = site.visitor(site.user("anna"))

    def gone(job):
        raise StoreUnavailable("disk full")

    monkeypatch.setattr(site.database, "read", gone)
    answer = visitor.get("/")
    assert answer.status_code == 503
    assert "Nothing is lost that was saved" in answer.text
    check_headers(answer)


def test_a_body_beyond_its_limit_is_refused_whatever_its_length_says(site):
    visitor = site.visitor(site.user("anna"))
    long = b"csrf=" + b"x" * BODY_BYTES
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert visitor.client.post("/settings", content=long, headers=headers).status_code == 413
    chunks = (part for part in (long[: BODY_BYTES // 2], long[BODY_BYTES // 2 :]))
    assert visitor.client.post("/settings", content=chunks, headers=headers).status_code == 413
    assert visitor.client.post("/settings", content=b"", headers={"content-length": "-1"}).status_code == 413


HOSTILE = [
    "",
    "\x00",
    "\ud800",
    "-1",
    "9" * 400,
    "{{7*7}}",
    "<script>alert(1)</script>",
    "💥" * 1000,
    "../..",
    "a\r\nb",
    "true",
    "NaN",
]


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
def test_nothing_that_a_form_says_is_a_failure_of_ours(site, value):
    world = World(site)
    text = value.encode(errors="surrogatepass").decode("latin-1")
    for role in ("labeler", "manager"):
        visitor = site.visitor(world.ids[role])
        for method, route in TABLE:
            if method != "POST" or route == "/logout":
                continue
            names = (
                "action",
                "client_uuid",
                "based_on",
                "rank-0",
                "reason",
                "name",
                "title",
                "mode",
                "state",
                "version",
                "token",
            )
            names += ("overlap", "instructions", "active_ms", "events", "completions", "rating_min", "language", "keys")
            fields = {"csrf": visitor.csrf, **dict.fromkeys(names, text)}
            answer = visitor.client.post(world.path(route), data=fields)
            assert answer.status_code < 500, (route, answer.status_code)
            assert "<script>alert" not in answer.text
            for action in ("submit", "skip", "draft", "tie:9999", "up:1", "edit:0"):
                if route == "/tasks/{task_id}":
                    sent = {**fields, "action": action, "client_uuid": "a-name-for-it"}
                    assert visitor.client.post(world.path(route), data=sent).status_code < 500


@pytest.mark.parametrize("value", [*HOSTILE, None, [], {}, -1, 2**80, 1e308, [[]], {"ranks": {"x": 1}}], ids=ascii)
def test_nothing_that_a_program_says_is_a_failure_of_ours(site, value):
    world = World(site)
    visitor = site.visitor(world.ids["labeler"])
    whole = {"client_uuid": "a-name-for-it", "based_on": 0, "state": "submitted", "answer": {}, "events": []}
    path = f"/api/tasks/{world.task}/answer"
    headers = {"x-csrf-token": visitor.csrf, "content-type": "application/json"}
    bodies = [value, *({**whole, name: value} for name in (*whole, "reason", "active_ms", "surprise"))]
    bodies += [{**whole, "answer": {name: value}} for name in ("ranks", "fails", "thumbs", "text")]
    for body in bodies:
        answer = visitor.client.put(path, content=json.dumps(body), headers=headers)
        assert 400 <= answer.status_code < 500, (body, answer.text)
        assert set(answer.json()) >= {"error", "kind"}
    for raw in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000):
        assert 400 <= visitor.client.put(path, content=raw, headers=headers).status_code < 500


@pytest.mark.parametrize(
    "query",
    ["?after=x", "?after=-1", "?after=99999999999999999999", "?page=0", "?state=%00", "?contains=%25_%5C", "?page=1e9"],
)
def test_nothing_that_an_address_says_is_a_failure_of_ours(site, query):
    world = World(site)
    for role, path in (
        ("labeler", f"/projects/{world.project}/task"),
        ("manager", f"/manage/projects/{world.project}/tasks"),
    ):
        assert site.visitor(world.ids[role]).get(path + query).status_code < 500


def test_names_are_shown_escaped_and_hidden_characters_as_badges(site):
    manager = site.visitor(site.user("meg", "manager"))
    project_id = site.project(title="<img src=x onerror=alert(1)> \u202etitle", criterion="{{7*7}} \u200b")
    page = manager.get(f"/manage/projects/{project_id}").text
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert '<span class="badge">U+202E</span>' in page
    assert '{{7*7}} <span class="badge">U+200B</span>' in page


def test_links_are_tried_only_so_often(site):
    visitor = site.visitor()
    statuses = [visitor.post("/join", {"token": "guess"}).status_code for _ in range(30)]
    assert statuses[0] == 403
    assert statuses[-1] == 429


def test_a_rate_forgets_after_its_time():
    rate = Rate(2, 10.0)
    assert [rate.allows("a", at) for at in (0.0, 1.0, 2.0, 9.9, 10.0)] == [True, True, False, False, True]
    assert rate.allows("b", 2.0)


def test_a_link_signs_in_once_and_looking_at_it_uses_nothing(site):
    anna = site.user("anna")
    token = site.token(anna)
    visitor = site.visitor()
    for _ in range(2):
        assert "Sign in" in visitor.get(f"/join/{token}").text
    joined = visitor.post("/join", {"token": token})
    assert (joined.status_code, joined.headers["location"]) == (303, "/")
    cookie = joined.headers["set-cookie"]
    assert cookie.startswith("sid=")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert visitor.get("/").status_code == 200
    assert site.visitor().post("/join", {"token": token}).status_code == 403


def test_behind_tls_cookies_are_bound_to_host_and_tls(tmp_path):
    site = Site(tmp_path / "labels.sqlite", secure=True)
    visitor = site.visitor()
    joined = visitor.post("/join", {"token": site.token(site.user("anna"))})
    cookie = joined.headers["set-cookie"]
    assert cookie.startswith("__Host-sid=")
    assert {"Secure", "HttpOnly"} <= {part.strip() for part in cookie.split(";")}
    assert "max-age" in joined.headers["strict-transport-security"]
    site.close()


def test_logging_out_ends_the_session_and_everywhere_ends_all(site):
    anna = site.user("anna")
    one, two, three = (site.visitor(anna) for _ in range(3))
    assert one.post("/logout").status_code == 303
    assert [each.get("/").status_code for each in (one, two, three)] == [401, 200, 200]
    two.post("/logout", {"everywhere": "1"})
    assert three.get("/").status_code == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "example.org", "::"])
def test_other_machines_come_only_through_a_tls_proxy(host):
    with pytest.raises(ConfigError, match="--behind-tls"):
        check_host(host, behind_tls=False)
    check_host(host, behind_tls=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.3.4.5"])
def test_this_machine_needs_none(host):
    check_host(host, behind_tls=False)


def test_origin_is_compared_with_the_host_asked():
    from starlette.datastructures import Headers

    from heedful.apps.web.security import same_origin

    assert same_origin(Headers({"origin": ORIGIN, "host": "testserver"}))
    assert not same_origin(Headers({"origin": "http://testserver.evil.example", "host": "testserver"}))
    assert not same_origin(Headers({"host": "testserver"}))
