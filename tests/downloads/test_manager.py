"""Downloads, with real child processes and a hub on loopback."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import snapshot_download

from pico_jupyter.download_reports import Download
from pico_jupyter.downloads.cache_layout import CachedRepo
from pico_jupyter.downloads.manager import Downloads
from pico_jupyter.engine.catalog.catalog import BUILTIN_DIR, Catalog
from pico_jupyter.errors import Conflict, Forbidden, HubUnavailable, InvalidRequest, NotFound, PicoError
from pico_jupyter.types import EngineOptions
from tests.fakes.hub import FakeHub, Fault, HubRepo, running_hub

MODEL = "mlx-community/small-1.4M-bf16"
FOLDER = BUILTIN_DIR / "pico-tiny"
SIZE = sum(path.stat().st_size for path in FOLDER.iterdir())
SLOW = Fault("slow", "/cdn/", rate=1_000_000)
END_SECONDS = 60


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with running_hub(FakeHub(HubRepo(MODEL, FOLDER))) as hub:
        yield hub


Make = Callable[..., Downloads]


@pytest.fixture
async def make(hub: FakeHub, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes Downloads with the same cache; more variables of the environment are arguments."""
    made: list[Downloads] = []

    def make(**environ: str) -> Downloads:
        variables = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        variables |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), **environ}
        made.append(Downloads(tmp_path / "cache", environ=variables, retry_seconds=0.02))
        return made[-1]

    yield make
    for downloads in made:
        await downloads.aclose()


@pytest.fixture
def downloads(make: Make) -> Downloads:
    return make()


async def ended(downloads: Downloads, model: str = MODEL) -> Download:
    """The record of a download at its end. Raises its error."""
    async with asyncio.timeout(END_SECONDS):
        async for record in downloads.watch(model):
            last = record
    return last


async def progressed(downloads: Downloads, model: str = MODEL) -> None:
    """Wait until some of the weights are on the disk."""
    async with asyncio.timeout(END_SECONDS):
        async for record in downloads.watch(model):
            if record.file == "model.safetensors" and record.rate:
                return


async def failure(downloads: Downloads, model: str = MODEL) -> PicoError:
    downloads.start(model)
    with pytest.raises(PicoError) as raised:
        await ended(downloads, model)
    assert downloads.find(model).state == "failed"
    assert downloads.find(model).error == raised.value.message
    return raised.value


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def listed(tmp_path: Path) -> list[str]:
    models = Catalog(EngineOptions(), environ={}, hub_cache=tmp_path / "cache").models()
    return [info.repo for info in models if info.source == "hub"]


async def test_a_model_is_downloaded_once_and_then_listed(downloads: Downloads, hub: FakeHub, tmp_path: Path) -> None:
    started = downloads.start(MODEL)
    assert (started.state, started.completed) == ("running", 0)
    done = await ended(downloads)
    assert (done.state, done.completed, done.total, done.error) == ("complete", SIZE, SIZE, None)
    assert listed(tmp_path) == [MODEL]
    assert hub.sent() == SIZE


async def test_a_download_of_ours_is_complete_for_huggingface_hub(downloads: Downloads, tmp_path: Path) -> None:
    downloads.start(MODEL)
    await ended(downloads)
    folder = Path(snapshot_download(MODEL, cache_dir=tmp_path / "cache", local_files_only=True))
    assert contents(folder) == contents(FOLDER)


async def test_an_installed_model_is_not_fetched_again(downloads: Downloads, hub: FakeHub, make: Make) -> None:
    downloads.start(MODEL)
    await ended(downloads)
    sent = hub.sent()
    again = make()
    again.start(MODEL)
    assert (await ended(again)).state == "complete"
    assert hub.sent() == sent


async def test_progress_has_a_rate_and_the_time_left(downloads: Downloads, hub: FakeHub) -> None:
    hub.faults = [SLOW]
    downloads.start(MODEL)
    await progressed(downloads)
    record = downloads.find(MODEL)
    assert record.rate is not None
    assert record.seconds_left == pytest.approx((SIZE - record.completed) / record.rate)


async def test_a_paused_download_is_listed_after_a_restart_and_continues(
    downloads: Downloads, hub: FakeHub, make: Make, tmp_path: Path
) -> None:
    hub.faults = [SLOW]
    downloads.start(MODEL)
    await progressed(downloads)
    await downloads.aclose()
    restarted = make()
    (record,) = restarted.records()
    assert (record.state, record.total) == ("paused", SIZE)
    assert 0 < record.completed < SIZE
    assert listed(tmp_path) == []
    begun = len(hub.transfers)
    restarted.start(MODEL)
    assert (await ended(restarted)).state == "complete"
    (transfer,) = hub.transfers[begun:]
    assert transfer.start + transfer.sent == (FOLDER / "model.safetensors").stat().st_size
    assert transfer.start >= record.completed - SIZE + (FOLDER / "model.safetensors").stat().st_size


async def test_a_cancelled_download_leaves_nothing(downloads: Downloads, hub: FakeHub, tmp_path: Path) -> None:
    hub.faults = [SLOW]
    downloads.start(MODEL)
    await progressed(downloads)
    assert await downloads.cancel(MODEL) > 0
    assert downloads.records() == []
    assert not CachedRepo(tmp_path / "cache", MODEL).folder.exists()


async def test_cancelling_a_complete_download_keeps_the_model(downloads: Downloads, tmp_path: Path) -> None:
    downloads.start(MODEL)
    await ended(downloads)
    assert await downloads.cancel(MODEL) == 0
    assert downloads.records() == []
    assert listed(tmp_path) == [MODEL]


async def test_at_most_two_downloads_run_and_the_others_wait(downloads: Downloads, hub: FakeHub) -> None:
    names = [f"org/m{number}" for number in range(3)]
    for name in names:
        hub.add(name, FOLDER)
    hub.faults = [Fault("slow", "/cdn/", rate=3_000_000, times=2)]
    states = [downloads.start(name).state for name in names]
    assert states == ["running", "running", "queued"]
    assert downloads.is_running
    for name in names:
        assert (await ended(downloads, name)).state == "complete"
    assert not downloads.is_running


async def test_a_queued_download_can_be_paused(downloads: Downloads, hub: FakeHub) -> None:
    names = [f"org/m{number}" for number in range(3)]
    for name in names:
        hub.add(name, FOLDER)
        downloads.start(name)
    assert (await downloads.pause(names[2])).state == "paused"
    for name in names[:2]:
        await ended(downloads, name)
    assert downloads.find(names[2]).state == "paused"


async def test_starting_a_running_download_has_no_effect(downloads: Downloads, hub: FakeHub) -> None:
    hub.faults = [SLOW]
    downloads.start(MODEL)
    await progressed(downloads)
    assert downloads.start(MODEL).state == "running"
    assert len(downloads.records()) == 1


async def test_a_complete_download_cannot_be_paused(downloads: Downloads) -> None:
    downloads.start(MODEL)
    await ended(downloads)
    with pytest.raises(Conflict, match="complete"):
        await downloads.pause(MODEL)


async def test_two_processes_do_not_download_the_same_model(downloads: Downloads, hub: FakeHub, make: Make) -> None:
    hub.faults = [SLOW]
    downloads.start(MODEL)
    await progressed(downloads)
    other = make()
    assert [record.state for record in other.records()] == ["running"]
    with pytest.raises(Conflict, match="another process"):
        await other.pause(MODEL)
    error = await failure(other)
    assert "another process" in error.message


async def test_a_gated_model_is_refused_with_the_steps_to_take(hub: FakeHub, make: Make, tmp_path: Path) -> None:
    hub.add("org/gated", FOLDER, gated=True)
    error = await failure(make(), "org/gated")
    assert isinstance(error, Forbidden)
    assert f"Accept its conditions at {hub.url}/org/gated" in error.message
    assert "HF_TOKEN" in error.message
    allowed = make(HF_TOKEN=hub.token)
    allowed.start("org/gated")
    assert (await ended(allowed, "org/gated")).state == "complete"
    assert listed(tmp_path) == ["org/gated"]


async def test_the_token_is_sent_to_the_hub_and_not_to_its_storage(hub: FakeHub, make: Make) -> None:
    downloads = make(HF_TOKEN=hub.token)
    downloads.start(MODEL)
    await ended(downloads)
    assert hub.authorized_paths
    assert not [path for path in hub.authorized_paths if path.startswith("/cdn/")]


async def test_an_unknown_model_is_reported_with_its_name(downloads: Downloads) -> None:
    error = await failure(downloads, "org/absent")
    assert isinstance(error, NotFound)
    assert "there is no model org/absent" in error.message


async def test_an_unknown_revision_is_reported(downloads: Downloads) -> None:
    downloads.start(MODEL, "v9")
    with pytest.raises(NotFound, match="no such revision"):
        await ended(downloads)


async def test_offline_mode_is_respected(make: Make, hub: FakeHub) -> None:
    error = await failure(make(HF_HUB_OFFLINE="1"))
    assert "HF_HUB_OFFLINE is set" in error.message
    assert hub.requests == []


async def test_an_unreachable_hub_is_reported_with_what_to_check(make: Make) -> None:
    error = await failure(make(HF_ENDPOINT="http://127.0.0.1:9"))
    assert isinstance(error, HubUnavailable)
    assert "HTTPS_PROXY" in error.message
    assert "HF_ENDPOINT" in error.message


async def test_a_search_reports_the_hubs_limit_of_requests(downloads: Downloads, hub: FakeHub) -> None:
    hub.faults = [Fault("status", "/api/models", status=429, headers={"Retry-After": "17"})]
    with pytest.raises(HubUnavailable, match="Try again in 17 s") as refusal:
        await downloads.search("x", 5)
    assert refusal.value.retry_after == 17


async def test_a_model_of_another_kind_is_refused_before_its_weights_are_fetched(
    downloads: Downloads, hub: FakeHub, tmp_path: Path
) -> None:
    folder = tmp_path / "speech"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "whisper", "is_encoder_decoder": true}')
    (folder / "model.safetensors").write_bytes(bytes(1000))
    hub.add("org/speech", folder)
    error = await failure(downloads, "org/speech")
    assert isinstance(error, InvalidRequest)
    assert "not a language model (an encoder-decoder model)" in error.message
    assert not [request for request in hub.requests if "/cdn/" in request]
    assert listed(tmp_path) == []


async def test_weights_that_mlx_cannot_load_are_never_listed(
    downloads: Downloads, hub: FakeHub, tmp_path: Path
) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    for path in FOLDER.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "model.safetensors").write_bytes(b"not safetensors")
    hub.add("org/broken", folder)
    assert "cannot be used" in (await failure(downloads, "org/broken")).message
    assert listed(tmp_path) == []


async def test_a_search_finds_models_with_what_their_names_say(downloads: Downloads, hub: FakeHub) -> None:
    hub.add("org/Other-7B-4bit", FOLDER)
    found = await downloads.search("b", 10)
    assert [model.model for model in found] == [MODEL, "org/Other-7B-4bit"]
    assert (found[1].parameters, found[1].quantization, found[1].license) == ("7B", "4bit", "apache-2.0")
    assert await downloads.search("nothing", 10) == []


async def test_a_description_equals_that_of_the_catalog_and_fetches_no_weights(
    downloads: Downloads, hub: FakeHub, tmp_path: Path
) -> None:
    described = await downloads.describe(MODEL)
    fetched = hub.sent(hub.repos[MODEL].blobs["model.safetensors"])
    installed = next(info for info in Catalog(EngineOptions(), hub_cache=None).models() if info.name == "pico-tiny")
    assert described.capabilities == list(installed.capabilities)
    assert described.quantization == installed.quantization
    assert described.disk_bytes == SIZE
    assert (described.memory_bytes or 0) > installed.weights_size
    assert fetched < 200_000
    assert described.problem is None


async def test_a_description_says_why_a_model_cannot_run(downloads: Downloads, hub: FakeHub, tmp_path: Path) -> None:
    folder = tmp_path / "gguf"
    folder.mkdir()
    (folder / "model.gguf").write_bytes(b"GGUF")
    hub.add("org/gguf", folder)
    assert "GGUF" in ((await downloads.describe("org/gguf")).problem or "")


def test_the_child_process_ends_with_its_parent(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults = [SLOW]
    job = f'{{"type": "fetch", "model": "{MODEL}", "revision": "", "cache": "{tmp_path}", "started": ""}}\n'
    process = subprocess.Popen(
        [sys.executable, "-m", "pico_jupyter.downloads.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "HF_ENDPOINT": hub.url},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(job.encode())
    process.stdin.flush()
    assert b"progress" in process.stdout.readline()
    process.stdin.close()
    assert process.wait(10) == 1
    process.stdout.close()
