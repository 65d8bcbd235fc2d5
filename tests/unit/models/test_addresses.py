"""Where a run may connect to; the classes of addresses are those of IANA's special-purpose registries."""

import ipaddress
import socket
from typing import Any

import pytest

from heedful.errors import ConfigError, DataError
from heedful.models.addresses import resolve_once

FORBIDDEN = [
    "10.0.0.7",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",  # metadata of clouds
    "100.64.0.1",
    "100.100.100.200",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "127.0.0.1",
    "::1",
    "::",
    "fe80::1",
    "fd00:ec2::254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
]


def named(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def found(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found)


@pytest.mark.parametrize("address", FORBIDDEN)
def test_a_name_that_leads_inside_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    named(monkeypatch, address)
    with pytest.raises(ConfigError, match="not a public address; where that is meant, name it"):
        resolve_once("scorer.example", 443, ())


@pytest.mark.parametrize("address", FORBIDDEN)
def test_it_is_allowed_by_its_own_name_only(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    named(monkeypatch, address)
    with pytest.raises(ConfigError) as refused:
        resolve_once("scorer.example", 443, ())
    told = str(refused.value).rpartition('allow = ["')[2].removesuffix('"]')
    assert ipaddress.ip_address(resolve_once("scorer.example", 443, [told])) == ipaddress.ip_address(address)
    with pytest.raises(ConfigError):
        resolve_once("scorer.example", 443, ["10.9.9.0/24", "fd99::/16"])


def test_one_bad_answer_among_good_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, "93.184.215.14", "192.168.0.5")
    with pytest.raises(ConfigError, match=r"scorer\.example is 192\.168\.0\.5"):
        resolve_once("scorer.example", 443, ())


def test_public_addresses_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c")
    assert resolve_once("scorer.example", 443, ()) == "93.184.215.14"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_where_the_address_itself_says_so(host: str) -> None:
    assert resolve_once(host, 80, ()) in ("127.0.0.1", "127.0.0.2", "::1")


def test_a_number_in_disguise_is_no_way_in() -> None:
    with pytest.raises((ConfigError, DataError)):
        resolve_once("2852039166", 80, ())  # 169.254.169.254
    with pytest.raises((ConfigError, DataError)):
        resolve_once("0x7f.1", 80, ())


def test_a_private_network_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, "10.1.2.3")
    assert resolve_once("scorer.internal", 80, ["10.1.0.0/16"]) == "10.1.2.3"


def test_a_name_without_an_address() -> None:
    with pytest.raises(DataError, match=r"no-such-host\.invalid: no address is known"):
        resolve_once("no-such-host.invalid", 80, ())


@pytest.mark.parametrize("entry", ["scorer.internal", "10.0.0.7/8", "10.0.0.0/99", ""])
def test_an_allow_list_of_something_else(entry: str) -> None:
    with pytest.raises(ConfigError, match="allow: an address such as"):
        resolve_once("127.0.0.1", 80, [entry])
