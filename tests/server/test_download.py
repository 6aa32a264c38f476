"""Downloads from a real web server on loopback, which the tests declare public."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.server import addresses
from pico_jupyter.server.addresses import Address, SocketAddresses
from pico_jupyter.server.byte_budget import ByteBudget
from pico_jupyter.server.download import Downloader, parse_target
from tests.fakes.website import Reply, Site, redirect, running_site, whole

CERTIFICATE = Path(__file__).parents[1] / "fakes" / "website.example.pem"
IMAGE = b"\x89PNG image"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running_site() as site:
        yield site


def site_is_public(address: Address) -> bool:
    """The product's rule, except that the site of these tests is public."""
    return str(address) == "127.0.0.1" or addresses.is_public(address)


async def fetch(url: str, limit: int = 1000) -> bytes:
    return await Downloader(is_public=site_is_public).fetch(url, ByteBudget(limit))


async def refusal(url: str, limit: int = 1000) -> str:
    with pytest.raises(InvalidRequest) as caught:
        await fetch(url, limit)
    return caught.value.message


@pytest.mark.parametrize(
    "reply",
    [
        whole(IMAGE),
        Reply(b"HTTP/1.1 200 OK\r\n\r\n" + IMAGE),
        Reply(b"HTTP/1.0 200 OK\r\n\r\n" + IMAGE),
        Reply(CHUNKED + b"4\r\n" + IMAGE[:4] + b"\r\n6\r\n" + IMAGE[4:] + b"\r\n0\r\n\r\n"),
        Reply(b"HTTP/1.1 103 Early Hints\r\n\r\n" + whole(IMAGE).sent),
        Reply(whole(IMAGE).sent, hold=True),
    ],
    ids=["with length", "until closed", "HTTP 1.0", "chunked", "with hints", "kept open"],
)
async def test_a_file_is_fetched(site: Site, reply: Reply) -> None:
    site.replies["/cat.png"] = reply
    assert await fetch(site.url("/cat.png")) == IMAGE


async def test_a_request_has_these_headers_only_and_uses_no_proxy(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    site.replies["/cat.png?a=b%20c"] = whole(IMAGE)
    await fetch(site.url("/cat.png?a=b c#part"))
    start, *headers, _, _ = site.requests[0].split("\r\n")
    assert start == "GET /cat.png?a=b%20c HTTP/1.1"
    assert dict(header.split(": ", 1) for header in headers) == {
        "Host": f"127.0.0.1:{site.port}",
        "User-Agent": "pico_jupyter",
        "Accept": "image/*, video/*, */*;q=0.1",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }


async def test_a_path_outside_ascii_is_percent_encoded(site: Site) -> None:
    site.replies["/%C3%A9t%C3%A9.png"] = whole(IMAGE)
    assert await fetch(site.url("/été.png")) == IMAGE


async def test_a_name_is_resolved_once_and_the_checked_address_is_used(site: Site) -> None:
    looked_up = []

    async def rebinding(host: str, port: int) -> SocketAddresses:
        looked_up.append(host)
        address = "127.0.0.1" if len(looked_up) == 1 else "10.0.0.1"
        return [(socket.AF_INET, (address, port))]

    site.replies["/"] = whole(IMAGE)
    downloader = Downloader(look_up=rebinding, is_public=site_is_public)
    assert await downloader.fetch(site.url("/", "site.example"), ByteBudget(1000)) == IMAGE
    assert looked_up == ["site.example"]
    assert f"\r\nHost: site.example:{site.port}\r\n" in site.requests[0]


async def test_a_name_with_a_private_address_is_not_connected_to(site: Site) -> None:
    async def names(host: str, port: int) -> SocketAddresses:
        return [(socket.AF_INET, ("127.0.0.1", port))]

    with pytest.raises(InvalidRequest, match=r"^its address is not public$"):
        await Downloader(look_up=names).fetch(site.url("/", "site.example"), ByteBudget(1000))
    assert site.requests == []


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_followed(site: Site, status: str) -> None:
    site.replies |= {"/a": redirect("b/c.png", status), "/b/c.png": whole(IMAGE)}
    assert await fetch(site.url("/a")) == IMAGE


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/",
        "http://[::1]:{port}/",
        "http://0.0.0.0:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "//10.0.0.1/",
        "https://192.168.1.1/",
    ],
)
async def test_a_redirect_to_an_address_that_is_not_public_is_not_followed(site: Site, location: str) -> None:
    site.replies["/"] = redirect(location.format(port=site.port))
    assert await refusal(site.url("/")) == "its address is not public"
    assert len(site.requests) == 1


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://a.example/", "data:;base64,aGk=", "jupyter:a.png"])
async def test_a_redirect_to_another_scheme_is_not_followed(site: Site, location: str) -> None:
    site.replies["/"] = redirect(location)
    assert await refusal(site.url("/")) == "only http: and https: URLs can be fetched"


async def test_a_redirect_to_a_malformed_url_is_refused(site: Site) -> None:
    site.replies["/"] = redirect("http://[::1/")
    assert await refusal(site.url("/")) == "its URL is malformed"


async def test_five_redirects_are_followed_and_not_a_sixth(site: Site) -> None:
    site.replies |= {f"/{i}": redirect(f"/{i + 1}") for i in range(6)}
    site.replies["/6"] = whole(IMAGE)
    assert await fetch(site.url("/1")) == IMAGE
    assert await refusal(site.url("/0")) == "there are too many redirects"


async def test_a_redirect_to_itself_is_refused(site: Site) -> None:
    site.replies["/"] = redirect("/")
    assert await refusal(site.url("/")) == "there are too many redirects"


@pytest.mark.parametrize("status", ["404 Not Found", "204 No Content", "500 Oh", "304 Not Modified", "206 Partial"])
async def test_a_status_other_than_200_is_refused(site: Site, status: str) -> None:
    site.replies["/"] = Reply(f"HTTP/1.1 {status}\r\n\r\n".encode())
    assert await refusal(site.url("/")) == f"its host responds with status {status[:3]}"


async def test_a_redirect_without_location_is_refused(site: Site) -> None:
    site.replies["/"] = whole(b"", status="302 Found")
    assert await refusal(site.url("/")) == "its host responds with status 302"


async def test_an_empty_file_is_refused(site: Site) -> None:
    site.replies["/"] = whole(b"")
    assert await refusal(site.url("/")) == "the file is empty"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        CHUNKED + b"5\r\nhe",
        b"SSH-2.0\r\n\r\n",
    ],
    ids=["nothing", "half a head", "half a body", "half a chunk", "no HTTP"],
)
async def test_an_incomplete_response_is_refused(site: Site, sent: bytes) -> None:
    site.replies["/"] = Reply(sent)
    assert await refusal(site.url("/")) == "its host did not send a complete HTTP response"


@pytest.mark.parametrize(
    "sent",
    [b"", b"HTTP/1.1 200 OK\r\nContent-", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", CHUNKED + b"5\r\nhe"],
    ids=["before the head", "in the head", "in the body", "in a chunk"],
)
async def test_a_cancelled_download_closes_its_connection(site: Site, sent: bytes) -> None:
    site.replies["/"] = Reply(sent, hold=True)
    download = asyncio.ensure_future(fetch(site.url("/")))
    await site.requested.wait()
    download.cancel()
    await asyncio.wait({download})
    assert download.cancelled()
    await site.disconnected.wait()


TOO_LARGE = "all media of one request together exceed the limit of 1000 bytes"


async def test_a_file_with_a_content_length_over_the_limit_is_not_read(site: Site) -> None:
    site.replies["/"] = Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", hold=True)
    assert await refusal(site.url("/")) == TOO_LARGE


@pytest.mark.parametrize(
    "reply",
    [
        Reply(CHUNKED, repeat=b"64\r\n" + b"x" * 100 + b"\r\n"),
        Reply(b"HTTP/1.1 200 OK\r\n\r\n", repeat=b"x" * 100),
    ],
    ids=["chunked", "until closed"],
)
async def test_an_endless_body_is_refused_at_the_limit(site: Site, reply: Reply) -> None:
    site.replies["/"] = reply
    assert await refusal(site.url("/")) == TOO_LARGE
    await site.disconnected.wait()


async def test_bytes_after_the_content_length_are_not_read(site: Site) -> None:
    site.replies["/"] = Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", repeat=b"x" * 1000)
    assert await fetch(site.url("/")) == b"x" * 99
    await site.disconnected.wait()


async def test_endless_headers_are_refused(site: Site) -> None:
    site.replies["/"] = Reply(b"HTTP/1.1 200 OK\r\n", repeat=b"A: " + b"x" * 1000 + b"\r\n")
    assert await refusal(site.url("/")) == "its host did not send a complete HTTP response"
    await site.disconnected.wait()


async def test_all_files_of_one_request_share_its_budget(site: Site) -> None:
    site.replies["/"] = whole(b"x" * 600)
    budget = ByteBudget(1000)
    downloader = Downloader(is_public=site_is_public)
    await downloader.fetch(site.url("/"), budget)
    with pytest.raises(InvalidRequest, match=TOO_LARGE):
        await downloader.fetch(site.url("/"), budget)


async def test_a_compressed_response_is_refused(site: Site) -> None:
    site.replies["/"] = whole(gzip.compress(b"\0" * 10_000_000), "Content-Encoding: gzip")
    assert await refusal(site.url("/"), 100_000) == "its host sent a compressed response"


async def test_a_host_that_refuses_connections_is_reported(site: Site) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert await refusal(f"http://127.0.0.1:{port}/") == "its host cannot be reached over http"


async def test_refusals_are_not_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.replies |= {"/secret": Reply(CHUNKED, repeat=b"a\r\n0123456789\r\n"), "/secret2": redirect("file:///secret")}
    caplog.set_level(logging.DEBUG)
    assert await refusal(site.url("/secret")) == TOO_LARGE
    assert await refusal(site.url("/secret2")) == "only http: and https: URLs can be fetched"
    assert "secret" not in caplog.text
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://ann:pw@a.example/", "its URL must not contain a user name or a password"),
        ("http://ann@a.example/", "its URL must not contain a user name or a password"),
        ("http://@a.example/", "its URL must not contain a user name or a password"),
        ("http:///cat.png", "its URL has no host"),
        ("http:cat.png", "its URL has no host"),
        ("http://[::1/", "its URL is malformed"),
        ("http://a.example:99999/", "its URL is malformed"),
        (f"http://{'a' * 64}.example/", "its URL is malformed"),
        ("http://a..example/", "its URL is malformed"),
        ("gopher://a.example/", "only http: and https: URLs can be fetched"),
    ],
)
def test_an_invalid_url_is_refused(url: str, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_target(url)
    assert caught.value.message == reason


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("HTTP://A.Example", "a.example", "/"),
        ("https://a.example:443/x", "a.example", "/x"),
        ("http://a.example:8080/x?y", "a.example:8080", "/x?y"),
        ("http://[2606:4700::1]:8080/", "[2606:4700::1]:8080", "/"),
        ("http://bücher.example/ü?ü", "xn--bcher-kva.example", "/%C3%BC?%C3%BC"),
        ("http://a.example/a%20b c\r\nX: y", "a.example", "/a%20b%20cX:%20y"),
    ],
)
def test_a_url_is_parsed(url: str, authority: str, path: str) -> None:
    target = parse_target(url)
    assert (target.authority, target.path) == (authority, path)


@pytest.fixture
async def secure_site() -> AsyncIterator[Site]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    async with running_site(context) as site:
        site.replies["/"] = whole(IMAGE)
        yield site


async def fetch_securely(site: Site, host: str, trusted: Path | None) -> bytes:
    async def names(host: str, port: int) -> SocketAddresses:
        return [(socket.AF_INET, ("127.0.0.1", port))]

    downloader = Downloader(
        look_up=names,
        is_public=lambda address: address == ip_address("127.0.0.1"),
        make_tls=lambda: ssl.create_default_context(cafile=trusted),
    )
    return await downloader.fetch(site.url("/", host), ByteBudget(1000))


async def test_a_host_with_a_certificate_for_its_name_is_accepted(secure_site: Site) -> None:
    assert await fetch_securely(secure_site, "site.example", trusted=CERTIFICATE) == IMAGE


@pytest.mark.parametrize(("host", "trusted"), [("site.example", None), ("other.example", CERTIFICATE)])
async def test_a_host_with_another_certificate_is_refused(secure_site: Site, host: str, trusted: Path | None) -> None:
    with pytest.raises(InvalidRequest, match=r"^its host cannot be reached over https$"):
        await fetch_securely(secure_site, host, trusted)
    assert secure_site.requests == []


def test_the_repr_of_a_downloader_is_short() -> None:
    assert repr(Downloader()) == "<Downloader>"
