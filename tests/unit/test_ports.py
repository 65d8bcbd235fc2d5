"""Ports for servers: free ones, no two the same, and no two workers of pytest-xdist share any."""

from __future__ import annotations

import socket

import pytest

from tests import ports


def test_what_is_given_is_free_and_given_once() -> None:
    found = [ports.free_port() for _ in range(200)]
    assert len(set(found)) == 200
    with socket.create_server(("127.0.0.1", found[0])):
        pass


def test_a_port_that_is_taken_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    free = ports.free_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(ports, "PORTS", (server.getsockname()[1],) * 50 + (free,))
        monkeypatch.setattr(ports, "_given", set())
        assert ports.free_port() == free


def test_workers_share_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "3")
    for worker in range(3):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", f"gw{worker}")
        assert {(ports.free_port() - ports.PORTS.start) % 3 for _ in range(50)} == {worker}
