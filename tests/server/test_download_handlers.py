"""pico/downloads, pico/hub, api/pull and api/delete, with downloads that use no network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest

from pico_jupyter.download_reports import Download
from pico_jupyter.downloads.cache_layout import CachedRepo
from pico_jupyter.engine_reports import ResidentModel
from pico_jupyter.errors import Forbidden, HubUnavailable, PicoError
from pico_jupyter.server.extension import PicoJupyter
from tests.fakes.downloads import RECORD, FakeDownloads
from tests.fakes.engine_client import MODEL
from tests.server.conftest import RunningServer, StartServer, until

COMPLETE = msgspec.structs.replace(RECORD, state="complete", completed=100)
OFF = {"PicoJupyter": {"allow_pull": False}}


def use(server: RunningServer, downloads: FakeDownloads) -> FakeDownloads:
    """Replace the downloads of the server."""
    server.extension.context.downloads = downloads
    return downloads


async def test_a_download_is_started_with_its_revision(server: RunningServer) -> None:
    downloads = use(server, FakeDownloads())
    response = await server.post("pico/downloads", {"model": "hf.co/org/small:latest", "revision": "v2"})
    assert (response.status_code, response.json()["state"]) == (202, "running")
    assert downloads.calls == [("start", "org/small@v2")]


async def test_a_model_without_an_owner_belongs_to_mlx_community(server: RunningServer) -> None:
    downloads = use(server, FakeDownloads())
    await server.post("pico/downloads", {"model": "Qwen3-4B-4bit"})
    assert downloads.calls == [("start", "mlx-community/Qwen3-4B-4bit")]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "model"),
        ({"model": 3}, "model"),
        ({"model": "../etc"}, "model"),
        ({"model": "a/b/c"}, "model"),
        ({"model": "qwen3:4b"}, "model"),
        ({"model": "org/small", "revision": "../../x"}, "revision"),
    ],
)
async def test_a_wrong_field_of_a_download_is_named(server: RunningServer, body: object, param: str) -> None:
    downloads = use(server, FakeDownloads())
    response = await server.post("pico/downloads", body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
    assert downloads.calls == []


async def test_a_download_is_paused_resumed_and_cancelled(server: RunningServer) -> None:
    downloads = use(server, FakeDownloads())
    paused = await server.request("PATCH", "pico/downloads/org/small", json={"state": "paused"})
    resumed = await server.request("PATCH", "pico/downloads/org/small", json={"state": "running"})
    cancelled = await server.request("DELETE", "pico/downloads/org/small")
    assert (paused.json()["state"], resumed.json()["state"]) == ("paused", "running")
    assert cancelled.json() == {"model": "org/small", "freed": 40}
    assert [call for call, _ in downloads.calls] == ["pause", "start", "cancel"]


async def test_an_unknown_download_cannot_be_changed(server: RunningServer) -> None:
    use(server, FakeDownloads())
    response = await server.request("PATCH", "pico/downloads/org/other", json={"state": "running"})
    assert response.status_code == 404


async def test_models_of_the_hub_have_their_state_on_this_machine(server: RunningServer) -> None:
    use(server, FakeDownloads())
    (found,) = (await server.get("pico/hub/search?q=small&limit=3")).json()["models"]
    assert (found["state"], found["fits"]) == ("running", "yes")
    server.engine.catalog = (msgspec.structs.replace(MODEL, repo="org/small"),)
    use(server, FakeDownloads(known=()))
    assert (await server.get("pico/hub/models/org/small")).json()["state"] == "present"
    use(server, FakeDownloads(known=[msgspec.structs.replace(RECORD, state="failed")]))
    assert (await server.get("pico/hub/models/org/small")).json()["state"] == "partial"


async def test_a_model_above_the_memory_budget_does_not_fit(start_server: StartServer) -> None:
    server = await start_server(PicoJupyter={"memory_budget": 150})
    use(server, FakeDownloads())
    assert (await server.get("pico/hub/models/org/small")).json()["fits"] == "no"


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1000", f"q={'x' * 300}"])
async def test_a_wrong_search_is_refused(server: RunningServer, query: str) -> None:
    use(server, FakeDownloads())
    assert (await server.get(f"pico/hub/search?{query}")).status_code == 400


async def test_the_hubs_limit_of_requests_is_passed_on(server: RunningServer) -> None:
    downloads = use(server, FakeDownloads())
    downloads.failure = HubUnavailable("the hub limits the number of requests", retry_after=17)
    response = await server.get("pico/hub/search?q=x")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "17")
    assert response.json()["error"]["code"] == "hub_unavailable"


async def test_without_allow_pull_nothing_is_downloaded_and_the_hub_is_not_asked(start_server: StartServer) -> None:
    server = await start_server(**OFF)
    downloads = use(server, FakeDownloads())
    for method, path, body in (
        ("POST", "pico/downloads", {"model": "org/small"}),
        ("PATCH", "pico/downloads/org/small", {"state": "running"}),
        ("DELETE", "pico/downloads/org/small", None),
        ("GET", "pico/hub/recommended", None),
        ("GET", "pico/hub/search?q=x", None),
        ("GET", "pico/hub/models/org/small", None),
        ("POST", "api/pull", {"model": "org/small"}),
        ("DELETE", "api/delete", {"model": "tiny"}),
    ):
        response = await server.request(method, path, json=body)
        assert response.status_code == 403, path
    assert downloads.calls == []
    assert (await server.get("pico/downloads")).status_code == 200


@pytest.mark.parametrize(
    ("setting", "authenticated", "environ", "expected"),
    [
        (None, True, {}, True),
        (None, False, {}, False),
        (None, True, {"JUPYTERHUB_API_TOKEN": "x"}, False),
        (True, False, {"JUPYTERHUB_API_TOKEN": "x"}, True),
        (False, True, {}, False),
    ],
)
def test_the_default_allows_downloads_on_the_server_of_a_single_user(
    setting: bool | None, authenticated: bool, environ: dict[str, str], expected: bool
) -> None:
    extension = PicoJupyter(allow_pull=setting)
    assert extension.may_pull(authenticated=authenticated, environ=environ) is expected


async def pull(server: RunningServer, *script: Download | PicoError, stream: bool = True) -> list[dict[str, object]]:
    """The lines of an answer of api/pull."""
    use(server, FakeDownloads(script, known=()))
    response = await server.post("api/pull", {"model": "org/small", "stream": stream})
    assert response.status_code == 200
    return [json.loads(line) for line in response.text.splitlines()]


async def test_a_pull_sends_the_lines_of_ollama(server: RunningServer) -> None:
    lines = await pull(server, msgspec.structs.replace(RECORD, state="queued", total=None), RECORD, COMPLETE)
    assert [str(line["status"]).split()[0] for line in lines] == [
        *("pulling", "pulling", "pulling", "verifying", "writing", "success")
    ]
    assert lines[0] == {"status": "pulling manifest"}
    assert (lines[1]["completed"], lines[1]["total"], lines[2]["completed"]) == (40, 100, 100)
    assert lines[1]["digest"] == lines[2]["digest"]


async def test_a_pull_without_a_stream_answers_success(server: RunningServer) -> None:
    assert await pull(server, RECORD, COMPLETE, stream=False) == [{"status": "success"}]


async def test_a_pull_that_fails_ends_with_an_error(server: RunningServer) -> None:
    lines = await pull(server, RECORD, Forbidden("org/small is gated"))
    assert lines[-1] == {"error": "org/small is gated"}


async def test_a_pull_that_fails_without_a_stream_has_the_status_of_the_error(server: RunningServer) -> None:
    use(server, FakeDownloads((Forbidden("org/small is gated"),), known=()))
    response = await server.post("api/pull", {"model": "org/small", "stream": False})
    assert (response.status_code, response.json()) == (403, {"error": "org/small is gated"})


async def test_a_pull_that_is_paused_elsewhere_ends_with_an_error(server: RunningServer) -> None:
    lines = await pull(server, RECORD, msgspec.structs.replace(RECORD, state="paused"))
    assert lines[-1] == {"error": "the download of org/small was paused"}


class EndlessDownloads(FakeDownloads):
    """A download that never changes after its first record."""

    async def watch(self, model: str, repeat_after: float | None = None) -> AsyncGenerator[Download, None]:
        yield RECORD
        await asyncio.Event().wait()


@pytest.mark.parametrize(("was_running", "calls"), [(False, ["start", "pause"]), (True, ["start"])])
async def test_a_client_that_disconnects_pauses_only_a_download_that_it_started(
    server: RunningServer, was_running: bool, calls: list[str]
) -> None:
    downloads = use(server, EndlessDownloads(known=(RECORD,) if was_running else ()))
    async with server.client.stream(
        "POST", server.url + "api/pull", json={"model": "org/small"}, headers={"Authorization": "Bearer s3cret"}
    ) as response:
        await anext(response.aiter_lines())
        assert server.extension.context.running == 1
    await until(lambda: server.extension.context.running == 0)
    await until(lambda: [call for call, _ in downloads.calls] == calls)


async def test_a_running_download_keeps_the_server_from_shutting_down_as_idle(server: RunningServer) -> None:
    downloads = use(server, FakeDownloads())
    assert not server.extension.current_activity()
    downloads.is_running = True
    assert server.extension.current_activity()


async def test_a_downloaded_model_is_unloaded_and_deleted(server: RunningServer, tmp_path: Path) -> None:
    downloads = use(server, FakeDownloads())
    repo = CachedRepo(tmp_path, "org/tiny")
    snapshot = repo.snapshot("c0ffee")
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"weights")
    info = msgspec.structs.replace(MODEL, source="hub", path=str(snapshot))
    server.engine.catalog = (info,)
    server.engine.loaded = (ResidentModel(info, 7, None, 0),)
    response = await server.request("DELETE", "api/delete", json={"name": "tiny"})
    assert (response.status_code, response.content) == (200, b"")
    assert [call for call, _, _ in server.engine.calls] == ["unload"]
    assert not repo.folder.exists()
    assert downloads.calls == [("forget", "org/tiny")]


async def test_a_model_that_is_answering_is_not_deleted(server: RunningServer, tmp_path: Path) -> None:
    info = msgspec.structs.replace(MODEL, source="hub", path=str(tmp_path / "models--org--tiny/snapshots/1"))
    server.engine.catalog = (info,)
    server.engine.loaded = (ResidentModel(info, 7, None, 1),)
    response = await server.request("DELETE", "api/delete", json={"model": "tiny"})
    assert (response.status_code, "answering" in response.json()["error"]) == (409, True)
    assert server.engine.calls == []


@pytest.mark.parametrize(("source", "words"), [("builtin", "part of pico_jupyter"), ("folder", "models/tiny")])
async def test_a_model_that_was_not_downloaded_is_not_deleted(server: RunningServer, source: str, words: str) -> None:
    server.engine.catalog = (msgspec.structs.replace(MODEL, source=source),)
    response = await server.request("DELETE", "api/delete", json={"model": "tiny"})
    assert response.status_code == 403
    assert words in response.json()["error"]


async def test_an_unknown_model_is_not_deleted(server: RunningServer) -> None:
    response = await server.request("DELETE", "api/delete", json={"model": "other"})
    assert (response.status_code, response.json()) == (404, {"error": "model 'other' not found"})
