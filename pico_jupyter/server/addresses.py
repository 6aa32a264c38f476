"""Restricts outgoing connections to public internet addresses.

A host name is resolved once. All of its addresses are checked, and the connection uses one of the checked addresses,
so DNS rebinding (a name whose addresses change between check and connection) has no effect.
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
# (address family, socket address) pairs.
SocketAddresses: TypeAlias = list[tuple[int, Any]]
Lookup: TypeAlias = Callable[[str, int], Awaitable[SocketAddresses]]

# IETF protocol assignments and 6to4 relays are anycast: any network may answer for them.
_ANYCAST = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# In order: IETF protocol assignments (with Teredo), documentation, 6to4, documentation. Addresses of Teredo and 6to4
# contain an IPv4 address, which may be private.
_SPECIAL = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
# Addresses of IPv4 hosts in an IPv6-only network. The last four bytes are the IPv4 address.
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether the address is reachable from the whole internet."""
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
    """All addresses of a host, from the system's resolver. Raises OSError, or ValueError for an invalid name."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [(family, address) for family, _, _, _, address in found]


class PublicResolver(Resolver):
    """Resolves a host name if all of its addresses are public.

    look_up: returns the addresses of a host. is_public: decides whether an address is allowed.
    """

    def initialize(self, look_up: Lookup, is_public: Callable[[Address], bool]) -> None:
        """Tornado calls this with the constructor's arguments."""
        self._look_up = look_up
        self._is_public = is_public

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[tuple[int, Any]]:
        """The addresses to connect to. Raises InvalidRequest if an address is not public or `host` does not resolve."""
        try:
            found = await self._look_up(host, port)
        except (OSError, ValueError):
            raise InvalidRequest("its host name does not resolve") from None
        if not found:
            raise InvalidRequest("its host name does not resolve")
        if not all(self._is_public(ip_address(address[0])) for _, address in found):
            raise InvalidRequest("its address is not public")
        return found
