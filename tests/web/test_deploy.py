"""What a team starts: the site without the training packages, behind a real TLS proxy with our own configuration."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from deploy.requirements import ONLY_TRAINING, needed

from tests.ports import free_port
from tests.programs import require

ROOT = Path(__file__).resolve().parents[2]
BLOCKED = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ONLY_TRAINING!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
from heedful.apps.cli import main
main()
"""


def wait_for(port, process):
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert process.poll() is None, "it ended instead of listening"
            assert time.monotonic() < deadline
            time.sleep(0.02)


@contextmanager
def running(command, **options):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def site(folder):
    """The site as the container starts it, and the token of its first link."""
    port = free_port()
    command = [sys.executable, "-c", BLOCKED, "label", "--database", str(folder / "labels.sqlite")]
    command += ["--host", "0.0.0.0", "--port", str(port), "--behind-tls"]
    with running(command, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as process:
        token = next(filter(None, (re.search(r"/join/([\w-]+)", line) for line in process.stdout)))[1]
        wait_for(port, process)
        yield port, token


@contextmanager
def proxy(folder, upstream):
    """Caddy with the configuration of the compose file, and a certificate of its own for localhost."""
    caddy = require("caddy", "the test behind a TLS proxy", "caddy")
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "XDG_DATA_HOME": str(folder / "certificates"),
        "HOME": str(folder),
        "HEED_SITE": f"localhost:{port}",
        "HEED_HTTP_PORT": str(free_port()),
        "HEED_UPSTREAM": f"127.0.0.1:{upstream}",
    }
    config = str(ROOT / "deploy" / "Caddyfile")
    with (
        (folder / "caddy.log").open("w+") as log,
        running([caddy, "run", "--config", config, "--adapter", "caddyfile"], env=environment, stderr=log) as process,
    ):
        wait_for(port, process)
        authority = folder / "certificates" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        deadline = time.monotonic() + 60
        while not authority.is_file():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # It listens before its own certificate is signed; until then a handshake ends in an internal error.
        while not shakes_hands(port, authority):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"https://localhost:{port}", authority


def shakes_hands(port, authority):
    trusted = ssl.create_default_context(cafile=str(authority))
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
            trusted.wrap_socket(plain, server_hostname="localhost").close()
    except ssl.SSLError:
        return False
    return True


def test_people_come_in_by_tls_and_only_the_proxy_says_who_they_are(tmp_path):
    with site(tmp_path) as (port, token), proxy(tmp_path, port) as (address, authority):
        trusted = ssl.create_default_context(cafile=str(authority))
        with httpx.Client(verify=trusted, base_url=address, headers={"origin": address}, timeout=30) as browser:
            joined = browser.post("/join", data={"token": token})
            assert joined.status_code == 303
            cookie = joined.headers["set-cookie"]
            assert cookie.startswith("__Host-sid=")
            assert {"Secure", "HttpOnly", "Path=/"} <= {part.strip() for part in cookie.split(";")}
            page = browser.get("/manage")
            assert page.status_code == 200
            assert page.headers["strict-transport-security"] == "max-age=31536000"
            assert "default-src 'none'" in page.headers["content-security-policy"]
            # Whoever guesses links cannot come from another address every time by saying so.
            guesses = [
                browser.post(
                    "/join", data={"token": "guess"}, headers={"x-forwarded-for": f"198.51.100.{at}"}
                ).status_code
                for at in range(25)
            ]
            assert guesses[0] == 403
            assert guesses[-1] == 429
    log = (tmp_path / "caddy.log").read_text()
    assert "/join" not in log
    assert token not in log


def test_the_site_needs_no_training_package(tmp_path):
    """`site` above blocks them; here the other commands of an operator."""
    with site(tmp_path) as (port, _):
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").json() == {"status": "ok"}
        file, again = str(tmp_path / "b"), str(tmp_path / "again.sqlite")
        for arguments in (
            ["backup", file, "--database", str(tmp_path / "labels.sqlite")],
            ["restore", file, "--database", again],
        ):
            done = subprocess.run(
                [sys.executable, "-c", BLOCKED, *arguments], capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stderr) == (0, "")


def test_the_images_requirements_are_the_packages_less_those_of_training():
    found = needed(ROOT / "pyproject.toml")
    names = {re.split(r"[^A-Za-z0-9_-]", each, maxsplit=1)[0] for each in found}
    assert {"fastapi", "sqlalchemy", "uvicorn", "psycopg", "typer"} <= names
    assert not names & set(ONLY_TRAINING)


def test_the_image_runs_as_nobody_special_and_says_whether_it_is_well():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    steps = [line.split()[0] for line in lines if re.match(r"[A-Z]+ ", line)]
    last = len(lines) - 1 - next(at for at, line in enumerate(reversed(lines)) if line.startswith("FROM"))
    assert "USER heedful" in lines[last:]
    assert "HEALTHCHECK" in steps
    assert not any(re.match(r"FROM \S+(:latest)?$", line) and ":" not in line for line in lines)
    copied = {
        part for line in lines if line.startswith("COPY ") and "--from" not in line for part in line.split()[1:-1]
    }
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def test_the_compose_file_says_what_a_team_needs():
    found = yaml.safe_load((ROOT / "compose.yaml").read_text())
    services = found["services"]
    assert set(services) == {"database", "site", "proxy"}
    for name, service in services.items():
        assert service["restart"] == "unless-stopped", name
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}, name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert "latest" not in service["image"], name
        for network in service["networks"]:
            assert network in found["networks"]
    # Only the proxy can be reached from outside, and the database by the site alone.
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    assert "inside" not in services["proxy"]["networks"]
    assert services["database"]["networks"] == ["inside"]
    assert found["networks"]["inside"] == {"internal": True}
    used = {volume.partition(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    assert used - {"./deploy/Caddyfile"} == set(found["volumes"])
    assert "PASSWORD=" not in json.dumps(found)


def test_the_password_comes_from_a_file(tmp_path, monkeypatch):
    from heedful.errors import ConfigError
    from heedful.feedback.store.database import parse_url

    file = tmp_path / "password"
    file.write_text("a secret\n")
    monkeypatch.setenv("HEED_DATABASE_PASSWORD_FILE", str(file))
    assert parse_url("postgresql://heedful@db/x").password == "a secret"
    assert parse_url("postgresql://heedful:mine@db/x").password == "mine"
    monkeypatch.setenv("HEED_DATABASE_PASSWORD_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="HEED_DATABASE_PASSWORD_FILE"):
        parse_url("postgresql://heedful@db/x")
