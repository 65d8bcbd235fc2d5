"""A scorer over HTTP against real servers on this machine, good ones and bad ones."""

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from heedful.errors import ConfigError, DataError
from heedful.models import remote
from heedful.models.remote import RemoteScorer, Service
from heedful.models.roles import Scorer
from heedful.records.types import Message
from tests.ports import free_port
from tests.services import letters, scores, scoring, send

TEXTS = ["abc", "ABcd", "A", "xyZ", "q"]
PROMPTS = ["p"] * 5


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.01)
    yield


def scorer(url: str, **given: Any) -> RemoteScorer:
    return RemoteScorer(Service(url, **{"timeout": 5.0, "retries": 2, "batch_rows": 2} | given))


def test_answers_are_matched_by_id_batch_by_batch() -> None:
    with scoring() as service:
        found = scorer(service.url)
        assert isinstance(found, Scorer)
        assert found.score(PROMPTS, TEXTS) == [letters(text) for text in TEXTS]
    assert [len(rows) for rows in service.asked] == [2, 2, 1]


def test_what_is_sent_is_text_and_only_the_meta_that_was_named() -> None:
    turns = (Message(role="system", content="Be kind."), Message(role="user", content="Why?"))
    with scoring() as service:
        scorer(service.url, meta=("language", "absent")).score(
            [turns, "Plain?"], ["yes", "\ud800 no"], meta=[{"language": "de", "email": "a@b"}, {}], id=["1", "2"]
        )
    (rows,) = service.asked
    assert rows[0] == {
        "id": "0",
        "prompt": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Why?"}],
        "completion": "yes",
        "meta": {"language": "de"},
    }
    assert rows[1] == {"id": "1", "prompt": "Plain?", "completion": "? no"}


def test_null_is_no_score() -> None:
    with scoring(lambda request, rows: scores(request, [(row["id"], None) for row in rows])) as service:
        assert scorer(service.url).score(PROMPTS[:2], TEXTS[:2]) == [None, None]


def test_nothing_is_asked_for_no_rows() -> None:
    with scoring() as service:
        assert scorer(service.url).score([], []) == []
    assert service.asked == []


GOOD = [("0", 0.5), ("1", 0.5)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([("0", 0.5)], "row 1 has no score: 1 scores came for 2 completions"),
        ([*GOOD, ("1", 0.7)], "row 1 has two scores, 0.5 and '0.7'"),
        ([*GOOD, ("9", 0.7)], "answered for id '9', which was not asked for"),
        ([("0", 0.5), (1, 0.5)], "answered for id '1', which was not asked for"),
        ([("0", 0.5), ("1", "0.5")], "row 1 has the score '0.5'; a finite number or null was expected"),
        ([("0", 0.5), ("1", float("nan"))], "row 1 has the score 'nan'"),
        ([("0", float("inf")), ("1", 0.5)], "row 0 has the score 'inf'"),
        ([("0", 10**400), ("1", 0.5)], "row 0 has the score '1000"),
        ([("0", True), ("1", 0.5)], "row 0 has the score 'True'"),
        ([("0", [1]), ("1", 0.5)], r"row 0 has the score '\[1\]'"),
    ],
)
def test_a_wrong_answer_names_the_row_and_the_value(given: list[Any], message: str) -> None:
    with (
        scoring(lambda request, rows: scores(request, given)) as service,
        pytest.raises(DataError, match=f"service {service.url}: {message}") as caught,
    ):
        scorer(service.url).score(PROMPTS[:2], TEXTS[:2])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert len(service.asked) == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"scores": 3}', b'{"scores": [{}]}', b"\xff\xfe", b"[" * 50_000])
def test_an_answer_that_is_no_answer(body: bytes) -> None:
    with (
        scoring(lambda request, rows: send(request, body)) as service,
        pytest.raises(DataError, match="was expected, got"),
    ):
        scorer(service.url).score(PROMPTS, TEXTS)


def test_a_service_that_comes_back_is_asked_again() -> None:
    def at_first_unwell(request: BaseHTTPRequestHandler, rows: list[dict[str, Any]]) -> None:
        if len(service.asked) < 3:
            send(request, b"warming up", 503, Retry_After="0")
        else:
            scores(request, [(row["id"], 1.0) for row in rows])

    with scoring(at_first_unwell) as service:
        assert scorer(service.url).score(PROMPTS[:2], TEXTS[:2]) == [1.0, 1.0]
    assert len(service.asked) == 3


def test_one_that_answers_500_again_and_again() -> None:
    with (
        scoring(lambda request, rows: send(request, b"out\nof memory", 500)) as service,
        pytest.raises(DataError, match=r"answered 500: 'out of memory' \(tried 3 times\); rows 0 to 1 were asked for"),
    ):
        scorer(service.url).score(PROMPTS, TEXTS)
    assert len(service.asked) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_one_that_refuses_is_not_asked_again(status: int) -> None:
    with (
        scoring(lambda request, rows: send(request, b"no", status)) as service,
        pytest.raises(DataError, match=f"answered {status}: 'no'; rows 0 to 1"),
    ):
        scorer(service.url).score(PROMPTS, TEXTS)
    assert len(service.asked) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_refused(status: int) -> None:
    with (
        scoring() as other,
        scoring(lambda request, rows: send(request, b"", status, Location=other.url)) as service,
        pytest.raises(DataError, match=f"answered {status}, a redirect to '{other.url}'; redirects are not followed"),
    ):
        scorer(service.url).score(PROMPTS, TEXTS)
    assert other.asked == []
    assert len(service.asked) == 1


def test_a_flood_is_cut_off() -> None:
    taken: list[int] = []

    def endless(request: BaseHTTPRequestHandler, rows: list[dict[str, Any]]) -> None:
        request.send_response(200)
        request.send_header("Connection", "close")
        request.end_headers()
        while True:
            taken.append(request.wfile.write(b" " * 65_536))

    with (
        scoring(endless) as service,
        pytest.raises(DataError, match="answered with more than 67584 bytes"),
    ):
        scorer(service.url).score(PROMPTS, TEXTS)
    # What lies between the two ends is the buffers of the system: some megabytes.
    assert sum(taken) < 2**26


def test_a_packed_answer_is_not_unpacked() -> None:
    with (
        scoring(lambda request, rows: send(request, b"\x1f\x8b", Content_Encoding="gzip")) as service,
        pytest.raises(DataError, match="answered in the encoding 'gzip'"),
    ):
        scorer(service.url).score(PROMPTS, TEXTS)


def silent(request: BaseHTTPRequestHandler, given_up: threading.Event) -> None:
    given_up.wait(60)


def dripping(request: BaseHTTPRequestHandler, given_up: threading.Event) -> None:
    """Never silent for long, never done: each byte comes in time, the answer does not."""
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    while not given_up.wait(0.1):
        request.wfile.write(b" ")
        request.wfile.flush()


@pytest.mark.parametrize("slow", [silent, dripping])
def test_one_that_gives_nothing_in_time(slow: Any) -> None:
    given_up = threading.Event()
    with scoring(lambda request, rows: slow(request, given_up)) as service:
        with pytest.raises(DataError, match=r"nothing for 0\.4 s; rows 0 to 1 were asked for; raise reward\.timeout"):
            scorer(service.url, timeout=0.4).score(PROMPTS, TEXTS)
        given_up.set()


def test_nobody_listens() -> None:
    url = f"http://127.0.0.1:{free_port()}/score"
    with pytest.raises(DataError, match=r"ConnectError: .*\(tried 3 times\)"):
        scorer(url).score(PROMPTS, TEXTS)


def test_something_that_speaks_no_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def babble() -> None:
            for _ in range(3):
                connection, _ = server.accept()
                connection.recv(10)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")
                connection.close()

        threading.Thread(target=babble, daemon=True).start()
        with pytest.raises(DataError, match=r"\(tried 3 times\)"):
            scorer(f"http://127.0.0.1:{server.getsockname()[1]}/").score(PROMPTS, TEXTS)


def test_the_name_is_resolved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that answers with another address later does not lead the run elsewhere."""
    resolve, names = socket.getaddrinfo, []

    def counting(host: Any, *given: Any, **more: Any) -> Any:
        names.append(host)
        if host != "scorer.test":
            return resolve(host, *given, **more)
        address = "127.0.0.1" if names.count(host) == 1 else "203.0.113.9"
        return resolve(address, *given, **more)

    monkeypatch.setattr(socket, "getaddrinfo", counting)
    with scoring() as service:
        port = service.url.rpartition(":")[2]
        found = scorer(f"http://scorer.test:{port}", allow=("127.0.0.1",))
        found.score(PROMPTS, TEXTS)
        found.score(PROMPTS, TEXTS)
    assert names.count("scorer.test") == 1
    assert {headers["Host"] for headers in service.headers} == {f"scorer.test:{port.partition('/')[0]}"}


def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with scoring() as service:
        assert scorer(service.url).score(PROMPTS, TEXTS) == [letters(text) for text in TEXTS]


def test_a_name_that_is_this_machine_must_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *given, **more: resolve("127.0.0.1", *given, **more))
    with pytest.raises(ConfigError, match=r"scorer\.test is 127\.0\.0\.1: not a public address"):
        scorer("http://scorer.test/")


def test_the_token_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def telling(request: BaseHTTPRequestHandler, rows: list[dict[str, Any]]) -> None:
        send(request, f"who is {request.headers['Authorization']}?".encode(), 403)

    monkeypatch.setenv("JUDGE_TOKEN", "s3cret-token\n")
    with scoring(telling) as service, pytest.raises(DataError, match=r"who is Bearer \[token\]\?") as caught:
        scorer(service.url, token_variable="JUDGE_TOKEN").score(PROMPTS, TEXTS)
    assert service.headers[0]["Authorization"] == "Bearer s3cret-token"
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("value", [None, "", " ", "two words", "a\nb", "sécret"])
def test_a_token_that_is_none(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv("JUDGE_TOKEN", raising=False)
    else:
        monkeypatch.setenv("JUDGE_TOKEN", value)
    with pytest.raises(ConfigError, match="JUDGE_TOKEN") as caught:
        scorer("http://127.0.0.1:1/", token_variable="JUDGE_TOKEN")
    assert not value or not value.strip() or value not in str(caught.value)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of its own for scorer.test, with its key in the same file."""
    path = tmp_path / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=scorer.test"]
    command += ["-addext", "subjectAltName=DNS:scorer.test", "-keyout", str(path), "-out", str(tmp_path / "only.pem")]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("openssl is not installed: TLS by name at a fixed address is not tried")
    path.write_text(path.read_text() + (tmp_path / "only.pem").read_text())
    return path


@pytest.mark.parametrize(("host", "fits"), [("scorer.test", True), ("other.test", False)])
def test_tls_is_checked_against_the_name_though_the_address_is_fixed(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, host: str, fits: bool
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["rows"]
            scores(self, [(row["id"], 1.0) for row in rows])

        def log_message(self, *_: Any) -> None:
            pass

    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda name, *given, **more: resolve("127.0.0.1", *given, **more))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_name("only.pem")))
    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        found = scorer(f"https://{host}:{server.server_port}/", allow=("127.0.0.1",), retries=0)
        if fits:
            assert found.score(PROMPTS[:1], TEXTS[:1]) == [1.0]
        else:
            with pytest.raises(DataError, match="certificate"):
                found.score(PROMPTS[:1], TEXTS[:1])
    finally:
        server.shutdown()
        server.server_close()
