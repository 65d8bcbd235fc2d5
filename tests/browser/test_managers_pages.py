"""The manager's side in a real browser: hostile text everywhere, axe, a telephone, the keyboard, practice and messages."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime

import pytest

from heedful.feedback.asking.answers import Answer, Submission, store_answer
from heedful.feedback.asking.queue import next_assignment
from heedful.feedback.setup import rulings
from heedful.feedback.setup.tasks import NewTask, add_tasks
from heedful.feedback.store.tables import Task
from tests.browser.desks import DESKTOP, TELEPHONE, axe_script, desk
from tests.browser.test_hostile_text import readable
from tests.hostile import PAYLOADS
from tests.sites import TEXTS

pytestmark = pytest.mark.browser

SCREENS = {"light": {}, "dark": {"color_scheme": "dark"}, "telephone": {"viewport": TELEPHONE}}
AT_ONCE = 12


@pytest.fixture
def room(chromium, tmp_path):
    with desk(chromium, tmp_path) as made:
        yield made


def answer(site, project_id, user_id, **fields):
    """Answer the next task in displayed order, and return its id."""
    now = datetime.now(UTC)

    def job(s):
        task = next_assignment(s, project_id, user_id, now)
        ranks = {key: rank for rank, (key, _) in enumerate(task.displayed, start=1)}
        said = {"state": "submitted", "answer": Answer(ranks=ranks), "client_uuid": uuid.uuid4().hex, **fields}
        sent = Submission(task_id=task.task_id, user_id=user_id, based_on=task.revision, active_ms=9000, **said)
        store_answer(s, sent, now)
        return task.task_id

    return site.database.write(job)


def worked_out(site, project_id):
    assert site.app.state.workbench.order(project_id, wait=300)


@pytest.fixture
def project(room):
    """A project with two labelers who disagree, a flag, a message, a decision: (project, task, labeler, manager)."""
    site = room.site
    project_id, meg = site.project(), site.user("meg", "manager")
    anna, ben = site.user("anna"), site.user("ben")
    for user in (anna, ben):
        site.join(project_id, user)
        task = answer(site, project_id, user)
    site.flag(project_id, anna, "Agrees with the others on 22 % of the pairs.")
    site.message(project_id, anna, "Rank 1 is the best.")
    worked_out(site, project_id)
    return project_id, task, anna, meg


def pages_of(project_id, task, labeler):
    path = f"/manage/projects/{project_id}"
    listed = f"{path}/tasks?sort=disagreement&contains=answer"
    return (path, listed, f"{path}/tasks/{task}", f"{path}/members/{labeler}", "/manage/new")


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_serious_and_nothing_sticks_out(room, project, screen):
    script = axe_script()
    if script is None:
        pytest.skip("SKIPPED: axe-core is not installed (npm install axe-core, or HEED_AXE=axe.min.js)")
    project_id, task, anna, meg = project
    practice = room.site.known_task(project_id, "practice", practice=True, note="Because.")
    answer(room.site, project_id, anna)
    options = dict(SCREENS[screen])
    viewport = options.pop("viewport", DESKTOP)
    for user, paths in (
        (meg, pages_of(project_id, task, anna)),
        (anna, ("/", f"/projects/{project_id}/task", f"/tasks/{practice}/feedback")),
    ):
        page = room.page(user, viewport, bypass_csp=True, **options)
        for path in paths:
            page.goto(room.address + path)
            page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
            page.add_script_tag(path=script)
            found = page.evaluate(
                "async () => (await axe.run()).violations.filter(v => ['serious', 'critical'].includes(v.impact))"
            )
            assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in found] == [], path
            assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], path


def test_hostile_text_in_everything_that_a_manager_reads_stays_text(room):
    site, meg = room.site, room.site.user("meg", "manager")
    page = room.page(meg)
    for at, start in enumerate(range(0, len(PAYLOADS), AT_ONCE)):
        part = (PAYLOADS[start : start + AT_ONCE] * AT_ONCE)[:AT_ONCE]
        short = [text.strip()[:400] or "empty" for text in part]
        project_id = site.project(
            texts=part[:4], prompts=(part[4],), title=part[5][:200], criterion=part[6][:500], overlap=2
        )
        anna = site.user(f"<i>anna {at}</i>\"'")
        site.join(project_id, anna)
        task = answer(site, project_id, anna)
        _decide_with(site, task, short[7], meg)
        other = _with_names(site, project_id, short[10], short[11])
        site.message(project_id, anna, short[8])
        site.flag(project_id, anna, short[9])
        worked_out(site, project_id)
        for path in (*pages_of(project_id, task, anna), f"/manage/projects/{project_id}/tasks/{other}"):
            page.goto(room.address + path)
            page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
        shown = page.locator("body").inner_text()
        for payload in (short[10], short[11]):
            assert readable(payload)[:100] in shown, payload
        page.goto(f"{room.address}/manage/projects/{project_id}/tasks/{task}")
        shown = page.locator("body").inner_text()
        for payload in (*part[:5], short[7]):
            assert readable(payload) in shown, payload
        page.goto(f"{room.address}/manage/projects/{project_id}/members/{anna}")
        shown = page.locator("body").inner_text()
        for payload in (short[8], short[9]):
            assert readable(payload) in shown, payload
        labelers = room.page(anna)
        for path in ("/", f"/projects/{project_id}/task"):
            labelers.goto(room.address + path)
            assert readable(short[8]) in labelers.locator("body").inner_text(), short[8]
        labelers.context.close()
    assert page.locator("script:not([src]):not([type='application/json'])").count() == 0


def _decide_with(site, task, reason, by):
    def job(s):
        keys = [row.key for row in s.execute(_keys(task))]
        decided = Answer(ranks={key: rank for rank, key in enumerate(keys, start=1)})
        rulings.rule(s, task, decided, reason, datetime.now(UTC), by=by)

    site.database.write(job)


def _with_names(site, project_id, key, model):
    """Add a task whose key, ids and model are these as far as they may be, and return its id."""
    from sqlalchemy import select

    key = "".join(each for each in key if each.isprintable())[:190] or "key"
    texts = {f"{key}-{at}": f"text {at}" for at in range(2)}
    models = dict.fromkeys(texts, "".join(each for each in model if each.isprintable())[:190] or "model")
    new = NewTask(key=key, prompt="One with odd names.", completions=texts, source_models=models)

    def job(s):
        add_tasks(s, project_id, [new], datetime.now(UTC))
        return s.scalar(select(Task.id).where(Task.project_id == project_id, Task.key == key))

    return site.database.write(job)


def _keys(task):
    from sqlalchemy import select

    from heedful.feedback.store.tables import Completion

    return select(Completion.key).where(Completion.task_id == task)


def test_why_a_practice_answer_is_wrong_stays_text(room):
    site, anna = room.site, room.site.user("anna")
    for at, start in enumerate(range(0, len(PAYLOADS), 20)):
        note = "\n".join(PAYLOADS[start : start + 20])[:1900]
        project_id = site.project()
        task = site.known_task(project_id, f"practice-{at}", practice=True, note=note)
        site.join(project_id, anna)
        answer(site, project_id, anna)
        page = room.page(anna)
        page.goto(f"{room.address}/tasks/{task}/feedback")
        assert readable(note) in page.locator("body").inner_text()
        page.context.close()


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_after_practice_one_reads_what_differs_and_goes_on(room, scripts):
    site = room.site
    project_id, anna = site.project(), site.user("anna")
    practice = site.known_task(project_id, "practice", practice=True, note="The first says it all.")
    site.join(project_id, anna)
    page = room.page(anna, java_script_enabled=scripts)
    page.goto(f"{room.address}/projects/{project_id}/task")
    for place in range(4):
        page.locator(f'input[name="rank-{place}"][value="{place + 1}"]').check(force=True)
    page.get_by_role("button", name="Submit").last.click()
    page.wait_for_url("**/feedback")
    assert page.url.endswith(f"/tasks/{practice}/feedback")
    assert page.get_by_text("The first says it all.").is_visible()
    page.get_by_role("link", name="Go on").click()
    page.locator("main[data-task]").wait_for()
    assert page.locator("main").get_attribute("data-task") != str(practice)


def test_by_keyboard_alone_a_manager_pauses_a_flagged_labeler(room, project):
    project_id, _, anna, meg = project
    page = room.page(meg)
    page.goto(f"{room.address}/manage/projects/{project_id}")
    _tab_to(page, "summary", "Decide")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("to talk about it")
    _tab_to(page, "button", "Pause")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/members/{anna}")
    assert page.get_by_text("Paused.").is_visible()
    assert page.get_by_text("to talk about it").first.is_visible()


def _tab_to(page, tag, text):
    """Press Tab until the focus is on this; it must be seen to be there."""
    for _ in range(80):
        page.keyboard.press("Tab")
        found = page.evaluate(
            "() => { const at = document.activeElement; const style = getComputedStyle(at);"
            " return [at.tagName.toLowerCase(), at.textContent.trim(), style.outlineStyle] }"
        )
        if found[:2] == [tag, text]:
            assert found[2] != "none"
            return
    raise AssertionError(f"no way to {text} by Tab")


def test_by_keyboard_alone_the_statistics_are_worked_out(room):
    site = room.site
    project_id, meg = site.project(), site.user("meg", "manager")
    for name in ("anna", "ben"):
        user = site.user(name)
        site.join(project_id, user)
        answer(site, project_id, user)
    page = room.page(meg)
    page.goto(f"{room.address}/manage/projects/{project_id}")
    _tab_to(page, "button", "Work out agreement and signals")
    page.keyboard.press("Enter")
    deadline = time.monotonic() + 300
    while not page.get_by_text("Worked out from 2 answers").is_visible():
        assert time.monotonic() < deadline
        page.wait_for_timeout(500)
        page.goto(f"{room.address}/manage/projects/{project_id}")


def test_a_message_is_read_with_one_button(room):
    site = room.site
    project_id, anna = site.project(), site.user("anna")
    site.join(project_id, anna)
    site.message(project_id, anna, "Rank 1 is the best.")
    page = room.page(anna)
    page.goto(f"{room.address}/projects/{project_id}/task")
    assert page.get_by_role("status", name="Messages").get_by_text("Rank 1 is the best.").is_visible()
    page.get_by_role("button", name="I have read this").click()
    page.locator("main[data-task]").wait_for()
    page.wait_for_load_state("networkidle")
    assert page.get_by_text("Rank 1 is the best.").count() == 0
    assert {text.strip() for text in page.locator(".card .text").all_inner_texts()} == set(TEXTS)
