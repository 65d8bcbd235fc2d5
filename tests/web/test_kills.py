"""Short forms of `make bench-feedback`: kills, a crowd, a load, and the order of fsync and answer, through the real command."""

from __future__ import annotations

import pytest
from benchmarks.feedback import kills, load, sites, traced

from tests.programs import require_tracing


@pytest.mark.parametrize("kind", sites.DATABASES)
def test_nothing_that_was_acknowledged_is_lost_or_doubled_by_a_kill(kind, tmp_path):
    found = kills.run(kind, 3, seed=1, folder=tmp_path)
    assert found["kills"] == 3
    assert found["acknowledged"] > 20
    assert (found["lost"], found["duplicates"], found["other"]) == (0, 0, {})


@pytest.mark.parametrize("kind", sites.DATABASES)
def test_under_load_and_during_an_upload_everybody_gets_an_answer(kind, tmp_path):
    few = load.Load(num_tasks=600, num_labelers=10, seconds=3.0, warm_up=0.5, upload=200)
    outcome = load.run(kind, few, tmp_path)
    assert outcome.seen.refused == {}
    assert len(outcome.seen.acknowledged) > 20
    assert outcome.uploads
    assert load.LOCKED not in outcome.log


@pytest.mark.parametrize("kind", sites.DATABASES)
def test_the_answer_is_on_the_disk_before_it_is_acknowledged(kind, tmp_path):
    require_tracing()
    found = traced.run(kind, 20, tmp_path)
    assert found["acknowledged"] == 20
    assert found["after_fsync"] == found["answered"] == 20


def test_an_answer_before_its_fsync_would_be_seen():
    head = '7 1.0 recvfrom(9, "PUT /api/tasks/3/answer HTTP/1.1\\r\\n"..., 65536, 0, NULL, NULL) = 300'
    said = '7 1.2 sendto(9, "HTTP/1.1 200 OK\\r\\n"..., 200, 0, NULL, 0) = 200'
    begun, done = "8 1.1 fdatasync(5 <unfinished ...>", "8 1.3 <... fdatasync resumed>) = 0"
    assert traced.read("\n".join([head, begun, said, done]))["after_fsync"] == 0
    assert traced.read("\n".join([head, "8 1.1 fdatasync(5) = 0", said]))["after_fsync"] == 1
    assert traced.read("\n".join(["8 1.0 fdatasync(5) = 0", head, said]))["after_fsync"] == 0
