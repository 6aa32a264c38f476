"""`jupyter pico` with a running server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.e2e.running import RunningServer


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
