"""The dashboard: how far a project is, statistics on demand, what they were made from, and what they say."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest

from heedful.apps.web.workbench import Workbench
from heedful.feedback.trust.flags import add_flag, flags
from heedful.feedback.trust.kept_findings import keep
from heedful.feedback.trust.quality import LabelerReport
from heedful.feedback.trust.reasons import Said, in_english
from tests.sites import BOTH, TEXTS
from tests.web.people import Crew

FIRST, SECOND, THIRD, FOURTH = TEXTS
NAMES = ("anna", "ben", "cleo")


def words(html: str) -> str:
    """A page as its reader has it: no tags, one space."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def row_of(html: str, name: str) -> str:
    """The line of a table that begins with this."""
    (found,) = [row for row in re.findall(r"<tr.*?</tr>", html, re.DOTALL) if re.search(rf">{re.escape(name)}</", row)]
    return words(found)


def work_out(site, manager, path):
    """Have the statistics worked out, and wait for them however busy the machine is."""
    answer = manager.post(f"{path}/statistics")
    deadline = time.monotonic() + 300
    while site.app.state.workbench.at_work(int(path.rpartition("/")[2])):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return answer


@pytest.fixture
def path(site):
    return f"/manage/projects/{site.project(prompts=[f'prompt {at}' for at in range(4)])}"


def crew_of(site, path, names=NAMES):
    return Crew(site, int(path.rpartition("/")[2]), names)


def test_before_anything_happened_nothing_is_made_up(site, manager, path):
    page = words(manager.get(path).text)
    assert "Not done: 0 of 12 answers are in." in page
    assert "nan" not in page.lower()
    assert "Work out agreement and signals" in page
    assert work_out(site, manager, path).headers["location"] == f"{path}#agreement"
    page = words(manager.get(path).text)
    assert "Not enough overlap" in page
    assert "nan" not in page.lower()


@BOTH
def test_agreement_is_that_of_the_answers_and_says_how_many_they_were(site, manager, path):
    crew = crew_of(site, path)
    for _ in range(4):
        crew.answer("anna", (FIRST, SECOND, THIRD, FOURTH))
        crew.answer("ben", (FIRST, SECOND, THIRD, FOURTH))
    crew.answer("cleo", (SECOND, FIRST, THIRD, FOURTH))
    work_out(site, manager, path)
    html = manager.get(path).text
    assert "Worked out from 9 answers" in words(html)
    # Three tasks with two people who agree on 6 of 6 pairs; one with three people: 6 + 5 + 5 of 18.
    share = round(100 * (3 * 6 + 16) / (3 * 6 + 18))
    assert f"{share} %" in row_of(html, "S2, pairs that both ordered")
    assert f"{share} %" in row_of(html, "S1, ties count")
    crew.answer("cleo", (FIRST, SECOND, THIRD, FOURTH))
    assert "Worked out from 9 answers" in words(manager.get(path).text)
    assert "1 new since" in words(manager.get(path).text)


def test_ties_and_f_are_counted_per_answer(site, manager, path):
    crew = crew_of(site, path)
    crew.answer("anna", ((FIRST, SECOND, THIRD),), fails=(FOURTH,))
    crew.answer("ben", (FIRST, SECOND), fails=(THIRD, FOURTH))
    work_out(site, manager, path)
    html = manager.get(path).text
    ties, fails = (words(each) for each in re.findall(r'<table class="histogram">.*?</table>', html, re.DOTALL))
    # Three tied completions are three tied pairs; two F are no tie.
    assert re.search(r"0 1 50.% 1 0 0.% 2 0 0.% 3 1 50.%$", ties), ties
    assert re.search(r"0 0 0.% 1 1 50.% 2 1 50.%$", fails), fails


def test_the_most_disputed_task_comes_first_and_can_be_opened(site, manager, path):
    crew = crew_of(site, path)
    task = crew.answer("anna", (FIRST, SECOND, THIRD, FOURTH))
    assert crew.answer("ben", (FOURTH, THIRD, SECOND, FIRST)) == task
    for _ in range(3):
        crew.answer("anna", (FIRST, SECOND, THIRD, FOURTH))
        crew.answer("ben", (SECOND, FIRST, THIRD, FOURTH))
    work_out(site, manager, path)
    html = manager.get(path).text
    (first, *others) = re.findall(rf'href="{path}/tasks/(\d+)"', html)
    assert int(first) == task
    assert len(others) == 3
    listed = manager.get(f"{path}/tasks?sort=disagreement").text
    assert re.findall(rf'href="{path}/tasks/(\d+)"', listed)[0] == first
    # 0 of 6 pairs against 5 of 6.
    assert "0 %" in row_of(listed, site_key(listed, first))


def site_key(html: str, task: str) -> str:
    (key,) = re.findall(rf'tasks/{task}">([^<]+)</a>', html)
    return key


def test_excluding_somebody_takes_their_answers_out_of_the_statistics(site, manager, path):
    crew = crew_of(site, path)
    for name, order in (("anna", TEXTS), ("ben", TEXTS), ("cleo", TEXTS[::-1])):
        crew.answer(name, order)
    work_out(site, manager, path)
    manager.post(f"{path}/members/{crew.ids['cleo']}", {"state": "excluded", "reason": "the other way round"})
    assert "2 count now" in words(manager.get(path).text)
    work_out(site, manager, path)
    assert "100 % (100–100)" in row_of(manager.get(path).text, "S2, pairs that both ordered")


@pytest.mark.parametrize("language", ["de", "en"])
def test_every_page_of_a_manager_can_be_read_in_every_language(site, manager, path, language):
    crew = crew_of(site, path)
    for name, order in (("anna", TEXTS), ("ben", TEXTS[::-1])):
        task = crew.answer(name, order)
    anna = crew.ids["anna"]
    site.flag(crew.project, anna, "text")
    site.message(crew.project, anna, "text")
    manager.post(f"{path}/tasks/{task}", {"action": "gold_of_consensus", "words": "why"})
    work_out(site, manager, path)
    wanted = {"de": "Übereinstimmung", "en": "Agreement"}[language]
    for page in (path, f"{path}/tasks", f"{path}/tasks/{task}", f"{path}/members/{anna}", "/manage/new"):
        answer = manager.get(page, headers={"accept-language": language})
        assert answer.status_code == 200, page
        assert f'<html lang="{language}"' in answer.text
        if page == path:
            assert wanted in words(answer.text)


@pytest.mark.parametrize("mode", ["thumbs", "demonstration"])
def test_what_has_no_order_has_no_agreement_and_says_so(site, manager, mode):
    path = f"/manage/projects/{site.project(mode=mode)}"
    work_out(site, manager, path)
    assert "this project asks for something else" in words(manager.get(path).text)


def test_a_flag_is_told_in_words_and_decided_about(site, manager, path):
    crew = crew_of(site, path)
    crew.answer("anna", TEXTS)
    flag = site.flag(crew.project, crew.ids["anna"], "Agrees with the others on 22 % of the pairs.")
    page = words(manager.get(path).text)
    assert "ranks look reversed" in page
    assert "Agrees with the others on 22 % of the pairs." in page
    decided = manager.post(f"{path}/flags/{flag}", {"decision": "paused", "reason": "to talk about it"})
    assert decided.headers["location"] == f"{path}/members/{crew.ids['anna']}"
    record = words(manager.get(decided.headers["location"]).text)
    assert "Paused." in record
    assert "to talk about it" in record
    assert "ranks look reversed" not in words(manager.get(path).text)
    assert manager.post(f"{path}/flags/{flag}", {"decision": "shot", "reason": "x"}).status_code == 422
    assert manager.post(f"/manage/projects/{site.project()}/flags/{flag}", {"decision": "dismissed"}).status_code == 404


def test_a_message_from_a_flag_reaches_the_labeler(site, manager, path):
    crew = crew_of(site, path)
    flag = site.flag(crew.project, crew.ids["anna"], "text")
    manager.post(f"{path}/flags/{flag}", {"decision": "messaged", "reason": "Rank 1 is the best."})
    assert "Rank 1 is the best." in crew.visitors["anna"].get(f"/projects/{crew.project}/task").text


def test_answers_of_the_day_are_in_the_picture(site, manager, path):
    crew = crew_of(site, path)
    for name in NAMES:
        crew.answer(name, TEXTS)
    html = manager.get(path).text
    assert len(re.findall('<rect class="bar"', html)) == 1
    assert "most on one day: 3" in words(html)
    # The picture's table: one day with three answers.
    assert re.search(r"Day \(UTC\) Answers \d{4}-\d\d-\d\d 3 ", words(html))


def test_statistics_are_asked_for_once_however_many_ask(site, manager, path, monkeypatch):
    import threading

    from heedful.apps.web import workbench

    begun, go_on, runs = threading.Event(), threading.Event(), []

    def slow(url, project_id):
        runs.append(project_id)
        begun.set()
        go_on.wait(30)

    monkeypatch.setattr(workbench, "_in_another_process", slow)
    bench = site.app.state.workbench
    assert bench.order(1, wait=0) is False
    assert begun.wait(30)
    assert bench.at_work(1)
    assert bench.order(1, wait=0) is False
    go_on.set()
    assert bench.order(1, wait=30) is True
    assert len(runs) <= 2
    assert bench.findings(1) is None


def test_statistics_that_fail_leave_what_there_was(site, manager, path, caplog):
    assert site.app.state.workbench.order(10**9, wait=60)
    assert site.app.state.workbench.findings(10**9) is None
    assert "could not be worked out" in caplog.text


@BOTH
def test_statistics_are_there_after_a_restart_and_say_how_old_they_are(site, manager, path):
    crew = crew_of(site, path)
    for _ in range(4):
        crew.answer("anna", (FIRST, SECOND, THIRD, FOURTH))
        crew.answer("ben", (SECOND, FIRST, THIRD, FOURTH))
    work_out(site, manager, path)
    project_id = int(path.rpartition("/")[2])
    before = site.app.state.workbench.findings(project_id)
    shown = manager.get(path).text
    site.app.state.workbench = Workbench(site.database)  # what a site that is started again begins with
    assert site.app.state.workbench.findings(project_id) == before
    assert manager.get(path).text == shown
    crew.answer("cleo", (FIRST, SECOND, THIRD, FOURTH))
    again = words(manager.get(path).text)
    assert "Worked out from 8 answers" in again
    assert "1 new since" in again


def test_what_another_site_of_the_store_worked_out_is_shown_here(site, manager, path):
    project_id = int(path.rpartition("/")[2])
    work_out(site, manager, path)
    first = site.app.state.workbench.findings(project_id)
    other = Workbench(site.database)
    assert other.order(project_id, wait=300)
    assert site.app.state.workbench.findings(project_id) == other.findings(project_id) != first


def test_statistics_that_this_version_cannot_read_are_none(site, manager, path):
    project_id = int(path.rpartition("/")[2])
    work_out(site, manager, path)
    made = site.app.state.workbench.findings(project_id).made + timedelta(seconds=1)
    site.database.write(lambda s: keep(s, project_id, '{"made_from": 0}', made))
    assert site.app.state.workbench.findings(project_id) is None
    assert "Work out agreement and signals" in words(manager.get(path).text)
    work_out(site, manager, path)
    assert site.app.state.workbench.findings(project_id) is not None


def test_why_somebody_was_flagged_is_said_in_the_readers_language(site, manager, path):
    crew = crew_of(site, path)
    said = (
        Said("agrees less", {"s2": 0.31, "low": 0.2, "high": 0.4, "tasks": 40, "peers": 0.72}),
        Said("follows", {"criterion": "<b>toxicity</b> 100%"}),
    )
    report = LabelerReport("anna", 40, None, 0.4, 0.001, 0.002, True, "other criterion", in_english(said), said)
    project_id, anna = int(path.rpartition("/")[2]), crew.ids["anna"]
    site.database.write(lambda s: add_flag(s, project_id, anna, report, datetime.now(UTC), by=None))
    site.flag(project_id, crew.ids["ben"], "Stored by an older version.")
    for address in (path, f"{path}/members/{anna}"):
        english, german = (manager.get(address, headers={"accept-language": code}).text for code in ("en", "de"))
        assert "where the others agree with each other on 72\N{NO-BREAK SPACE}%. The ranks follow" in english
        assert "die anderen untereinander in 72\N{NO-BREAK SPACE}%. Die Ränge folgen" in german
        assert "&lt;b&gt;toxicity&lt;/b&gt; 100%" in german
        assert "<b>toxicity" not in german
    assert "Stored by an older version." in manager.get(path, headers={"accept-language": "de"}).text
    stored = site.database.read(lambda s: flags(s, project_id))
    assert {each.text for each in stored} == {in_english(said), "Stored by an older version."}
    assert in_english(said).startswith(
        "Agrees with the others on 31% of the pairs that both ordered (95 % interval 20% to 40%, "
    )


def test_people_stand_in_the_order_of_a_column(site, manager, path):
    crew = crew_of(site, path)
    for _ in range(2):
        crew.answer("ben", (FIRST, SECOND, THIRD, FOURTH))
    crew.answer("cleo", (FIRST, SECOND, THIRD, FOURTH))

    def listed(query: str) -> list[str]:
        html = manager.get(f"{path}{query}").text
        return re.findall(r'/members/\d+">(\w+)</a>', html)

    assert listed("") == ["anna", "ben", "cleo"]
    assert listed("?sort=tasks&order=desc") == ["ben", "cleo", "anna"]
    assert listed("?sort=tasks&order=asc") == ["anna", "cleo", "ben"]
    assert listed("?sort=%22%3E%3Cscript%3E&order=x") == ["anna", "ben", "cleo"]
    html = manager.get(f"{path}?sort=tasks&order=desc").text
    (heading,) = re.findall(r"<th[^>]*aria-sort[^>]*>.*?</th>", html)
    assert 'aria-sort="descending"' in heading
    assert 'href="?sort=tasks&amp;order=asc#people"' in heading
