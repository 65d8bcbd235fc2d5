"""A judge behind a server: log-probs in both forms, votes without them, every kind of trouble, and nothing asked twice."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from heedful.engines.judges.answer_book import AnswerBook, key_of
from heedful.engines.judges.judge_client import Client, Server, check_address
from heedful.engines.judges.judge_server import Asking, ServerJudge, read_logprobs
from heedful.engines.judges.judge_text import disarmed
from heedful.engines.judging import Answered, Asked, Skipped
from heedful.errors import ConfigError, DataError, HealthError
from heedful.records.constitution import Principle
from heedful.records.layouts import conversation, question, thinking_question
from tests.judge_server import KEY, Desk, Reply, as_json, serving
from tests.tolerances import FP64

CALM = Principle(name="calm", comparison="Which is calmer?")


def asked(first: str = "No.", second: str = "Well, no.", *, seed: int = 0, thinks: bool = False) -> Asked:
    text = (
        thinking_question("How?", CALM, first, second)
        if thinks
        else question(conversation("How?"), CALM, first, second)
    )
    return Asked("", text, seed, thinks)


@contextmanager
def judge(
    desk: Desk,
    folder: Path,
    *,
    key: str = "",
    retries: int = 2,
    timeout: float = 5.0,
    url: str | None = None,
    **asking: Any,
) -> Iterator[tuple[ServerJudge, Client, list[float]]]:
    waits: list[float] = []
    with serving(desk) as address:
        server = Server(url or address, key=key, retries=retries, timeout=timeout, backoff=1.0)
        client = Client(server, AnswerBook(folder / "answers.jsonl"), sleep=waits.append)
        try:
            yield ServerJudge(client, server, Asking(**{"model": "m", "concurrency": 1, **asking})), client, waits
        finally:
            client.close()


def one_answer(desk: Desk, folder: Path, question: Asked | None = None, **options: Any) -> Answered | Skipped:
    with judge(desk, folder, **options) as (found, _, _):
        (answer,) = found.answer([question or asked()])
        return answer


@pytest.mark.parametrize("form", ["legacy", "content"])
@pytest.mark.parametrize("api", ["completions", "chat"])
def test_log_probs_are_read_in_both_forms_and_apis(tmp_path: Path, form: str, api: str) -> None:
    desk = Desk(form=form)
    answer = one_answer(desk, tmp_path, api=api)
    assert isinstance(answer, Answered)
    assert answer.votes is None
    # six characters fewer: 1 / (1 + exp(-6))
    assert answer.p == pytest.approx(1 / (1 + math.exp(-6)), abs=FP64)
    assert len(desk.bodies) == 1
    (body,) = desk.bodies
    assert desk.paths == ["/v1/completions" if api == "completions" else "/v1/chat/completions"]
    assert body["model"] == "m"
    if api == "completions":
        assert body["prompt"].endswith("\n (B) [[[Well, no.]]]\nThe answer is: (")
        assert body["logprobs"] == 5
    else:
        assert body["messages"][0]["content"].endswith("The answer is:\nReply with nothing but (A) or (B).")
        assert (body["logprobs"], body["top_logprobs"]) == (True, 5)


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_without_log_probs_votes_are_sampled(tmp_path: Path, api: str) -> None:
    desk = Desk(form="none", margin=lambda a, b: math.log(3))
    answer = one_answer(desk, tmp_path, api=api, votes=8)
    # P(A) = 3/4: six of the eight seeds say A
    assert answer == Answered(votes=(6, 2))
    assert isinstance(answer, Answered)
    assert answer.p == pytest.approx(6.5 / 9, abs=FP64)
    assert [body["seed"] for body in desk.bodies] == list(range(8))
    assert {body["temperature"] for body in desk.bodies} == {1.0}


def test_votes_only_asks_for_no_log_probs(tmp_path: Path) -> None:
    desk = Desk()
    answer = one_answer(desk, tmp_path, top_logprobs=0, votes=3)
    assert isinstance(answer, Answered)
    assert answer.votes == (3, 0)
    assert all("logprobs" not in body for body in desk.bodies)


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_a_thought_comes_first_and_stands_before_the_verdict(tmp_path: Path, api: str) -> None:
    desk = Desk(thought=" Both are short.\n\nHuman: So the answer is: (B)")
    answer = one_answer(desk, tmp_path, asked(thinks=True), api=api, thought_tokens=77)
    assert isinstance(answer, Answered)
    assert answer.thought == "Both are short."
    first, second = desk.bodies
    assert (first["max_tokens"], first["stop"]) == (77, ["\n\nHuman:"])
    if api == "completions":
        assert second["prompt"] == first["prompt"] + " Both are short.\n\nHuman:\nSo the answer is: ("
    else:
        assert [turn["role"] for turn in second["messages"]] == ["user", "assistant", "user"]
        assert second["messages"][1]["content"] == "Both are short."


def cut(number: int, body: dict[str, Any]) -> Reply | None:
    thinks = body.get("prompt", "").endswith("step by step:")
    return as_json({"choices": [{"text": " Hm", "finish_reason": "length"}]}) if thinks else None


def test_a_thought_that_does_not_end_is_skipped(tmp_path: Path) -> None:
    answer = one_answer(Desk(trouble=cut), tmp_path, asked(thinks=True))
    assert answer == Skipped("truncated", "the thought did not end within judge.thought_tokens")


# -- trouble -------------------------------------------------------------------------------------------------------------------


def always(reply: Reply) -> Callable[[int, dict[str, Any]], Reply]:
    return lambda number, body: reply


FILTERED = {"choices": [{"text": "", "finish_reason": "content_filter"}]}
OTHER_WORDS = {
    "choices": [{"text": "I", "logprobs": {"tokens": ["I"], "top_logprobs": [{"I": -0.1, "It": -2.0}]}}],
}
NOT_A_NUMBER = {"choices": [{"text": "A", "logprobs": {"tokens": ["A"], "top_logprobs": [{"A": 3.5}]}}]}
CONTEXT = {"error": {"message": "This model's maximum context length is 1024 tokens"}}


@pytest.mark.parametrize(
    ("reply", "kind", "said", "requests"),
    [
        ((200, b"{not json", {}), "malformed", "JSONDecodeError", 3),
        ((200, b"", {}), "malformed", "JSONDecodeError", 3),
        (as_json([1, 2]), "malformed", "TypeError", 3),
        (as_json({"choices": []}), "malformed", "IndexError", 3),
        (as_json({"choices": [{"text": 7}]}), "malformed", "the answer is no text", 3),
        (as_json(NOT_A_NUMBER), "malformed", "a log-prob that is none", 3),
        ((200, b'{"choices": [', {"Content-Length": "4000"}), "failed", "the connection broke", 3),
        (as_json({}, 503), "failed", "HTTP 503", 3),
        (as_json({}, 429), "failed", "HTTP 429", 3),
        (as_json({"error": "this is not allowed"}, 400), "refused", "HTTP 400: ", 1),
        (as_json(FILTERED), "refused", "filter", 1),
        (as_json(CONTEXT, 400), "context", "maximum context length is 1024", 1),
        (as_json(OTHER_WORDS), "no_option", "neither (A) nor (B)", 1),
        (as_json({"choices": [{"text": "I would rather not say"}]}), "no_option", "none of 2 samples", 2),
    ],
)
def test_trouble_becomes_a_skip_that_says_what(
    tmp_path: Path, reply: Reply, kind: str, said: str, requests: int
) -> None:
    desk = Desk(trouble=always(reply))
    answer = one_answer(desk, tmp_path, votes=2)
    assert isinstance(answer, Skipped)
    assert answer.kind == kind
    assert said in answer.detail
    assert "\n" not in answer.detail
    assert len(desk.bodies) == requests


def test_a_server_that_is_slow_is_a_timeout(tmp_path: Path) -> None:
    def late(number: int, body: dict[str, Any]) -> None:
        time.sleep(0.4)

    answer = one_answer(Desk(trouble=late), tmp_path, timeout=0.1, retries=1)
    assert answer == Skipped("timeout", "no answer within 0.1 s, 2 times")


def test_passing_trouble_is_waited_for_longer_each_time(tmp_path: Path) -> None:
    with judge(Desk(trouble=lambda n, body: as_json({}, 500) if n < 4 else None), tmp_path, retries=3) as (
        found,
        _,
        waits,
    ):
        (answer,) = found.answer([asked()])
    assert isinstance(answer, Answered)
    assert waits == [1.0, 2.0, 4.0]


def test_a_server_says_how_long_to_wait(tmp_path: Path) -> None:
    busy = as_json({}, 429, **{"Retry-After": "7"})
    with judge(Desk(trouble=lambda n, body: busy if n < 2 else None), tmp_path) as (found, _, waits):
        assert isinstance(found.answer([asked()])[0], Answered)
    assert waits == [7.0, 1.0]


def test_nobody_waits_after_the_last_try(tmp_path: Path) -> None:
    busy = as_json({}, 429, **{"Retry-After": "7"})
    with judge(Desk(trouble=always(busy)), tmp_path, retries=1) as (found, _, waits):
        assert isinstance(found.answer([asked()])[0], Skipped)
    assert waits == [7.0, 1.0]


def test_more_requests_than_a_pool_of_connections_has_go_out_together(tmp_path: Path) -> None:
    """The server answers none before all are there."""
    together = 104
    gate = threading.Barrier(together)

    def wait(number: int, body: dict[str, Any]) -> None:
        gate.wait(timeout=60)

    with judge(Desk(trouble=wait), tmp_path, concurrency=together, timeout=90.0, retries=0) as (found, _, _):
        answers = found.answer([asked(seed=seed) for seed in range(together)])
    assert all(isinstance(answer, Answered) for answer in answers)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_at_once_and_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    desk = Desk(trouble=always(as_json({"error": f"bad key {KEY}"}, status)))
    with pytest.raises(ConfigError, match=r"does not accept the key in JUDGE_KEY \(HTTP 40") as caught:
        one_answer(desk, tmp_path, key="JUDGE_KEY")
    assert KEY not in str(caught.value)
    assert len(desk.bodies) == 1


def test_an_unknown_address_or_model_stops_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"/v1/completions leads nowhere \(HTTP 404\); check url, api and model"):
        one_answer(Desk(trouble=always(as_json({}, 404))), tmp_path)


def test_a_server_that_is_not_there_stops_with_what_to_do(tmp_path: Path) -> None:
    with serving(Desk()) as gone:
        pass
    with pytest.raises(HealthError, match="cannot be reached; start it and run the same command again"):
        one_answer(Desk(), tmp_path, url=gone)


def test_the_key_comes_from_the_environment_and_goes_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="the variable JUDGE_KEY is not set"):
        one_answer(Desk(), tmp_path, key="JUDGE_KEY")
    monkeypatch.setenv("JUDGE_KEY", KEY)
    desk = Desk(trouble=lambda n, body: as_json({"error": f"no, {KEY}"}, 400) if n == 2 else None)
    with judge(desk, tmp_path, key="JUDGE_KEY") as (found, _, _):
        first, second = found.answer([asked(), asked("Yes.")])
        version = found.version
    assert desk.keys == [f"Bearer {KEY}"] * 2
    assert isinstance(first, Answered)
    assert second == Skipped("refused", 'HTTP 400: {"error": "no, ***"}')
    assert KEY not in (tmp_path / "answers.jsonl").read_text()
    with judge(Desk(), tmp_path, url="http://127.0.0.1:9/v1") as (other, _, _):
        assert other.version != version


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x/v1", "", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="an address such as"):
        check_address(url)


@pytest.mark.parametrize("url", ["http://me:secret@host/v1", "http://host/v1?key=secret"])
def test_an_address_with_a_credential_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="has a user, a password or a query") as caught:
        check_address(url)
    assert "secret" not in str(caught.value)


# -- nothing twice -------------------------------------------------------------------------------------------------------------


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    desk = Desk()
    questions = [asked("No.", "Well" * n) for n in range(1, 6)]
    with serving(desk) as url:
        tries = []
        for part in (questions[:2], questions, questions):
            client = Client(Server(url), AnswerBook(tmp_path / "answers.jsonl"))
            found = ServerJudge(client, Server(url), Asking("m")).answer(part)
            tries.append((found, client.usage.requests, client.usage.prompt_tokens, client.usage.completion_tokens))
            client.close()
    assert len(desk.bodies) == 5
    # what a run tells to have used does not depend on how often it was begun
    assert tries[1] == tries[2]
    assert tries[1][1::2] == (5, 10)


def test_what_may_pass_is_asked_again_and_what_stays_is_not(tmp_path: Path) -> None:
    book = AnswerBook(tmp_path / "answers.jsonl")
    desk = Desk(trouble=lambda n, body: as_json({}, 503) if n == 1 else as_json({"error": "no"}, 400))
    with serving(desk) as url:
        server = Server(url, retries=0)
        for _ in range(3):
            client = Client(server, book, sleep=lambda seconds: None)
            ServerJudge(client, server, Asking("m", concurrency=1)).answer([asked()])
            client.close()
    assert len(desk.bodies) == 2


def test_the_book_forgets_half_a_line_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "b" / "answers.jsonl"
    book = AnswerBook(path)
    book.put("k", {"text": "ä😀"})
    with path.open("ab") as stream:
        stream.write(b'{"key": "half')
    again = AnswerBook(path)
    assert again.get("k") == {"text": "ä😀"}
    assert again.get("half") is None
    again.put("l", {})
    assert AnswerBook(path).get("l") == {}


def test_a_line_of_the_book_that_is_no_answer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    AnswerBook(path).put("k", {"text": "a"})
    with path.open("ab") as stream:
        stream.write(b'{"key": "l"}\n')
    with pytest.raises(DataError, match=r"answers\.jsonl:2: no answer of a server"):
        AnswerBook(path)


def test_a_key_depends_on_everything_that_matters() -> None:
    parts: dict[str, Any] = {"url": "u", "path": "p", "body": {"model": "m", "seed": 1}, "snapshot": 1}
    changed = [
        {**parts, "url": "v"},
        {**parts, "path": "q"},
        {**parts, "body": {"model": "m", "seed": 2}},
        {**parts, "snapshot": 2},
    ]
    assert len({key_of(**each) for each in (parts, *changed)}) == 5


def test_the_rate_is_kept(tmp_path: Path) -> None:
    now, waits = [0.0], []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    with serving(Desk()) as url:
        server = Server(url, requests_per_minute=30)
        client = Client(server, AnswerBook(tmp_path / "a.jsonl"), sleep=sleep, clock=lambda: now[0])
        ServerJudge(client, server, Asking("m", concurrency=1)).answer([asked("No.", "x" * n) for n in range(4)])
        client.close()
    # one every two seconds: the second, third and fourth wait
    assert waits == [2.0, 2.0, 2.0]


# -- reading -------------------------------------------------------------------------------------------------------------------


def test_only_the_letters_place_is_read() -> None:
    top = {"A": -1.0, "B": -2.0}
    assert read_logprobs([["(", {"(": -0.1}], ["A", top]]) == (-1.0, -2.0)
    assert read_logprobs([["I", {"I": -0.1}], ["A", top]]) is None
    assert read_logprobs([]) is None
    # two spellings of one letter count together; a letter that is not listed cannot exceed the least that is
    a, b = read_logprobs([["A", {"A": math.log(0.5), " A": math.log(0.25), "C": math.log(0.05)}]]) or (0.0, 0.0)
    assert math.exp(a) == pytest.approx(0.75, abs=FP64)
    assert math.exp(b) == pytest.approx(0.05, abs=FP64)


def test_special_tokens_are_broken_for_servers() -> None:
    assert disarmed("a<|im_end|>b</s>[/INST]<end_of_turn>") == "a< |im_end|>b< /s>[ /INST]< end_of_turn>"
    assert disarmed("3 < 4, a<b, [1] and <>") == "3 < 4, a<b, [1] and <>"
