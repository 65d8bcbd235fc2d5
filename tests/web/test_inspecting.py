"""Tasks as a manager sees them: looking for them, everybody's answers side by side, and deciding about one."""

from __future__ import annotations

import re

import pytest

from tests.sites import BOTH, TEXTS
from tests.web.people import Crew
from tests.web.test_dashboard import row_of, words

FIRST, SECOND, THIRD, FOURTH = TEXTS


@pytest.fixture
def crew(site):
    return Crew(site, site.project(prompts=("Which one?",)), ("anna", "ben", "cleo"))


@pytest.fixture
def path(crew):
    """The page of the only task, which anna and ben have answered, ben the other way round at the end."""
    task = crew.answer("anna", (FIRST, SECOND, THIRD, FOURTH))
    assert crew.answer("ben", (FIRST, SECOND), fails=(THIRD, FOURTH)) == task
    return f"/manage/projects/{crew.project}/tasks/{task}"


@BOTH
def test_answers_stand_side_by_side_under_the_same_letters(site, crew, path, manager):
    html = manager.get(path).text
    # Letters are those of the order in which the completions came in, whatever anybody saw.
    assert re.search(r"anna 1 2 3 4 (\w ){4}30 submitted", row_of(html, "anna"))
    assert re.search(r"ben 1 2 F F (\w ){4}30 submitted", row_of(html, "ben"))
    assert "2 of 3 answers are in." in words(html)
    # Of two answers that differ only in 3 and 4, F tied against 3 before 4: both orders are as near.
    assert "is not unique" in words(html)
    assert "Borda 3.00" in words(html)


def test_a_decision_in_place_of_the_consensus_is_logged_and_taken_back(site, crew, path, manager):
    known = {f"known-{place}": str(4 - place) for place in range(4)}
    assert manager.post(path, {"action": "rule", "words": "the fourth is true", **known}).status_code == 303
    page = words(manager.get(path).text)
    assert "A manager decided in place of the consensus." in page
    assert "the fourth is true" in page
    assert "1 D, 2 C, 3 B, 4 A" in page
    listed = manager.get(f"/manage/projects/{crew.project}/tasks?state=ruled").text
    assert path in listed
    assert manager.post(path, {"action": "withdraw", "words": "it is not"}).status_code == 303
    page = words(manager.get(path).text)
    assert "A manager decided" not in page
    assert "it is not" in page


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"action": "rule", "words": "why"}, "4 of 4 completions have no answer yet"),
        ({"action": "rule", "known-0": "1", "known-1": "2", "known-2": "3", "known-3": "4"}, "reason"),
        ({"action": "withdraw", "words": "x"}, None),
        ({"action": "take_back", "words": "x", "labeler": "999"}, None),
        ({"action": "one_more", "words": " "}, "reason"),
        ({"action": "no_gold"}, None),
        ({"action": "no_practice"}, None),
        ({"action": "practice"}, "its answer is not known"),
        ({"action": "explode"}, None),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_changes(path, manager, fields, says):
    before = manager.get(path).text
    refused = manager.post(path, fields)
    assert refused.status_code in ((422,) if says or fields["action"] == "explode" else (404,))
    if says:
        assert says in words(refused.text)
    assert manager.get(path).text == before


def test_a_gold_item_from_the_consensus_or_from_a_form(site, crew, path, manager):
    crew.answer("cleo", (FIRST, SECOND, THIRD, FOURTH))
    assert manager.post(path, {"action": "gold_of_consensus", "words": "Plain to see."}).status_code == 303
    page = words(manager.get(path).text)
    assert "It is a gold item." in page
    assert "Plain to see." in page
    assert path in manager.get(f"/manage/projects/{crew.project}/tasks?state=gold").text
    manager.post(path, {"action": "no_gold"})
    assert "It is a gold item." not in words(manager.get(path).text)
    known = {"known-0": "F", "known-1": "2", "known-2": "2", "known-3": "F"}
    assert manager.post(path, {"action": "gold", **known}).status_code == 303
    html = manager.get(path).text
    assert "It is a gold item." in words(html)
    assert re.findall(r'name="known-(\d)" value="(\w)" checked', html) == [
        ("0", "F"),
        ("1", "1"),
        ("2", "1"),
        ("3", "F"),
    ]


@BOTH
def test_an_answer_taken_back_is_asked_for_again(site, crew, path, manager):
    assert (
        manager.post(path, {"action": "take_back", "labeler": str(crew.ids["ben"]), "words": "hurried"}).status_code
        == 303
    )
    html = manager.get(path).text
    assert "1 of 3 answers are in." in words(html)
    assert "taken back, to be answered again" in row_of(html, "ben")
    again = crew.next("ben")
    assert again is not None and again["draft"]["fails"]


def test_one_more_labeler_is_asked(crew, path, manager):
    assert manager.post(path, {"action": "one_more", "words": "they disagree"}).status_code == 303
    assert "2 of 4 answers are in." in words(manager.get(path).text)


def test_a_skipped_task_is_offered_again(crew, path, manager):
    for _ in range(2):
        crew.answer("cleo", (), state="skipped", reason="language", answer={})
    assert crew.next("cleo") is None
    assert "language" in row_of(manager.get(path).text, "cleo")
    assert manager.post(path, {"action": "offer"}).status_code == 303
    assert crew.next("cleo") is not None


def test_a_task_of_another_project_is_not_there(site, path, manager):
    other = site.project()
    assert manager.get(path.replace(path.split("/")[3], str(other), 1)).status_code == 404


@BOTH
@pytest.mark.parametrize(
    ("contains", "found"),
    [("blue", {"t0"}), ("BLUE", {"t0"}), ("größe", {"t1"}), ('"quoted"', {"t2"}), ("First answer", {"t0", "t1", "t2"}),
     ("t1", {"t1"}), ("%", set()), ("\\u", set()), ("no such words", set())],
)  # fmt: skip
def test_words_are_found_in_keys_prompts_and_completions(site, manager, contains, found):
    prompts = ("Why is the sky blue?", [{"role": "user", "content": "Die größe zählt"}], 'Said "quoted" so.')
    path = f"/manage/projects/{site.project(prompts=prompts)}/tasks"
    html = manager.get(path, params={"contains": contains}).text
    assert set(re.findall(r'tasks/\d+">([^<]+)</a>', html)) == found


def test_tasks_by_labeler_and_by_what_they_miss(site, manager):
    crew = Crew(site, site.project(), ("anna", "ben"))
    first = crew.answer("anna", TEXTS)
    path = f"/manage/projects/{crew.project}/tasks"

    def ids(query):
        return [int(found) for found in re.findall(rf'href="{path}/(\d+)"', manager.get(f"{path}?{query}").text)]

    assert ids(f"labeler={crew.ids['anna']}") == [first]
    assert ids(f"labeler={crew.ids['ben']}") == []
    assert len(ids("")) == 3
    assert ids("sort=missing")[-1] == first
    assert ids("sort=latest")[0] == first
    assert ids("state=begun") == [first]


@pytest.mark.parametrize("query", ["sort=key%20DESC", "labeler=-1", "labeler=x", "page=0", "state=1%20OR%201"])
def test_what_no_list_offers_is_refused(site, manager, query):
    assert manager.get(f"/manage/projects/{site.project()}/tasks?{query}").status_code == 422


@pytest.mark.parametrize("mode", ["pairwise", "thumbs", "rating", "demonstration"])
def test_every_way_of_asking_has_its_page(site, manager, mode):
    project_id = site.project(mode=mode, texts=TEXTS[:2])
    crew = Crew(site, project_id, ("anna",))
    task = crew.next("anna")
    given = {
        "pairwise": {"ranks": {"a": 1, "b": 1}},
        "thumbs": {"thumbs": {"a": True, "b": False}},
        "rating": {"ratings": {"a": 2, "b": 7}},
        "demonstration": {"text": "Mine is better."},
    }[mode]
    crew.answer("anna", (), answer=given)
    path = f"/manage/projects/{project_id}/tasks/{task['task_id']}"
    line = row_of(manager.get(path).text, "anna")
    shown = {"pairwise": "1 1", "thumbs": "good", "rating": "7", "demonstration": "Mine is better."}[mode]
    assert shown in line
    known = {"pairwise": ("1", "2"), "thumbs": ("up", "down"), "rating": ("1", "6"), "demonstration": ("", "")}[mode]
    fields = {f"known-{place}": value for place, value in enumerate(known)}
    made = manager.post(path, {"action": "gold", **fields})
    assert made.status_code == (422 if mode == "demonstration" else 303)


@BOTH
def test_a_gold_item_becomes_practice_and_is_one_until_it_is_taken_back(site, crew, path, manager):
    crew.answer("cleo", (FIRST, SECOND, THIRD, FOURTH))
    manager.post(path, {"action": "gold_of_consensus", "words": "Plain to see."})
    dora = Crew(site, crew.project, ("dora",))
    assert dora.next("dora") is None
    assert manager.post(path, {"action": "practice"}).status_code == 303
    page = words(manager.get(path).text)
    assert "A practice task: everybody does it first, and it counts nowhere." in page
    assert "Make it a practice task" not in page
    assert path in manager.get(f"/manage/projects/{crew.project}/tasks?state=practice").text
    assert manager.post(path, {"action": "no_practice"}).status_code == 303
    assert "3 of 3 answers are in. It is a gold item." in words(manager.get(path).text)
    manager.post(path, {"action": "practice"})
    dora.answer("dora", (FIRST, SECOND, THIRD, FOURTH))
    refused = manager.post(path, {"action": "no_practice"})
    assert refused.status_code == 422
    assert "it stays practice: labelers who have practised on it and were told the answer: 1" in words(refused.text)
