"""Downloads from a real web server on loopback, which only these tests may reach."""

from __future__ import annotations

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
from pico_jupyter.server.allowance import Allowance
from pico_jupyter.server.download import Downloader, read_target
from tests.server.site import Reply, Site, redirect, running_site, whole

CERTIFICATE = Path(__file__).with_name("site.example.pem")
PICTURE = b"\x89PNG picture"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running_site() as site:
        yield site


def site_is_public(address: Address) -> bool:
    """As on a real server, but for the site of these tests."""
    return str(address) == "127.0.0.1" or addresses.is_public(address)


async def fetch(url: str, limit: int = 1000) -> bytes:
    return await Downloader(is_public=site_is_public).fetch(url, Allowance(limit))


async def refusal(url: str, limit: int = 1000) -> str:
    with pytest.raises(InvalidRequest) as caught:
        await fetch(url, limit)
    return caught.value.message


@pytest.mark.parametrize(
    "reply",
    [
        whole(PICTURE),
        Reply(b"HTTP/1.1 200 OK\r\n\r\n" + PICTURE),
        Reply(b"HTTP/1.0 200 OK\r\n\r\n" + PICTURE),
        Reply(CHUNKED + b"4\r\n" + PICTURE[:4] + b"\r\n8\r\n" + PICTURE[4:] + b"\r\n0\r\n\r\n"),
        Reply(b"HTTP/1.1 103 Early Hints\r\n\r\n" + whole(PICTURE).sent),
        Reply(whole(PICTURE).sent, hold=True),
    ],
    ids=["with length", "until closed", "HTTP 1.0", "chunked", "with hints", "kept open"],
)
async def test_a_file_is_fetched(site: Site, reply: Reply) -> None:
    site.replies["/cat.png"] = reply
    assert await fetch(site.url("/cat.png")) == PICTURE


async def test_nothing_is_told_but_what_is_wanted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    site.replies["/cat.png?a=b%20c"] = whole(PICTURE)
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


async def test_a_path_in_any_language_is_asked_for(site: Site) -> None:
    site.replies["/%C3%A9t%C3%A9.png"] = whole(PICTURE)
    assert await fetch(site.url("/été.png")) == PICTURE


async def test_a_name_is_resolved_once_and_what_was_judged_is_connected_to(site: Site) -> None:
    looked_up = []

    async def rebinding(host: str, port: int) -> SocketAddresses:
        looked_up.append(host)
        address = "127.0.0.1" if len(looked_up) == 1 else "10.0.0.1"
        return [(socket.AF_INET, (address, port))]

    site.replies["/"] = whole(PICTURE)
    downloader = Downloader(look_up=rebinding, is_public=site_is_public)
    assert await downloader.fetch(site.url("/", "site.example"), Allowance(1000)) == PICTURE
    assert looked_up == ["site.example"]
    assert f"\r\nHost: site.example:{site.port}\r\n" in site.requests[0]


async def test_a_name_with_a_private_address_is_not_connected_to(site: Site) -> None:
    async def names(host: str, port: int) -> SocketAddresses:
        return [(socket.AF_INET, ("127.0.0.1", port))]

    with pytest.raises(InvalidRequest, match=r"^its address is not public$"):
        await Downloader(look_up=names).fetch(site.url("/", "site.example"), Allowance(1000))
    assert site.requests == []


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_followed(site: Site, status: str) -> None:
    site.replies |= {"/a": redirect("b/c.png", status), "/b/c.png": whole(PICTURE)}
    assert await fetch(site.url("/a")) == PICTURE


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
    assert await refusal(site.url("/")) == "only http: and https: URLs are fetched"


async def test_five_redirects_are_followed_and_not_a_sixth(site: Site) -> None:
    site.replies |= {f"/{i}": redirect(f"/{i + 1}") for i in range(6)}
    site.replies["/6"] = whole(PICTURE)
    assert await fetch(site.url("/1")) == PICTURE
    assert await refusal(site.url("/0")) == "it is redirected too often"


async def test_a_redirect_that_leads_to_itself_ends(site: Site) -> None:
    site.replies["/"] = redirect("/")
    assert await refusal(site.url("/")) == "it is redirected too often"


@pytest.mark.parametrize("status", ["404 Not Found", "204 No Content", "500 Oh", "304 Not Modified", "206 Partial"])
async def test_an_answer_that_is_no_file_is_refused(site: Site, status: str) -> None:
    site.replies["/"] = Reply(f"HTTP/1.1 {status}\r\n\r\n".encode())
    assert await refusal(site.url("/")) == f"its host answers {status[:3]}"


async def test_a_redirect_to_nowhere_is_refused(site: Site) -> None:
    site.replies["/"] = whole(b"", status="302 Found")
    assert await refusal(site.url("/")) == "its host answers 302"


async def test_an_empty_file_is_refused(site: Site) -> None:
    site.replies["/"] = whole(b"")
    assert await refusal(site.url("/")) == "it is empty"


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
async def test_an_answer_that_breaks_off_is_refused(site: Site, sent: bytes) -> None:
    site.replies["/"] = Reply(sent)
    assert await refusal(site.url("/")) == "its host broke off"


TOO_LARGE = "one request may have 1000 bytes fetched, and this is beyond it"


async def test_a_file_that_is_announced_as_too_large_is_not_read(site: Site) -> None:
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
async def test_a_body_that_never_ends_is_not_read_to_its_end(site: Site, reply: Reply) -> None:
    site.replies["/"] = reply
    assert await refusal(site.url("/")) == TOO_LARGE
    await site.left.wait()


async def test_what_comes_behind_the_announced_length_is_not_read(site: Site) -> None:
    site.replies["/"] = Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", repeat=b"x" * 1000)
    assert await fetch(site.url("/")) == b"x" * 99
    await site.left.wait()


async def test_headers_that_never_end_are_not_read_to_their_end(site: Site) -> None:
    site.replies["/"] = Reply(b"HTTP/1.1 200 OK\r\n", repeat=b"A: " + b"x" * 1000 + b"\r\n")
    assert await refusal(site.url("/")) == "its host broke off"
    await site.left.wait()


async def test_all_files_of_one_request_share_its_allowance(site: Site) -> None:
    site.replies["/"] = whole(b"x" * 600)
    allowance = Allowance(1000)
    downloader = Downloader(is_public=site_is_public)
    await downloader.fetch(site.url("/"), allowance)
    with pytest.raises(InvalidRequest, match=TOO_LARGE):
        await downloader.fetch(site.url("/"), allowance)


async def test_nothing_is_unpacked(site: Site) -> None:
    site.replies["/"] = whole(gzip.compress(b"\0" * 10_000_000), "Content-Encoding: gzip")
    assert await refusal(site.url("/"), 100_000) == "its host sends it compressed"


async def test_a_host_that_is_not_there_is_told(site: Site) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert await refusal(f"http://127.0.0.1:{port}/") == "its host cannot be reached by http"


async def test_refusals_leave_no_trace_in_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.replies |= {"/secret": Reply(CHUNKED, repeat=b"a\r\n0123456789\r\n"), "/secret2": redirect("file:///secret")}
    await refusal(site.url("/secret"))
    await refusal(site.url("/secret2"))
    assert "secret" not in caplog.text
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://ann:pw@a.example/", "no user name and no password may stand in its URL"),
        ("http://ann@a.example/", "no user name and no password may stand in its URL"),
        ("http://@a.example/", "no user name and no password may stand in its URL"),
        ("http:///cat.png", "its URL names no host"),
        ("http:cat.png", "its URL names no host"),
        ("http://[::1/", "its URL is malformed"),
        ("http://a.example:99999/", "its URL is malformed"),
        (f"http://{'a' * 64}.example/", "its URL is malformed"),
        ("http://a..example/", "its URL is malformed"),
        ("gopher://a.example/", "only http: and https: URLs are fetched"),
    ],
)
def test_a_url_that_is_none_is_refused(url: str, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_target(url)
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
def test_a_url_is_taken_apart(url: str, authority: str, path: str) -> None:
    target = read_target(url)
    assert (target.authority, target.path) == (authority, path)


@pytest.fixture
async def secure_site() -> AsyncIterator[Site]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    async with running_site(context) as site:
        site.replies["/"] = whole(PICTURE)
        yield site


async def fetch_securely(site: Site, host: str, trusted: Path | None) -> bytes:
    async def names(host: str, port: int) -> SocketAddresses:
        return [(socket.AF_INET, ("127.0.0.1", port))]

    downloader = Downloader(
        look_up=names,
        is_public=lambda address: address == ip_address("127.0.0.1"),
        make_tls=lambda: ssl.create_default_context(cafile=trusted),
    )
    return await downloader.fetch(site.url("/", host), Allowance(1000))


async def test_a_host_with_the_certificate_of_its_name_is_believed(secure_site: Site) -> None:
    assert await fetch_securely(secure_site, "site.example", trusted=CERTIFICATE) == PICTURE


@pytest.mark.parametrize(("host", "trusted"), [("site.example", None), ("other.example", CERTIFICATE)])
async def test_a_host_with_any_other_certificate_is_not(secure_site: Site, host: str, trusted: Path | None) -> None:
    with pytest.raises(InvalidRequest, match=r"^its host cannot be reached by https$"):
        await fetch_securely(secure_site, host, trusted)
    assert secure_site.requests == []


def test_a_downloader_can_be_read_in_a_log() -> None:
    assert repr(Downloader()) == "<Downloader>"
