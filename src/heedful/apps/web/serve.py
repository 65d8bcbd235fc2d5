"""Start the site: open the store, say where to come in, serve until stopped."""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from fastapi import FastAPI
from sqlalchemy.orm import Session

from heedful.apps.web.site import make_site
from heedful.errors import ConfigError, StoreUnavailable
from heedful.feedback.setup.accounts import add_user, invite, people
from heedful.feedback.store.database import Database

_TURN_SECONDS = 0.001
MANAGER = "manager"
"""The name of the account that is made at the first start."""
LOOPBACK, PORT = "127.0.0.1", 8400
"""Where the site is by default."""
_BACKLOG = 128
_GRACE = 5
"""Seconds that requests under way may take when the site stops."""


def check_host(host: str, *, behind_tls: bool) -> None:
    """Refuse to listen where others can reach us, unless a TLS proxy stands in front: sessions would travel in the clear.

    Raises:
        ConfigError: the host is no loopback address, and no proxy was promised.
    """
    if behind_tls or _is_loopback(host):
        return
    raise ConfigError(
        f"--host {host}: other machines can reach it, and what people send would travel unencrypted; "
        "put a TLS proxy in front and say --behind-tls, or leave --host out"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def manager_link(database: Database, base: str) -> str:
    """Return a fresh one-time link for whoever runs the site; their account is made at the first start.

    Whoever can start the site can read its database, so the link gives away nothing.
    """
    now = datetime.now(UTC)

    def job(s: Session) -> str:
        managers = [each for each in people(s) if each.role == "admin" and each.active]
        user_id = managers[0].user_id if managers else add_user(s, MANAGER, "admin", now)
        return invite(s, user_id, now)

    return f"{base}/join/{database.write(job)}"


@contextmanager
def site_running(database: Database, sock: socket.socket) -> Iterator[FastAPI]:
    """Serve the site on a bound socket of this machine, beside whatever else the process does, until the block ends.

    Raises:
        StoreUnavailable: the server did not come up.
    """
    import uvicorn

    app = make_site(database, secure=False)
    settings = uvicorn.Config(app, log_level="warning", server_header=False, timeout_graceful_shutdown=_GRACE)
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, args=([sock],), name="site", daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise StoreUnavailable("the labeling site did not start")
            time.sleep(0.01)
        yield app
    finally:
        server.should_exit = True
        thread.join()


def local_socket(port: int | None) -> tuple[socket.socket, str]:
    """Return a listening socket on this machine's own address, and the address of a site on it.

    Args:
        port: its port; None for the usual one, or a free one where that is taken.

    Raises:
        ConfigError: the port that was asked for is taken.
    """
    for wanted in (PORT, 0) if port is None else (port,):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((LOOPBACK, wanted))
            sock.listen(_BACKLOG)
        except OSError as error:
            sock.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            continue
        return sock, f"http://{LOOPBACK}:{sock.getsockname()[1]}"
    raise ConfigError(f"--port {port}: it is taken, or not for you; give another, or leave it out")


def serve(database: str, host: str, port: int, *, behind_tls: bool, say: Callable[[str], None]) -> None:
    """Serve the labeling site until Ctrl-C.

    Args:
        database: a file, or sqlite:///... or postgresql://...; made where there is none.
        host: the address to listen on.
        port: its port.
        behind_tls: a TLS proxy stands in front; it sends `X-Forwarded-For` and `X-Forwarded-Proto`.
        say: takes the lines for the person at the terminal.
    """
    import uvicorn

    check_host(host, behind_tls=behind_tls)
    store = Database.open(database)
    shown = f"[{host}]" if ":" in host else host
    try:
        say(f"Labels are kept in {store.name}")
        link = manager_link(store, f"http://{shown}:{port}")
        say(f"To manage, open this link (good for one visit, three days):\n  {link}")
        if behind_tls:
            say("Write the proxy's https address in place of the beginning of the link.")
        site = make_site(store, secure=behind_tls)
        # A thread that reads a large upload must not keep the many short ones waiting.
        sys.setswitchinterval(_TURN_SECONDS)
        uvicorn.run(
            site,
            host=host,
            port=port,
            log_level="warning",
            proxy_headers=behind_tls,
            server_header=False,
            date_header=True,
        )
    finally:
        store.close()
