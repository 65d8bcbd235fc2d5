"""Which addresses a run may talk to: public ones, this machine where it is named, others only where they are allowed by name.

A recipe can come from somebody else, so an address in it must not reach what only this machine's network can: a router, a
database, a cloud's metadata service. The name is resolved once and its address is used from then on, so that a name server
cannot answer with another one after the check.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from heedful.errors import ConfigError, DataError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_named_loopback(host: str) -> bool:
    """Return whether this text itself says "this machine": localhost, 127.0.0.1, ::1."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def allowed_networks(allow: Sequence[str]) -> list[Network]:
    """Return the networks of an allow-list.

    Raises:
        ConfigError: an entry is no address and no network.
    """
    found: list[Network] = []
    for entry in allow:
        try:
            found.append(ipaddress.ip_network(entry))
        except ValueError:
            raise ConfigError(
                f"allow: an address such as '10.0.0.7' or a network such as '10.1.0.0/16' was expected, got {entry!r}"
            ) from None
    return found


def resolve_once(host: str, port: int, allow: Sequence[str]) -> str:
    """Return the address to connect to from now on.

    Args:
        host: a name or an address.
        port: where the service listens.
        allow: addresses and networks that are allowed though they are not public.

    Raises:
        ConfigError: its address is not allowed; an entry of `allow` is none.
        DataError: the name has no address.
    """
    networks = allowed_networks(allow)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise DataError(f"{host}: no address is known for this name: {error.strerror or error}") from None
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    for address in addresses:  # one forbidden answer among several is enough: the name is not to be trusted
        _check(host, address, networks)
    return str(addresses[0])


def _check(host: str, address: Address, networks: Sequence[Network]) -> None:
    meant = _meant(address)
    if any(meant in network for network in networks if network.version == meant.version):
        return
    if meant.is_loopback and is_named_loopback(host):
        return
    if meant.is_global and not meant.is_multicast:
        return
    shown = str(meant) if str(meant) == host else f"{host} is {meant}"
    raise ConfigError(f'{shown}: not a public address; where that is meant, name it: allow = ["{meant}"]')


def _meant(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one, where that is what packets reach in the end."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
