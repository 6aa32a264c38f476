"""The address of the server of a kernel or of a user."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.sources.server_address import ServerAddress, find_server, name_server, read_address, running_servers


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The info file of server 17, which has a token."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    info = tmp_path / "jpserver-17.json"
    info.write_text(json.dumps({"url": "http://localhost:8888/", "token": "secret"}))
    return info


def test_only_the_server_that_started_the_kernel_is_found(started: Path) -> None:
    assert find_server({"JPY_PARENT_PID": "17"}) == ServerAddress("http://localhost:8888/", "secret")
    assert find_server({"JPY_PARENT_PID": "18"}) is None
    assert find_server({}) is None


def test_a_server_that_is_named_has_precedence(started: Path) -> None:
    named = {"PICO_JUPYTER_URL": "http://elsewhere/base", "PICO_JUPYTER_TOKEN": "t", "JPY_PARENT_PID": "17"}
    assert find_server(named) == ServerAddress("http://elsewhere/base/", "t", is_named=True)


def test_on_a_hub_the_server_of_the_kernel_gets_the_hubs_token(started: Path) -> None:
    hub = {"JPY_PARENT_PID": "17", "JUPYTERHUB_API_TOKEN": "hub"}
    started.write_text(json.dumps({"url": "http://127.0.0.1:5000/user/ada/", "token": ""}))
    assert find_server(hub) == ServerAddress("http://127.0.0.1:5000/user/ada/", "hub")
    started.write_text(json.dumps({"url": "http://127.0.0.1:5000/user/ada/", "token": "own"}))
    assert find_server(hub) == ServerAddress("http://127.0.0.1:5000/user/ada/", "own")


@pytest.mark.parametrize(
    ("service", "url"),
    [
        ("http://0.0.0.0:8888/user/ada/", "http://127.0.0.1:8888/user/ada/"),
        ("http://[::]:8888/user/ada", "http://127.0.0.1:8888/user/ada/"),
        ("http://127.0.0.1:45001/user/ada%40b/", "http://127.0.0.1:45001/user/ada%40b/"),
        ("https://pod-7:8888/user/ada/", "https://pod-7:8888/user/ada/"),
    ],
)
def test_on_a_hub_without_an_info_file_the_service_url_is_used(started: Path, service: str, url: str) -> None:
    hub = {"JPY_PARENT_PID": "18", "JUPYTERHUB_SERVICE_URL": service, "JUPYTERHUB_API_TOKEN": "hub"}
    assert find_server(hub) == ServerAddress(url, "hub")
    assert find_server({**hub, "JUPYTERHUB_API_TOKEN": ""}) is None


def test_an_incomplete_info_file_is_ignored(started: Path) -> None:
    started.write_text('{"url": "http://loc')
    assert read_address(started) is None
    started.write_text('{"url": "http://localhost:8888/"}')
    assert read_address(started) is None


def test_only_servers_that_still_run_are_listed(started: Path) -> None:
    """Another program may listen at the address of a server that has ended, and must not get its token."""
    info = {"url": "http://localhost:9999/", "token": "own"}
    started.with_name(f"jpserver-{os.getpid()}.json").write_text(json.dumps(info))
    started.rename(started.with_name(f"jpserver-{2**22 + 1}.json"))
    started.with_name("jpserver-unix.json").write_text(json.dumps(info))
    assert list(running_servers()) == [ServerAddress("http://localhost:9999/", "own")]


@pytest.mark.parametrize(
    "url", ["localhost:8888", "ftp://localhost/", "http://", "file:///etc", "", "http://x:port/", "http://[x"]
)
def test_a_url_that_is_not_http_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="is not an address like http://localhost:8888/"):
        name_server(url)


def test_an_address_ends_in_a_slash_and_hides_its_token() -> None:
    address = name_server("https://host:1/user/ada?token=x", "secret")
    assert address == ServerAddress("https://host:1/user/ada/", "secret", is_named=True)
    assert "secret" not in repr(address)
