"""The labeling page in a real browser: what the screen shows is what is stored and exported."""

from __future__ import annotations

import json
import random

import pytest

from heedful.apps.web import ordering
from tests.browser.desks import DESKTOP, TELEPHONE, axe_script, desk, wait_until

pytestmark = pytest.mark.browser

MOST_KEYSTROKES = 8
SCREENS = {"desktop": {}, "dark": {"color_scheme": "dark"}, "telephone": {"viewport": TELEPHONE, "has_touch": True}}


@pytest.fixture
def room(chromium, tmp_path):
    with desk(chromium, tmp_path) as made:
        yield made


@pytest.fixture
def labeler(room):
    """(user, project) of a ranking project with three tasks of four."""
    project_id, anna = room.site.project(), room.site.user("anna")
    room.site.join(project_id, anna)
    return anna, project_id


def open_task(room, labeler, viewport=DESKTOP, **options):
    page = room.page(labeler[0], viewport, **options)
    page.goto(f"{room.address}/projects/{labeler[1]}/task")
    if options.get("java_script_enabled", True):
        page.wait_for_load_state("networkidle")
    return page


def order_line(page):
    return " ".join(page.locator(".order").inner_text().split())


def saved(page):
    page.locator('[data-state="draft"]').wait_for()


def shown_texts(page):
    return [text.strip() for text in page.locator(".card .text").all_inner_texts()]


def submitted(page, before):
    page.locator(f'main[data-task]:not([data-task="{before}"])').wait_for()


def check_export(room, project_id, shown, line):
    """What the export holds is what the order line said, in the letters of the texts as they stood on the screen."""
    (ranking,) = room.site.rankings(project_id)
    letter = {text: ordering.LETTERS[place] for place, text in enumerate(shown)}
    groups = [sorted(letter[ranking.completions[key]] for key in group) for group in ranking.ranking]
    parts = [f"{rank} {' = '.join(group)}" for rank, group in enumerate(groups, 1)]
    failed = sorted(letter[ranking.completions[key]] for key in ranking.fails)
    assert " ".join([*parts, *([f"F {' = '.join(failed)}"] if failed else [])]) == line
    assert [ranking.completions[key] for key in ranking.displayed_order] == shown
    row = room.site.responses()[-1]
    assert row["state"] == "submitted"
    assert set(json.loads(row["answer"])["fails"]) == set(ranking.fails)


def test_by_keyboard_alone_a_tie_and_an_f_in_at_most_eight_keystrokes(room, labeler):
    page = open_task(room, labeler)
    shown, task = shown_texts(page), page.locator("main").get_attribute("data-task")
    strokes = ["2", "1", "2", "f"]
    for key in strokes:
        page.keyboard.press(key)
    line = order_line(page)
    assert line == "1 B 2 A = C F D"
    saved(page)
    page.reload()
    page.wait_for_load_state("networkidle")
    assert order_line(page) == line
    assert shown_texts(page) == shown
    page.keyboard.press("Enter")
    submitted(page, task)
    check_export(room, labeler[1], shown, line)
    assert len([*strokes, "Enter"]) <= MOST_KEYSTROKES


def test_the_next_task_is_there_without_another_request(room, labeler):
    page = open_task(room, labeler)
    task = page.locator("main").get_attribute("data-task")
    page.wait_for_load_state("networkidle")
    page.evaluate(
        """() => {
        const fetched = window.fetch;
        window.fetch = async (...sent) => {
          if (window.watched && !document.querySelector('main')?.dataset.arrived) window.asked.push(String(sent[0]));
          return fetched(...sent);
        };
        }"""
    )
    for key in ("1", "2", "3", "4"):
        page.keyboard.press(key)
    page.evaluate("Object.assign(window, { watched: true, asked: [] })")
    page.keyboard.press("Enter")
    submitted(page, task)
    assert [address.split("/")[-1] for address in page.evaluate("window.asked")] == [task]  # the answer itself
    assert page.evaluate("document.activeElement.id") == "card-0"
    assert page.evaluate("window.scrollY") == 0


def test_keys_move_tie_undo_and_redo(room, labeler):
    page = open_task(room, labeler)
    for key in ("1", "2", "3", "4"):
        page.keyboard.press(key)
    steps = [
        ("Shift+ArrowUp", "1 A 2 B 3 D 4 C"),
        ("t", "1 A 2 B = D 3 C"),
        ("k", "1 A 2 B = D 3 C"),
        ("f", "1 A 2 B = D F C"),
        ("f", "1 A 2 B = D not ranked C"),
        ("u", "1 A 2 B = D F C"),
        ("u", "1 A 2 B = D 3 C"),
        ("u", "1 A 2 B 3 D 4 C"),
        ("Shift+U", "1 A 2 B = D 3 C"),
        ("ArrowUp", "1 A 2 B = D 3 C"),
        ("Shift+ArrowDown", "1 A 2 D 3 B 4 C"),
    ]
    for key, line in steps:
        page.keyboard.press(key)
        assert order_line(page) == line, key
    saved(page)


def test_keys_do_nothing_where_they_are_switched_off_or_somebody_writes(room, labeler):
    page = open_task(room, labeler)
    page.keyboard.press("s")
    page.get_by_label("In your own words").fill("")
    page.keyboard.type("1f2?")
    assert page.get_by_label("In your own words").input_value() == "1f2?"
    page.keyboard.press("Escape")
    assert order_line(page) == "not ranked A B C D"
    page.goto(f"{room.address}/settings")
    page.get_by_label("off: no single letter").check()
    page.get_by_role("button", name="Save").click()
    page.goto(f"{room.address}/projects/{labeler[1]}/task")
    page.keyboard.press("1")
    assert order_line(page) == "not ranked A B C D"
    assert not page.locator("kbd").first.is_visible()
    page.locator('input[name="rank-0"][value="1"]').check(force=True)
    assert order_line(page) == "1 A not ranked B C D"
    saved(page)


def drag(page, grip, target, share, *, letter=False):
    page.mouse.move(*middle(grip))
    page.mouse.down()
    box = target.bounding_box()
    x = box["x"] + (share if letter else 0.5) * box["width"]
    y = box["y"] + (0.5 if letter else share) * box["height"]
    page.mouse.move(x, y, steps=6)
    page.mouse.up()


def middle(element):
    box = element.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_dragging_a_response_onto_another_ties_them_and_beside_it_ranks_them(room, labeler):
    page = open_task(room, labeler)
    shown, task = shown_texts(page), page.locator("main").get_attribute("data-task")
    card, handle = (
        (lambda place: page.locator(f"#card-{place}")),
        (lambda place: page.locator(f"#card-{place} .handle")),
    )
    drag(page, handle(0), card(1), 0.9)
    assert order_line(page) == "1 B 2 A not ranked C D"
    drag(page, handle(2), card(1), 0.5)
    assert order_line(page) == "1 B = C 2 A not ranked D"
    chip = page.locator('.chip[data-place="2"]')
    drag(page, chip, page.locator('.chip[data-place="1"]'), 0.1, letter=True)
    assert order_line(page) == "1 C 2 B 3 A not ranked D"
    page.mouse.move(*middle(handle(3)))
    page.mouse.down()
    page.mouse.move(*middle(card(0)), steps=4)
    assert "tied with A" in page.locator(".ghost").inner_text()
    page.keyboard.press("Escape")
    page.mouse.up()
    assert order_line(page) == "1 C 2 B 3 A not ranked D"
    page.locator("#card-3").get_by_role("button", name="fails").click()
    line = order_line(page)
    assert line == "1 C 2 B 3 A F D"
    page.get_by_role("button", name="Submit Enter").click()
    submitted(page, task)
    check_export(room, labeler[1], shown, line)


def test_by_finger_on_a_small_telephone(room, labeler):
    page = open_task(room, labeler, TELEPHONE, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= TELEPHONE["width"]
    shown, task = shown_texts(page), page.locator("main").get_attribute("data-task")
    small = page.evaluate(
        "[...document.querySelectorAll('.option, .moves button, .bar button')]"
        ".filter(e => e.checkVisibility() && !e.closest('.panel'))"
        ".filter(e => e.getBoundingClientRect().height < 44).length"
    )
    assert small == 0
    for place, rank in enumerate(("2", "1", "2", "F")):
        option = page.locator(f'#card-{place} input[value="{rank}"]')
        option.evaluate("each => each.scrollIntoView({ block: 'center' })")
        option.tap(force=True)
    line = order_line(page)
    assert line == "1 B 2 A = C F D"
    page.get_by_role("button", name="Submit").last.tap()
    submitted(page, task)
    check_export(room, labeler[1], shown, line)


def test_a_finger_drags_by_the_handle(room, labeler):
    page = open_task(room, labeler, TELEPHONE, has_touch=True, is_mobile=True)
    grip, target = page.locator("#card-1 .handle"), page.locator("#card-0")
    grip.scroll_into_view_if_needed()
    x, y = middle(grip)
    box = target.bounding_box()
    to = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] * 0.5}
    session = page.context.new_cdp_session(page)
    touch = lambda kind, *points: session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": list(points)})  # noqa: E731
    touch("touchStart", {"x": x, "y": y})
    for step in (0.3, 0.6, 1.0):
        touch("touchMove", {"x": x + (to["x"] - x) * step, "y": y + (to["y"] - y) * step})
    touch("touchEnd")
    assert order_line(page) == "1 A = B not ranked C D"
    saved(page)


def test_a_double_click_on_submit_stores_one_row(room, labeler):
    page = open_task(room, labeler)
    task = page.locator("main").get_attribute("data-task")
    for key in ("1", "2", "3", "4"):
        page.keyboard.press(key)
    saved(page)
    page.locator('[data-do="submit"]').dblclick()
    submitted(page, task)
    page.wait_for_timeout(300)
    assert [row["state"] for row in room.site.responses() if row["task_id"] == int(task)] == ["submitted"]
    assert len(room.site.rankings(labeler[1])) == 1


def test_two_tabs_show_both_versions_and_either_can_be_kept(room, labeler):
    first = open_task(room, labeler)
    second = first.context.new_page()
    room.watch(second)
    second.goto(first.url)
    second.wait_for_load_state("networkidle")
    for key in ("1", "2", "3", "4"):
        first.keyboard.press(key)
    saved(first)
    for key in ("4", "3", "2", "1"):
        second.keyboard.press(key)
    dialog = second.locator("dialog[open]")
    dialog.wait_for()
    assert dialog.locator(".mine").inner_text() == "1 D, 2 C, 3 B, 4 A"
    assert dialog.locator(".saved").inner_text() == "1 A, 2 B, 3 C, 4 D"
    dialog.get_by_role("button", name="Keep what is here").click()
    second.wait_for_load_state("networkidle")
    assert order_line(second) == "1 D 2 C 3 B 4 A"
    # Chromium reports every answer that is no success to the console; this one was asked for.
    assert all("409" in text for text in room.complaints)
    room.complaints.clear()


def test_a_server_that_cannot_be_reached_loses_nothing(room, labeler):
    page = open_task(room, labeler)
    task = page.locator("main").get_attribute("data-task")
    page.context.route("**/tasks/*", lambda route: route.abort())
    for key in ("1", "2", "3", "4"):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    page.get_by_text("cannot be reached").wait_for()
    assert page.locator("[data-state]").inner_text() == "not saved"
    assert order_line(page) == "1 A 2 B 3 C 4 D"
    page.context.unroute("**/tasks/*")
    page.keyboard.press("Enter")
    submitted(page, task)
    assert len(room.site.rankings(labeler[1])) == 1
    assert all("ERR_FAILED" in text for text in room.complaints)
    room.complaints.clear()


def test_without_scripts_the_same_answer_is_given_by_form_posts(room, labeler):
    page = open_task(room, labeler, java_script_enabled=False)
    shown = shown_texts(page)
    task = page.locator("main").get_attribute("data-task")
    for place, button in ((1, "up"), (0, "up"), (2, "tie with above"), (3, "fails")):
        page.locator(f"#card-{place}").get_by_role("button", name=button).click()
    line = order_line(page)
    assert line == "1 B 2 A = C F D"
    assert not page.get_by_role("button", name="Undo").is_visible()
    page.locator('.bar button[value="submit"]').click()
    assert page.locator("main").get_attribute("data-task") != task
    check_export(room, labeler[1], shown, line)


def test_both_hands_make_the_same_moves(room, labeler):
    """The script's moves and the server's are the same function."""
    page = open_task(room, labeler)
    draw = random.Random(5)
    cases = []
    for _ in range(400):
        count = draw.randint(2, 9)
        choices = [draw.choice(["", "F", *map(str, range(1, count + 1))]) for _ in range(count)]
        cases.append([choices, draw.choice(["up", "down", "tie", "fail"]), draw.randrange(count)])
    address = page.locator("script[type=module]").get_attribute("src").replace("heed-label", "heed-order")
    found = page.evaluate(
        "async ([address, cases]) => { const m = await import(address); return cases.map(c => m.moved(...c)); }",
        [address, cases],
    )
    assert found == [list(ordering.moved(choices, move, place)) for choices, move, place in cases]


def test_instructions_open_beside_the_work(room, labeler):
    page = open_task(room, labeler)
    page.keyboard.press("?")
    panel, work = page.locator(".instructions").bounding_box(), page.locator("#answer").bounding_box()
    assert panel["x"] >= work["x"] + work["width"]
    page.keyboard.press("?")
    assert page.locator(".instructions[open]").count() == 0


def test_upsetting_texts_are_blurred_until_asked_for(room):
    project_id, anna = room.site.project(content_warning=True), room.site.user("anna")
    room.site.join(project_id, anna)
    page = open_task(room, (anna, project_id))
    blur = "getComputedStyle(document.querySelector('.card .text')).filter"
    assert "blur" in page.evaluate(blur)
    page.keyboard.press("b")
    assert page.evaluate(blur) == "none"


@pytest.mark.parametrize("mode", ["pairwise", "thumbs", "rating", "demonstration"])
def test_other_modes_by_keyboard(room, mode):
    project_id, anna = room.site.project(mode=mode, texts=("One.", "Two.")), room.site.user("anna")
    room.site.join(project_id, anna)
    page = open_task(room, (anna, project_id))
    task = page.locator("main").get_attribute("data-task")
    if mode == "demonstration":
        page.get_by_label("Your answer").fill("Mine.")
        page.keyboard.press("Control+Enter")
    else:
        for key in ("1",) if mode == "pairwise" else ("1", "2"):
            page.keyboard.press(key)
        page.keyboard.press("Enter")
    submitted(page, task)
    answers = [json.loads(row["answer"]) for row in room.site.responses() if row["state"] == "submitted"]
    assert len(answers) == 1
    if mode == "demonstration":
        assert answers[0]["text"] == "Mine."


def test_the_german_page_is_german(room, labeler):
    page = open_task(room, labeler, locale="de-DE")
    assert page.locator("html").get_attribute("lang") == "de"
    page.get_by_role("button", name="Absenden").last.wait_for()


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_serious_on_any_page(room, labeler, screen):
    script = axe_script()
    anna, project_id = labeler
    meg = room.site.user("meg", "manager")
    options = dict(SCREENS[screen])
    viewport = options.pop("viewport", DESKTOP)
    for user, paths in (
        (
            anna,
            ("/", f"/projects/{project_id}/task", f"/projects/{project_id}/recent", "/settings", "/join/x", "/none"),
        ),
        (meg, ("/manage", "/manage/new", f"/manage/projects/{project_id}", f"/manage/projects/{project_id}/tasks")),
    ):
        page = room.page(user, viewport, bypass_csp=True, **options)
        for path in paths:
            page.goto(room.address + path)
            page.add_script_tag(path=script)
            found = page.evaluate(
                "async () => (await axe.run()).violations.filter(v => ['serious', 'critical'].includes(v.impact))"
            )
            assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in found] == [], path
            assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], path
    room.complaints[:] = [text for text in room.complaints if "404" not in text]


def test_time_and_events_are_kept(room, labeler):
    page = open_task(room, labeler)
    task = page.locator("main").get_attribute("data-task")
    page.wait_for_timeout(200)
    for key in ("1", "2", "3", "4", "Enter"):
        page.keyboard.press(key)
    submitted(page, task)
    wait_until(lambda: len(room.site.rankings(labeler[1])) == 1, page)
    row = next(row for row in room.site.responses() if row["state"] == "submitted")
    assert 0 < row["active_ms"] <= row["wall_ms"] < 60_000
    assert [event["kind"] for event in json.loads(row["events"])] == ["key"] * 4
