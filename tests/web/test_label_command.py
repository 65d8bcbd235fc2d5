"""`heed label`: it starts, makes its database, says where to come in, and stops when asked."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
from urllib.parse import urlencode

import pytest

from tests.ports import free_port

HEED = (sys.executable, "-m", "heedful.apps.cli", "label")


def ask(port, method, path, fields=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = urlencode(fields) if fields else None
    kind = {"content-type": "application/x-www-form-urlencoded"} if fields else {}
    connection.request(method, path, body, {**kind, **headers})
    answer = connection.getresponse()
    return answer, answer.read().decode()


@pytest.mark.parametrize("start", ["first", "second"])
def test_its_link_leads_to_the_managers_pages(tmp_path, start):
    for _ in range({"first": 1, "second": 2}[start]):
        port = free_port()
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        running = subprocess.Popen(
            [*HEED, "--port", str(port)], cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE
        )
        try:
            assert running.stdout is not None
            link = next(filter(None, (re.search(r"/join/([\w-]+)", line) for line in running.stdout)))
            for _ in range(200):
                try:
                    assert ask(port, "GET", "/healthz")[0].status == 200
                    break
                except ConnectionRefusedError:
                    import time

                    time.sleep(0.05)
            origin = {"origin": f"http://127.0.0.1:{port}"}
            joined, _ = ask(port, "POST", "/join", {"token": link[1]}, **origin)
            assert joined.status == 303
            cookie = (joined.getheader("set-cookie") or "").partition(";")[0]
            answer, page = ask(port, "GET", "/manage", cookie=cookie)
            assert answer.status == 200
            assert "New project" in page
            assert answer.getheader("server") is None
        finally:
            running.send_signal(signal.SIGINT)
            running.wait(30)
    assert (tmp_path / "runs" / "labels.sqlite").is_file()
    assert (tmp_path / "runs" / "labels.sqlite").stat().st_mode & 0o077 == 0


def test_it_does_not_open_itself_to_others_unasked(tmp_path):
    done = subprocess.run([*HEED, "--host", "0.0.0.0"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("heed: --host 0.0.0.0: other machines can reach it")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_somebody_is_forgotten_by_a_command(tmp_path, site):
    anna = site.user("anna")
    visitor = site.visitor(anna)
    assert visitor.get("/").status_code == 200
    command = [*HEED, "forget", "--database", site.database.url]
    wrong = subprocess.run([*command, "ana", "--yes"], capture_output=True, text=True)
    assert (wrong.returncode, wrong.stderr) == (2, "heed: ana: nobody is called so; did you mean 'anna'?\n")
    asked = subprocess.run([*command, "anna"], capture_output=True, text=True, input="n\n")
    assert asked.returncode == 1
    assert visitor.get("/").status_code == 200
    done = subprocess.run([*command, "anna", "--yes"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.match(r"anna is now former-[0-9a-f]{8}; their answers to 0 tasks stay under this name\.", done.stdout)
    assert visitor.get("/").status_code == 401
