"""`align` on a score of several parts: what is logged, what is kept of a remote one, and that a bad score trains nothing."""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import torch

from heedful.engines import aligning
from heedful.errors import ConfigError, DataError, HealthError, HeedError
from heedful.models import remote
from heedful.records.artifacts import Artifact
from tests.alignment import aligned, inputs, rows
from tests.interruptions import interrupted
from tests.services import letters, scores, scoring, send, shuffled

BRIEF = {"length": {"unit": "characters", "max_length": 2}, "weight": 0.25}
NO_EOS = {"function": None, "missing_eos_value": 0.0}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def given(store: Path) -> dict[str, Artifact]:
    return inputs(store)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.01)


def service(url: str, **changes: Any) -> dict[str, Any]:
    return {"service": {"url": url, "retries": 1, "batch_rows": 4} | changes}


def test_one_part_of_weight_one_is_the_scorer_itself(store: Path, given: dict[str, Artifact]) -> None:
    alone = rows(aligned(store, given, iterations=2))
    parts = {"letters": {"function": "scorers.py:letters"}}
    summed = rows(aligned(store, given, iterations=2, reward={**NO_EOS, "parts": parts}))
    for one, other in zip(alone, summed, strict=True):
        assert one == {name: value for name, value in other.items() if not name.endswith(".letters")}
        assert other["score_mean.letters"] == pytest.approx(one["score_mean"], abs=1e-6)
        assert other["score_sd.letters"] == pytest.approx(one["score_sd"], abs=1e-6)


def test_the_score_is_the_weighted_sum_and_parts_are_logged_unweighted(store: Path, given: dict[str, Artifact]) -> None:
    parts = {"letters": {"function": "scorers.py:letters", "weight": 2.0}, "brief": BRIEF}
    for row in rows(aligned(store, given, iterations=3, reward={**NO_EOS, "parts": parts})):
        summed = 2.0 * row["score_mean.letters"] + 0.25 * row["score_mean.brief"]
        assert row["score_mean"] == pytest.approx(summed, abs=1e-5)
        assert -4.0 <= row["score_mean.brief"] <= 0.0
        assert row["scored_share.brief"] == 1.0


def test_a_service_scores_as_the_function_that_it_runs(store: Path, given: dict[str, Artifact]) -> None:
    local = rows(aligned(store, given, iterations=2))
    with scoring() as running:
        far = aligned(store, given, iterations=2, reward={**NO_EOS, "parts": {"far": service(running.url)}})
    for one, other in zip(local, rows(far), strict=True):
        assert one == {name: value for name, value in other.items() if not name.endswith(".far")}
    assert {len(batch) for batch in running.asked} == {4}


def test_what_arrived_is_in_the_manifest_and_a_kill_changes_nothing(
    store: Path, given: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scoring() as running:
        changes: dict[str, Any] = {"reward": {**NO_EOS, "parts": {"far": service(running.url), "brief": BRIEF}}}
        whole = aligned(store, given, **changes)
        cut = tmp_path / "cut" / "store"
        again = inputs(cut)
        with interrupted(monkeypatch, before=5):
            aligned(cut, again, **changes)
        finished = aligned(cut, again, **changes)
    assert finished.manifest["files"] == whole.manifest["files"]
    assert finished.facts["arrived"] == whole.facts["arrived"]
    assert list(whole.facts["arrived"]) == ["far"]  # type: ignore[call-overload]

    def otherwise(request: BaseHTTPRequestHandler, asked: list[dict[str, Any]]) -> None:
        scores(request, [(row["id"], letters(row["completion"]) + 0.5) for row in asked])

    with scoring(otherwise) as running:
        changes = {"reward": {**NO_EOS, "parts": {"far": service(running.url, snapshot=2), "brief": BRIEF}}}
        newer = aligned(store, given, **changes)
    assert newer.digest != whole.digest
    assert newer.facts["arrived"] != whole.facts["arrived"]


def test_a_local_score_leaves_no_such_fact(store: Path, given: dict[str, Artifact]) -> None:
    assert "arrived" not in aligned(store, given, iterations=1).facts


class Turning:
    """A service that scores well in the first rollout (and its try), and badly afterwards."""

    def __init__(self, badly: Callable[[BaseHTTPRequestHandler, list[dict[str, Any]]], None]) -> None:
        self.badly, self.bad = badly, False

    def __call__(self, request: BaseHTTPRequestHandler, asked: list[dict[str, Any]]) -> None:
        (self.badly if self.bad else shuffled)(request, asked)


def _each(score: Any) -> Callable[[BaseHTTPRequestHandler, list[dict[str, Any]]], None]:
    return lambda request, asked: scores(request, [(row["id"], score) for row in asked])


def _flood(request: BaseHTTPRequestHandler, asked: list[dict[str, Any]]) -> None:
    send(request, b" " * 10_000_000)


def _silent(request: BaseHTTPRequestHandler, asked: list[dict[str, Any]]) -> None:
    import time

    time.sleep(1.5)


BAD = {
    "NaN": (_each(float("nan")), "row 0 has the score 'nan'"),
    "text": (_each("good"), "row 0 has the score 'good'"),
    "none": (_each(None), "gave None for row 0"),
    "too few": (lambda request, asked: scores(request, [("0", 1.0)]), "row 1 has no score: 1 scores came for 4"),
    "500": (lambda request, asked: send(request, b"broken", 500), r"answered 500: 'broken' \(tried 2 times\)"),
    "redirect": (lambda request, asked: send(request, b"", 302, Location="http://127.0.0.1:9/"), "a redirect to"),
    "flood": (_flood, "answered with more than"),
    "silence": (_silent, r"nothing for 0\.7 s"),
}


@pytest.mark.parametrize("kind", BAD)
def test_no_optimizer_step_is_taken_on_a_bad_score(
    store: Path, given: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    badly, message = BAD[kind]
    turning = Turning(badly)
    roll_out = aligning.AlignmentRun._roll_out
    kept: list[dict[str, torch.Tensor]] = []
    runs: list[aligning.AlignmentRun] = []

    def watched(run: aligning.AlignmentRun, iteration: int) -> Any:
        runs.append(run)
        kept.append({name: value.detach().clone() for name, value in run.policy.trainable()})
        turning.bad = iteration == 1
        return roll_out(run, iteration)

    monkeypatch.setattr(aligning.AlignmentRun, "_roll_out", watched)
    with scoring(turning) as running, pytest.raises(HeedError, match=f"reward part 'judge'.*{message}") as caught:
        reward = {**NO_EOS, "parts": {"judge": service(running.url)}, "timeout": 0.7}
        aligned(store, given, iterations=3, reward=reward)
    assert isinstance(caught.value, DataError | HealthError)
    assert len(kept) == 2  # it stopped in the second rollout
    first, before = kept
    assert any(not torch.equal(first[name], before[name]) for name in first)  # a good score does train
    after = {name: value.detach() for name, value in runs[-1].policy.trainable()}
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert runs[-1].done == 1


WRONG = """
import time
calls = []

def late(prompts, completions, **columns):
    calls.append(1)
    if len(calls) > 2:
        time.sleep(3)
    return [1.0 * len(text) for text in completions]

def best_first(prompts, completions, **columns):
    return sorted((sum(map(ord, text)) for text in completions), reverse=True)
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("late", r"scorer wrong\.py:late: nothing for 0\.5 s"),
        ("best_first", r"scorer wrong\.py:best_first: row \d scores .* when the rows come in another order"),
    ],
)
@pytest.mark.parametrize("as_part", [True, False])
def test_a_function_that_hangs_or_mixes_up_its_rows(
    store: Path, given: dict[str, Artifact], name: str, message: str, as_part: bool
) -> None:
    (store.parent / "wrong.py").write_text(WRONG)
    reward: dict[str, Any] = {**NO_EOS, "timeout": 0.5, "function": f"wrong.py:{name}"}
    if as_part:
        reward |= {"function": None, "parts": {"own": {"function": f"wrong.py:{name}"}}}
    with pytest.raises(DataError, match=("reward part 'own': " if as_part else "") + message):
        aligned(store, given, iterations=3, reward=reward)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            service("http://169.254.169.254/latest"),
            r"reward\.parts\.x\.service: 169\.254\.169\.254: not a public address",
        ),
        (
            service("http://127.0.0.1:1/", token="NO_SUCH_TOKEN"),
            r"parts\.x\.service: token: .* NO_SUCH_TOKEN is not set",
        ),
        (service("http://127.0.0.1:1/", allow=["anything"]), r"parts\.x\.service: allow: an address"),
        ({"function": "absent.py:f"}, r"parts\.x\.function: function = 'absent\.py:f': no file"),
        ({"input": "scorers.3"}, r"parts\.x\.input: 'scorers\.3' is no reward model"),
    ],
)
def test_what_cannot_be_opened_is_refused_before_anything_is_sampled(
    store: Path, given: dict[str, Artifact], part: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        aligned(store, given, reward={**NO_EOS, "parts": {"x": part}})
    assert not list(store.glob("*.work"))
