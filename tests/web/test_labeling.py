"""The labeler's rooms by ordinary form posts: what a browser without scripts does."""

from __future__ import annotations

import pytest

from tests.web.forms import answer_form, places, task_id


def open_task(visitor, project_id):
    page = visitor.get(f"/projects/{project_id}/task")
    assert page.status_code == 200, page.text[:500]
    return page.text, task_id(page.text)


def send(visitor, task, page, action, **fields):
    return visitor.post(f"/tasks/{task}", {**answer_form(page), "action": action, **fields})


def test_the_gate_stands_until_the_instructions_are_acknowledged(site):
    project_id, anna = site.project(), site.user("anna")
    site.join(project_id, anna, read=False)
    visitor = site.visitor(anna)
    gate = visitor.get(f"/projects/{project_id}")
    assert "Before you begin" in gate.text
    assert "<em>first</em>" in gate.text
    assert visitor.get(f"/projects/{project_id}/task").headers["location"] == f"/projects/{project_id}"
    visitor.post(f"/projects/{project_id}/acknowledge", {"version": "1"})
    assert visitor.get(f"/projects/{project_id}").headers["location"].endswith("/task")


def test_a_new_version_of_the_instructions_closes_the_gate_again(site, at_work):
    visitor, project_id = at_work
    manager = site.visitor(site.user("meg", "manager"))
    manager.post(f"/manage/projects/{project_id}/instructions", {"instructions": "Read **again**."})
    assert "<strong>again</strong>" in visitor.get(f"/projects/{project_id}").text
    assert visitor.get(f"/projects/{project_id}/task").status_code == 303


def test_a_ranking_with_a_tie_and_an_f_is_exported_as_the_page_showed_it(site, at_work):
    visitor, project_id = at_work
    page, task = open_task(visitor, project_id)
    shown = places(page)
    done = send(visitor, task, page, "submit", **{"rank-0": "2", "rank-1": "4", "rank-2": "2", "rank-3": "F"})
    assert (done.status_code, done.headers["location"]) == (303, f"/projects/{project_id}/task")
    (ranking,) = site.rankings(project_id)
    texts = [[ranking.completions[key] for key in group] for group in ranking.ranking]
    assert [sorted(group) for group in texts] == [sorted([shown[0], shown[2]]), [shown[1]]]
    assert [ranking.completions[key] for key in ranking.fails] == [shown[3]]
    assert [ranking.completions[key] for key in ranking.displayed_order] == shown


def test_moves_work_as_form_posts_and_the_draft_is_there_after_a_reload(site, at_work):
    visitor, project_id = at_work
    page, task = open_task(visitor, project_id)
    for action in ("up:1", "up:0", "tie:2", "fail:3", "up:0"):
        moved = send(visitor, task, page, action)
        assert (moved.status_code, moved.headers["location"]) == (303, f"/tasks/{task}#card-{action[-1]}")
        page = visitor.get(f"/tasks/{task}").text
    # B first, then A, C tied with A, D fails, A up and out of its tie: B, A, C
    assert {name: value for name, value in answer_form(page).items() if name.startswith("rank-")} == {
        "rank-0": "2",
        "rank-1": "1",
        "rank-2": "3",
        "rank-3": "F",
    }
    again, same = open_task(visitor, project_id)
    assert same == task
    assert send(visitor, task, again, "submit").status_code == 303
    (ranking,) = site.rankings(project_id)
    assert len(ranking.ranking) == 3


def test_an_incomplete_answer_comes_back_with_everything_that_was_entered(at_work):
    visitor, project_id = at_work
    page, task = open_task(visitor, project_id)
    refused = send(visitor, task, page, "submit", **{"rank-0": "3"})
    assert refused.status_code == 422
    assert 'role="alert"' in refused.text
    assert "completions have no answer yet" in refused.text
    assert answer_form(refused.text)["rank-0"] == "3"


def test_many_ties_are_asked_about_once(site, at_work):
    visitor, project_id = at_work
    page, task = open_task(visitor, project_id)
    ties = {f"rank-{place}": "1" for place in range(4)}
    asked = send(visitor, task, page, "submit", **ties)
    assert asked.status_code == 200
    assert "6 pairs are tied" in asked.text
    assert site.rankings(project_id) == []
    assert visitor.post(f"/tasks/{task}", {**answer_form(asked.text), "action": "submit"}).status_code == 303
    assert len(site.rankings(project_id)) == 1


def test_ties_are_refused_where_the_project_forbids_them(site):
    project_id, anna = site.project(ties="forbid"), site.user("anna")
    site.join(project_id, anna)
    visitor = site.visitor(anna)
    page, task = open_task(visitor, project_id)
    assert "tie with above" not in page
    refused = send(visitor, task, page, "submit", **{f"rank-{place}": "1" for place in range(4)})
    assert refused.status_code == 422
    assert "takes no ties" in refused.text


def test_a_second_sending_of_the_same_form_stores_nothing_more(site, at_work):
    visitor, project_id = at_work
    page, task = open_task(visitor, project_id)
    ranks = {f"rank-{place}": str(place + 1) for place in range(4)}
    for _ in range(3):
        assert send(visitor, task, page, "submit", **ranks).status_code == 303
    assert len(site.responses()) == 1


def test_two_tabs_end_in_a_choice_and_either_choice_is_stored(site, at_work):
    visitor, project_id = at_work
    first, task = open_task(visitor, project_id)
    second, _ = open_task(visitor, project_id)
    ranks = {f"rank-{place}": str(place + 1) for place in range(4)}
    assert send(visitor, task, first, "submit", **ranks).status_code == 303
    other = {f"rank-{place}": str(4 - place) for place in range(4)}
    conflict = send(visitor, task, second, "submit", **other)
    assert conflict.status_code == 409
    assert "1 D, 2 C, 3 B, 4 A" in conflict.text
    assert "1 A, 2 B, 3 C, 4 D" in conflict.text
    (kept,) = site.rankings(project_id)
    from html import unescape
    from re import findall

    hidden = {
        name: unescape(value) for name, value in findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', conflict.text)
    }
    assert visitor.post(f"/tasks/{task}", hidden).status_code == 303
    (now,) = site.rankings(project_id)
    assert now.ranking == tuple(reversed(kept.ranking))


def test_skipping_keeps_its_reason_and_the_next_task_comes(site, at_work):
    visitor, project_id = at_work
    page, task = open_task(visitor, project_id)
    skipped = send(visitor, task, page, "skip", reason="broken", reason_note="cut <b>off</b>")
    assert skipped.status_code == 303
    (row,) = site.responses()
    assert row["state"] == "skipped"
    assert "broken: cut <b>off</b>" in row["reason"]
    assert open_task(visitor, project_id)[1] != task


def test_recent_answers_lead_back_and_a_correction_is_a_revision(site, at_work):
    visitor, project_id = at_work
    page, task = open_task(visitor, project_id)
    ranks = {f"rank-{place}": str(place + 1) for place in range(4)}
    send(visitor, task, page, "submit", **ranks)
    recent = visitor.get(f"/projects/{project_id}/recent")
    assert f'href="/tasks/{task}"' in recent.text
    assert "1 A, 2 B, 3 C, 4 D" in recent.text
    again = visitor.get(f"/tasks/{task}").text
    assert send(visitor, task, again, "submit", **{"rank-3": "F"}).status_code == 303
    assert [row["revision"] for row in site.responses()] == [1, 2]
    (ranking,) = site.rankings(project_id)
    assert len(ranking.fails) == 1


def test_a_task_is_had_in_advance_and_then_it_is_the_next_one(at_work):
    visitor, project_id = at_work
    page, task = open_task(visitor, project_id)
    ahead = visitor.get(f"/projects/{project_id}/task?after={task}").text
    assert task_id(ahead) != task
    assert "1 of 3" in ahead
    assert open_task(visitor, project_id)[1] == task
    send(visitor, task, page, "submit", **{f"rank-{place}": "1" for place in range(4)}, confirmed="1")
    assert open_task(visitor, project_id)[1] == task_id(ahead)


@pytest.mark.parametrize("state", ["paused", "excluded"])
def test_who_is_paused_or_excluded_is_told_so(site, at_work, state):
    visitor, project_id = at_work
    page, task = open_task(visitor, project_id)
    manager = site.visitor(site.user("meg", "manager"))
    (anna,) = [row for row in (1, 2, 3) if row != 2][:1]
    done = manager.post(f"/manage/projects/{project_id}/members/{anna}", {"state": state, "reason": "a pause"})
    assert done.status_code == 303
    told = visitor.get(f"/projects/{project_id}/task")
    assert ("paused" if state == "paused" else "has ended") in told.text
    ranks = {f"rank-{place}": str(place + 1) for place in range(4)}
    sent = send(visitor, task, page, "submit", **ranks)
    # What somebody had at hand when they were paused is not lost; who is excluded has no such task any more.
    assert sent.status_code == (303 if state == "paused" else 404)


def test_when_all_is_done_the_page_says_so(site):
    project_id, anna = site.project(prompts=("only one",), overlap=1), site.user("anna")
    site.join(project_id, anna)
    visitor = site.visitor(anna)
    page, task = open_task(visitor, project_id)
    send(visitor, task, page, "submit", **{f"rank-{place}": str(place + 1) for place in range(4)})
    assert "Nothing left for you here" in visitor.get(f"/projects/{project_id}/task").text


MODES = [
    ("pairwise", {"choice": "second"}, {"ranks": "pair"}),
    ("pairwise", {"choice": "fail"}, {"fails": 2}),
    ("thumbs", {"thumb-0": "up", "thumb-1": "down"}, {"thumbs": 2}),
    ("rating", {"rating-0": "7", "rating-1": "1"}, {"ratings": 2}),
    ("demonstration", {"text": "My own words.", "edited_from": ""}, {"text": "My own words."}),
]


@pytest.mark.parametrize(
    ("mode", "fields", "wanted"), MODES, ids=[f"{mode}-{at}" for at, (mode, *_) in enumerate(MODES)]
)
def test_other_ways_of_asking(site, mode, fields, wanted):
    import json

    project_id, anna = site.project(mode=mode, texts=("One.", "Two.")), site.user("anna")
    site.join(project_id, anna)
    visitor = site.visitor(anna)
    page, task = open_task(visitor, project_id)
    assert send(visitor, task, page, "draft", **fields).status_code == 303
    again = visitor.get(f"/tasks/{task}").text
    assert send(visitor, task, again, "submit", **({} if mode != "demonstration" else fields)).status_code == 303
    (row,) = site.responses()
    answer = json.loads(row["answer"])
    if "ranks" in wanted:
        shown = json.loads(row["displayed_order"])
        assert answer["ranks"] == {shown[0]: 2, shown[1]: 1}
    elif "text" in wanted:
        assert answer["text"] == "My own words."
    else:
        ((name, count),) = wanted.items()
        assert len(answer[name]) == count


def test_a_copy_of_a_response_can_be_edited(site):
    project_id, anna = site.project(mode="demonstration", texts=("One & <only>.", "Two.")), site.user("anna")
    site.join(project_id, anna)
    visitor = site.visitor(anna)
    page, task = open_task(visitor, project_id)
    place = places(page).index("One &amp; &lt;only&gt;.")
    assert send(visitor, task, page, f"edit:{place}").status_code == 303
    again = visitor.get(f"/tasks/{task}").text
    assert "One &amp; &lt;only&gt;.</textarea>" in again
    assert answer_form(again)["edited_from"] == str(place)
