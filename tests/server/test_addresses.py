"""Which addresses the server may connect to."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.server.addresses import PublicResolver, SocketAddresses, is_public, look_up

PUBLIC = ["8.8.8.8", "1.1.1.1", "192.0.1.1", "2606:4700::1111", "2a00:1450:4001:831::200e", "64:ff9b::8.8.8.8"]
FORBIDDEN = {
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fdff::1", "fec0::1"],
    "carrier-grade NAT": ["100.64.0.1", "100.127.255.255"],
    "link-local": ["169.254.0.1", "fe80::1", "fe80::1%1"],
    "metadata": ["169.254.169.254", "fd00:ec2::254"],
    "multicast": ["224.0.0.1", "239.1.1.1", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "192.0.0.1", "192.0.0.9", "192.88.99.1", "4000::1", "100::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "benchmarking": ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "with an IPv4 address inside": ["::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "::ffff:0:127.0.0.1"],
    "6to4": ["2002:7f00:1::", "2002:808:808::1"],
    "Teredo": ["2001::1"],
    "NAT64 of a private address": [
        "64:ff9b::127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::1",
    ],
    "with a scope": ["2606:4700::1111%1"],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", [pytest.param(one, id=f"{kind} {one}") for kind, addresses in FORBIDDEN.items() for one in addresses]
)
def test_a_local_or_reserved_address_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


def resolver(*addresses: str) -> PublicResolver:
    async def names(host: str, port: int) -> SocketAddresses:
        return [(socket.AF_INET6 if ":" in one else socket.AF_INET, (one, port)) for one in addresses]

    return PublicResolver(look_up=names, is_public=is_public)


async def test_resolving_returns_the_checked_addresses() -> None:
    found = await resolver("8.8.8.8", "2606:4700::1111").resolve("a.example", 80)
    assert found == [(socket.AF_INET, ("8.8.8.8", 80)), (socket.AF_INET6, ("2606:4700::1111", 80))]


@pytest.mark.parametrize("addresses", [("10.0.0.1",), ("8.8.8.8", "10.0.0.1"), ("::1", "8.8.8.8")])
async def test_a_name_with_one_address_that_is_not_public_is_refused(addresses: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest, match=r"^its address is not public$"):
        await resolver(*addresses).resolve("a.example", 80)


async def test_a_name_without_an_address_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"^its host name does not resolve$"):
        await resolver().resolve("a.example", 80)


@pytest.mark.parametrize("failure", [socket.gaierror("no such name"), UnicodeError("label too long")])
async def test_a_name_that_does_not_resolve_is_refused(failure: Exception) -> None:
    async def fails(host: str, port: int) -> SocketAddresses:
        raise failure

    with pytest.raises(InvalidRequest, match=r"^its host name does not resolve$"):
        await PublicResolver(look_up=fails, is_public=is_public).resolve("a.example", 80)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "localhost"])
async def test_loopback_is_refused_in_every_notation(host: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^its address is not public$"):
        await PublicResolver(look_up=look_up, is_public=is_public).resolve(host, 80)
