"""`jupyter pico` with a running server."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from pico_jupyter.engine.catalog.catalog import BUILTIN_DIR
from tests.e2e.running import RunningServer, wait_for
from tests.fakes.hub import FakeHub, Fault


def pico(server: RunningServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `jupyter pico` with the environment of the server."""
    command = [sys.executable, "-m", "jupyter", "pico", *arguments]
    return subprocess.run(command, env=server.environ, capture_output=True, text=True, check=False, timeout=60)


def test_run_finds_the_running_server_and_streams_from_it(server: RunningServer) -> None:
    done = pico(server, "run", "pico-tiny", "What is 12 + 35?", "--temperature", "0")
    assert "47" in done.stdout
    assert f"using the server at {server.url}" in done.stderr
    assert server.token not in done.stdout + done.stderr


def test_an_error_of_the_server_is_printed(server: RunningServer) -> None:
    done = pico(server, "run", "absent", "hello")
    assert done.returncode == 1
    assert done.stderr.endswith("error: The model 'absent' does not exist\n")


def test_ps_shows_what_the_server_has_loaded(server: RunningServer) -> None:
    pico(server, "run", "pico-tiny", "hello")
    rows = pico(server, "ps").stdout.splitlines()
    assert rows[0].split() == ["NAME", "SIZE", "CONTEXT", "UNTIL"]
    assert rows[1].startswith("pico-tiny:latest")


def test_an_image_is_sent_to_the_server(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"\x89PNG")
    done = pico(server, "run", "pico-tiny", "What is this?", "--image", str(tmp_path / "cat.png"))
    assert done.returncode == 1
    assert "'pico-tiny' cannot be loaded as a vision model" in done.stderr


def test_a_model_is_pulled_listed_and_deleted(server: RunningServer, hub: FakeHub) -> None:
    hub.add("org/from-terminal", BUILTIN_DIR / "pico-tiny")
    done = pico(server, "pull", "org/from-terminal")
    assert (done.returncode, "is ready" in done.stdout) == (0, True)
    assert "100%" in done.stderr
    assert "from-terminal" in pico(server, "list").stdout
    assert "is deleted; this freed 2.9 MB" in pico(server, "rm", "from-terminal").stdout
    assert "from-terminal" not in pico(server, "list").stdout


def test_an_interrupted_pull_is_paused_and_says_how_to_resume(server: RunningServer, hub: FakeHub) -> None:
    hub.add("org/interrupted", BUILTIN_DIR / "pico-tiny")
    hub.faults = [Fault("slow", "/cdn/", rate=400_000)]
    command = [sys.executable, "-m", "jupyter", "pico", "pull", "org/interrupted"]
    with (
        server.http() as http,
        subprocess.Popen(command, env=server.environ, stderr=subprocess.PIPE, text=True) as process,
    ):
        wait_for(lambda: any(one["file"] == "model.safetensors" for one in downloads(http)))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        states = [one["state"] for one in downloads(http) if one["model"] == "org/interrupted"]
        http.delete("pico/downloads/org/interrupted")
    assert process.returncode == 130
    assert 'to resume: run "jupyter pico pull org/interrupted"' in errors
    assert states == ["paused"]


def downloads(http: httpx.Client) -> list[dict[str, Any]]:
    return list(http.get("pico/downloads").json()["downloads"])
