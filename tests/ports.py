"""Ports of 127.0.0.1 for servers that have to be told theirs."""

from __future__ import annotations

import os
import random
import socket

PORTS = range(20_000, 30_000)
"""Below those that the system gives to clients.

One of those could be a client's own while the server is down: it would be connected to itself, and the server kept out.
"""
_given: set[int] = set()


def free_port() -> int:
    """Return a port that nobody listens on, another one at each call.

    Workers of pytest-xdist share none: between the call and the server's start, one could take what another was told.
    """
    mine = PORTS[_number("PYTEST_XDIST_WORKER", 0) :: _number("PYTEST_XDIST_WORKER_COUNT", 1)]
    luck = random.SystemRandom()
    while True:
        port = luck.choice(mine)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port


def _number(name: str, otherwise: int) -> int:
    """The number in one of pytest-xdist's variables: 3 for the worker gw3."""
    return int(os.environ.get(name, str(otherwise)).removeprefix("gw"))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
