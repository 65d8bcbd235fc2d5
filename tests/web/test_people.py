"""A labeler as their manager sees them, and what they are written."""

from __future__ import annotations

import re

import pytest

from tests.sites import BOTH, TEXTS
from tests.web.people import Crew
from tests.web.test_dashboard import words, work_out

HOSTILE = '</div></form><script>alert(1)</script><img src=x onerror=alert(1)> "quoted"'


@pytest.fixture
def crew(site):
    return Crew(site, site.project(), ("anna", "ben"))


@pytest.fixture
def path(crew):
    return f"/manage/projects/{crew.project}/members/{crew.ids['anna']}"


@BOTH
def test_a_record_says_what_was_done_and_decided_and_why(site, crew, path, manager):
    crew.answer("anna", TEXTS)
    crew.answer("anna", (), state="skipped", reason="upsetting", answer={})
    manager.post(path, {"state": "paused", "reason": "ranks look reversed"})
    manager.post(path, {"state": "active", "reason": "talked about it"})
    page = words(manager.get(path).text)
    assert "Active. 1 task answered, 0 minutes, 1 skipped." in page or "1 task answered, 1 minutes" in page
    assert "upsetting" in page
    journal = page[page.index("Journal") :]
    lines = [
        journal.index(line)
        for line in ("taken back · meg talked about it", "paused · meg ranks look reversed", "joined")
    ]
    assert lines == sorted(lines)
    assert "Not worked out yet." in page


def test_the_five_signals_stand_there_once_they_are_worked_out(site, crew, path, manager):
    for name in ("anna", "ben"):
        crew.answer(name, TEXTS)
    work_out(site, manager, f"/manage/projects/{crew.project}")
    page = words(manager.get(path).text)
    for signal in ("With the others 100 % (100–100)", "On gold items –", "With themselves –", "Seconds per task 30"):
        assert signal in page, signal


def test_logging_out_everywhere_ends_sessions_and_is_logged(crew, path, manager):
    anna = crew.visitors["anna"]
    assert anna.get("/").status_code == 200
    assert manager.post(f"{path}/logout").status_code == 303
    assert anna.get("/").status_code == 401
    assert crew.visitors["ben"].get("/").status_code == 200
    assert "was logged out everywhere · meg" in words(manager.get(path).text)


def test_managers_are_not_logged_out_or_linked_by_each_other(site, crew, manager):
    other = site.user("max", "admin")
    site.join(crew.project, other)
    for what in ("link", "logout"):
        assert manager.post(f"/manage/projects/{crew.project}/members/{other}/{what}").status_code == 404


def test_somebody_who_is_not_on_the_project_has_no_page(site, crew, manager):
    stranger = site.user("stranger")
    path = f"/manage/projects/{crew.project}/members/{stranger}"
    assert manager.get(path).status_code == 404
    for action, fields in (
        ("/messages", {"text": "Hello."}),
        ("/link", {}),
        ("/logout", {}),
        ("", {"state": "paused"}),
    ):
        assert manager.post(path + action, fields).status_code == 404, action


@BOTH
def test_a_message_stands_on_home_and_above_the_next_task_until_it_is_read(site, crew, path, manager):
    anna, ben = crew.visitors["anna"], crew.visitors["ben"]
    assert manager.post(f"{path}/messages", {"text": "Long is not better.\nThank you."}).status_code == 303
    assert "not read yet" in words(manager.get(path).text)
    for address in ("/", f"/projects/{crew.project}/task"):
        page = anna.get(address).text
        assert 'role="status"' in page
        assert "Long is not better." in page
        assert "From meg" in words(page)
        assert "Long is not better." not in ben.get(address).text
    (message,) = set(re.findall(r'action="/messages/(\d+)/read"', anna.get("/").text))
    assert ben.post(f"/messages/{message}/read").status_code == 404
    read = anna.post(f"/messages/{message}/read", {"project": str(crew.project)})
    assert read.headers["location"] == f"/projects/{crew.project}/task"
    assert "Long is not better." not in anna.get("/").text + anna.get(f"/projects/{crew.project}/task").text
    assert "not read yet" not in words(manager.get(path).text)
    assert anna.post(f"/messages/{message}/read").headers["location"] == "/"


def test_everybody_but_the_excluded_gets_a_message_to_all(crew, path, manager):
    manager.post(path, {"state": "excluded", "reason": "spam"})
    manager.post(f"/manage/projects/{crew.project}/messages", {"text": "To all of you."})
    assert "To all of you." in crew.visitors["ben"].get("/").text
    assert "To all of you." not in crew.visitors["anna"].get("/").text


@pytest.mark.parametrize("text", ["", "   ", "x" * 2001])
def test_a_message_of_nothing_or_too_much_is_refused(crew, path, manager, text):
    assert manager.post(f"{path}/messages", {"text": text}).status_code == 422
    assert 'action="/messages/' not in crew.visitors["anna"].get("/").text


def test_a_message_stays_text(crew, path, manager):
    manager.post(f"{path}/messages", {"text": HOSTILE})
    for page in (crew.visitors["anna"].get("/").text, manager.get(path).text):
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page


def test_a_paused_labeler_reads_why_they_were_written(crew, path, manager):
    manager.post(f"{path}/messages", {"text": "Let us talk first."})
    manager.post(path, {"state": "paused"})
    page = crew.visitors["anna"].get(f"/projects/{crew.project}/task").text
    assert "Your queue is paused" in page
    assert "Let us talk first." in page
