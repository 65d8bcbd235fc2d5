"""Schemathesis asks every route what it likes; the long form, 10,000 cases, is `make bench-feedback ARGS='--only schemathesis'`."""

from __future__ import annotations

from tests.fuzzing import description, furnished, fuzz


def test_nothing_that_is_sent_is_a_failure_of_ours(site):
    people, ids = furnished(site)
    outcome = fuzz(site, people, ids, num_cases=250, at=1)
    assert outcome.failures == []
    assert outcome.cases >= 250
    # It came further than the door: some of it was taken, some was refused for what it said.
    assert {200, 303, 401, 404, 422} <= set(outcome.statuses)


def test_every_route_but_logging_out_is_asked(site):
    described = set(description(site)["paths"])
    assert {"/tasks/{task_id}", "/api/tasks/{task_id}/answer", "/manage/new", "/join"} <= described
