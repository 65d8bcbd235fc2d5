"""Hostile text in everything that a page renders: nothing runs, nothing is asked of others, all of it can be read."""

from __future__ import annotations

import pytest

from tests.browser.desks import desk
from tests.hostile import PAYLOADS

pytestmark = pytest.mark.browser

AT_ONCE = 9
LONG = "x" * 200_000


@pytest.fixture
def room(chromium, tmp_path):
    with desk(chromium, tmp_path) as made:
        yield made


def readable(text: str) -> str:
    """The first run of plain letters of a payload, which must be there to be read."""
    import re

    return max(re.findall(r"[A-Za-z0-9(){}:/]{3,}", text) or [""], key=len)


def test_in_completions_prompts_titles_and_criteria(room):
    anna = room.site.user("anna")
    page = room.page(anna)
    for start in range(0, len(PAYLOADS), AT_ONCE):
        part = PAYLOADS[start : start + AT_ONCE]
        if len(part) < 2:
            part = PAYLOADS[-2:]
        project_id = room.site.project(
            texts=part, prompts=(part[0],), title=part[0][:200], criterion=part[1][:500], instructions="\n\n".join(part)
        )
        room.site.join(project_id, anna, read=False)
        page.goto(f"{room.address}/projects/{project_id}")
        page.get_by_role("button", name="I have read this").click()
        page.wait_for_load_state("networkidle")
        shown = page.locator("body").inner_text()
        for payload in part:
            assert readable(payload) in shown, payload
        for key in "123456789"[: len(part)]:
            page.keyboard.press(key)
        page.keyboard.press("Enter")
        page.locator("main[data-done]").wait_for()
        page.goto(f"{room.address}/projects/{project_id}/recent")
        page.goto(room.address)
    assert page.locator("script:not([src]):not([type='application/json'])").count() == 0


def test_a_line_of_two_hundred_thousand_letters_stays_on_the_page(room):
    project_id, anna = room.site.project(texts=(LONG, "short"), prompts=(LONG,)), room.site.user("anna")
    room.site.join(project_id, anna)
    page = room.page(anna)
    page.goto(f"{room.address}/projects/{project_id}/task")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1200
    place = 0 if page.locator("#card-0 .more").count() else 1
    page.keyboard.press("j" if place else "k")
    before = page.locator(f"#card-{place}").bounding_box()["height"]
    page.keyboard.press(" ")
    assert page.locator(f"#card-{place}").bounding_box()["height"] > 10 * before


def test_in_names_reasons_and_errors(room):
    meg = room.site.user("meg", "manager")
    page = room.page(meg)
    project_id = room.site.project()
    for at, payload in enumerate(PAYLOADS):
        name = "".join(letter for letter in payload if letter.isprintable())[:70].strip() + f" {at}"
        user = room.site.user(name)
        room.site.join(project_id, user)
        if at % 6 == 0:
            visitor = room.site.visitor(meg)
            visitor.post(f"/manage/projects/{project_id}/members/{user}", {"state": "paused", "reason": payload[:500]})
    page.goto(f"{room.address}/manage/projects/{project_id}")
    assert page.locator(".people tbody tr").count() == len(PAYLOADS)
    for payload in PAYLOADS[::20]:
        page.goto(f"{room.address}/manage/new")
        page.get_by_label("Title").fill(payload[:150])
        page.get_by_label("Short name").evaluate(
            "(field, text) => { field.removeAttribute('pattern'); field.value = text; }", payload[:70]
        )
        page.locator('input[name="completions"]').set_input_files(
            {"name": "a.jsonl", "mimeType": "application/jsonl", "buffer": payload.encode(errors="replace")}
        )
        page.get_by_role("button", name="Create the project").click()
        page.get_by_role("alert").wait_for()
    # Chromium reports every answer that is no success to the console; these say what is wrong with a form.
    room.complaints[:] = [text for text in room.complaints if "422" not in text]


def test_in_skip_reasons(room):
    anna = room.site.user("anna")
    project_id = room.site.project(prompts=[f"prompt {at}" for at in range(8)])
    room.site.join(project_id, anna)
    page = room.page(anna)
    page.goto(f"{room.address}/projects/{project_id}/task")
    page.wait_for_load_state("networkidle")
    for payload in PAYLOADS[:6]:
        task = page.locator("main").get_attribute("data-task")
        page.keyboard.press("s")
        page.get_by_label("In your own words").fill(payload[:400])
        page.get_by_role("button", name="Skip this one").click()
        page.locator(f'main[data-task]:not([data-task="{task}"])').wait_for()
    page.goto(f"{room.address}/projects/{project_id}/recent")
    assert [row["state"] for row in room.site.responses()] == ["skipped"] * 6
