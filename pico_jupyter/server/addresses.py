"""Which addresses of the internet a caller may have this server connect to. Knows no HTTP.

A name is resolved once, every address that it has is looked at, and those addresses are connected to, so that a name
whose addresses change between the look and the connection gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, TypeAlias

from tornado.netutil import Resolver

from pico_jupyter.errors import InvalidRequest

Address: TypeAlias = IPv4Address | IPv6Address
# Addresses as sockets take them, each behind its family.
SocketAddresses: TypeAlias = list[tuple[int, Any]]
Lookup: TypeAlias = Callable[[str, int], Awaitable[SocketAddresses]]

# Protocol assignments and the relays of 6to4 are anycast: nobody knows who answers.
_ANYCAST = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# Teredo and its neighbours, documentation, 6to4: addresses for other purposes, or with an IPv4 address inside.
_SPECIAL = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
# How a network without IPv4 reaches IPv4 hosts: the last four bytes are the host's address.
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether anybody on the internet could reach this address as well."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not any(address in network for network in _ANYCAST)
    if address in _NAT64:
        return is_public(IPv4Address(address.packed[-4:]))
    return (
        address.scope_id is None
        and address.is_global
        and address in _GLOBAL_UNICAST
        and not any(address in network for network in _SPECIAL)
    )


async def look_up(host: str, port: int) -> SocketAddresses:
    """All addresses of a host, as the system knows them. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [(family, address) for family, _, _, _, address in found]


class PublicResolver(Resolver):
    """Resolves the names of hosts all of whose addresses are public. Raises InvalidRequest for the others."""

    def initialize(self, look_up: Lookup, is_public: Callable[[Address], bool]) -> None:
        """Tornado's way to construct: `PublicResolver(look_up=…, is_public=…)`."""
        self._look_up = look_up
        self._is_public = is_public

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[tuple[int, Any]]:
        """The addresses to connect to."""
        try:
            found = await self._look_up(host, port)
        except (OSError, ValueError):
            raise InvalidRequest("its host is not known") from None
        if not found:
            raise InvalidRequest("its host is not known")
        if not all(self._is_public(ip_address(address[0])) for _, address in found):
            raise InvalidRequest("its address is not public")
        return found
