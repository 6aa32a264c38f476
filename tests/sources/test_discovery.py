"""The source of answers of a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from pico_jupyter.errors import EngineUnavailable, Unauthenticated
from pico_jupyter.sources.discovery import find_source, shared_engine
from pico_jupyter.sources.server_address import name_server, read_address
from pico_jupyter.sources.server_source import ServerSource
from tests.e2e.running import RunningServer


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PICO_JUPYTER_URL", "JPY_PARENT_PID", "JUPYTERHUB_SERVICE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))


async def test_the_server_that_started_the_kernel_is_the_source(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", server.environ["JUPYTER_RUNTIME_DIR"])
    monkeypatch.setenv("JPY_PARENT_PID", str(server.process.pid))
    assert isinstance(await find_source(), ServerSource)
    info = Path(server.environ["JUPYTER_RUNTIME_DIR"]) / f"jpserver-{server.process.pid}.json"
    assert read_address(info) is not None


async def test_without_a_server_the_engine_of_this_process_is_the_source() -> None:
    assert await find_source() is shared_engine()


async def test_a_server_without_pico_jupyter_is_replaced_by_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jpserver-17.json").write_text('{"url": "http://127.0.0.1:9/", "token": ""}')
    monkeypatch.setenv("JPY_PARENT_PID", "17")
    assert await find_source() is shared_engine()


async def test_a_server_that_was_named_must_answer(server: RunningServer) -> None:
    with pytest.raises(EngineUnavailable, match=r"there is no pico_jupyter server at http://127\.0\.0\.1:9/"):
        await find_source(name_server("http://127.0.0.1:9"))
    with pytest.raises(EngineUnavailable, match="there is no pico_jupyter server at"):
        await find_source(name_server(f"{server.url}elsewhere", server.token))
    with pytest.raises(Unauthenticated):
        await find_source(name_server(server.url, "wrong"))
