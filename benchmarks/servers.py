"""Starts and stops the servers that are measured.

All servers use the same BLAS: the other servers get the environment variables of our running model kernel.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import psutil

from benchmarks.clients import Address

PICO, MLX_LM, MLX_VLM, BARE = "pico_jupyter", "mlx_lm.server", "mlx_vlm.server", "bare loop"
START_SECONDS = 120.0
STOP_SECONDS = 20.0
# Environment variables that select and configure the BLAS, and the malloc that its arrays come from.
_BLAS_VARIABLES = ("LD_PRELOAD", "DYLD_INSERT_LIBRARIES", "GLIBC_TUNABLES")
_BLAS_PREFIXES = ("OPENBLAS_", "OMP_", "MKL_", "KMP_", "VECLIB_", "GOTO_", "BLIS_", "MLX_")
_BLAS_FILES = ("blas", "lapack", "libmkl_rt", "libblis")


class NotStarted(Exception):
    """A server exited or timed out before its first response."""


class Server(Protocol):
    """One server under measurement."""

    name: str
    chat_path: str

    @property
    def address(self) -> Address: ...

    @property
    def engine(self) -> psutil.Process:
        """The process that runs the model. Raises psutil.Error if there is no such process."""
        ...

    @property
    def processes(self) -> list[psutil.Process]: ...

    @property
    def is_alive(self) -> bool:
        """Whether the server can answer requests."""
        ...

    def model(self, checkpoint: str) -> str:
        """The model name of a checkpoint in requests."""
        ...

    def completion(self, checkpoint: str, text: str, max_tokens: int) -> tuple[str, dict[str, Any]]:
        """Path and body of a request that completes raw text greedily, without a chat template."""
        ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


class _Process:
    """A child process that writes its output to a file. end() also kills the child's own children."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed by end()
        # The child has its own session, so Ctrl-C reaches only this process, which then stops the child.
        self._popen = subprocess.Popen(
            command, env=dict(environ), stdout=self._output, stderr=subprocess.STDOUT, start_new_session=True
        )
        self.pid = self._popen.pid

    @property
    def is_running(self) -> bool:
        return self._popen.poll() is None

    @property
    def family(self) -> list[psutil.Process]:
        """The process and all its descendants."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            return [process, *process.children(recursive=True)]
        return []

    def last_output(self) -> str:
        self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, self._output.tell() - 2000))
        return self._output.read().decode(errors="replace").strip()

    def end(self) -> None:
        family = self.family
        self._popen.terminate()
        try:
            self._popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
        finally:
            for process in family:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(family, timeout=STOP_SECONDS)
            self._popen.wait()
            self._output.close()


class JupyterServer:
    """A Jupyter server, with or without pico_jupyter. `seconds` is the time from its start to its first response."""

    name = PICO
    chat_path = "/v1/chat/completions"

    def __init__(
        self, *, enabled: bool = True, environ: Mapping[str, str] | None = None, traits: Sequence[str] = ()
    ) -> None:
        self._enabled = enabled
        self._environ = {**os.environ, **(environ or {})}
        self._traits = traits
        self._token = secrets.token_hex(16)
        self._process: _Process | None = None
        self._port = 0
        self.seconds = 0.0

    def start(self) -> None:
        """Start the server and wait for its first response. Raises NotStarted."""
        self._folder = tempfile.TemporaryDirectory()
        runtime = Path(self._folder.name) / "runtime"
        environ = {**self._environ, "JUPYTER_RUNTIME_DIR": str(runtime), "JUPYTER_TOKEN": self._token}
        command = [sys.executable, "-m", "jupyter_server", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0"]
        command += ["--no-browser", "--allow-root", f"--ServerApp.root_dir={self._folder.name}"]
        command += [f"--ServerApp.jpserver_extensions=pico_jupyter={self._enabled}", *self._traits]
        start = time.perf_counter()
        self._process = _Process(command, environ)
        self._port = self._find_port(runtime / f"jpserver-{self._process.pid}.json", start + START_SECONDS)
        _wait_for(self._process, self.url + "api/status", self.headers, start + START_SECONDS)
        self.seconds = time.perf_counter() - start

    def stop(self) -> None:
        """Stop the server and its model kernel."""
        if self._process is not None:
            self._process.end()
            self._process = None
            self._folder.cleanup()

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self._port, self.headers)

    @property
    def processes(self) -> list[psutil.Process]:
        return self._process.family if self._process else []

    @property
    def engine(self) -> psutil.Process:
        for process in self.processes:
            with contextlib.suppress(psutil.Error):
                if "pico_jupyter.model_kernel" in process.cmdline():
                    return process
        raise psutil.NoSuchProcess(0, "the model kernel")

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.is_running

    def model(self, checkpoint: str) -> str:
        return checkpoint

    def completion(self, checkpoint: str, text: str, max_tokens: int) -> tuple[str, dict[str, Any]]:
        options = {"temperature": 0, "num_predict": max_tokens}
        body = {"model": checkpoint, "prompt": text, "raw": True, "stream": False, "options": options}
        return "/api/generate", body

    def _find_port(self, info: Path, deadline: float) -> int:
        assert self._process is not None
        while time.perf_counter() < deadline and self._process.is_running:
            with contextlib.suppress(OSError, ValueError):
                return int(json.loads(info.read_text())["port"])
            time.sleep(0.01)
        raise NotStarted(f"the Jupyter server did not start\n{self._process.last_output()}")


class MlxLmServer:
    """mlx_lm.server with its default settings."""

    name = MLX_LM
    chat_path = "/v1/chat/completions"
    _module: tuple[str, ...] = ("mlx_lm", "server")

    def __init__(self, folder: Path, checkpoint: str, environ: Mapping[str, str], flags: Sequence[str] = ()) -> None:
        self._folder = folder
        self._checkpoint = checkpoint
        self._environ = environ
        self._flags = flags
        self._process: _Process | None = None
        self._port = 0

    def start(self) -> None:
        """Start the server and wait for its first response. Raises NotStarted."""
        self._port = _free_port()
        command = [sys.executable, "-m", *self._module, "--model", self.model(self._checkpoint)]
        command += ["--host", "127.0.0.1", "--port", str(self._port), "--log-level", "WARNING", *self._flags]
        self._process = _Process(command, self._environ)
        _wait_for(
            self._process, f"http://127.0.0.1:{self._port}/health", {}, deadline=time.perf_counter() + START_SECONDS
        )

    def stop(self) -> None:
        """Stop the server."""
        if self._process is not None:
            self._process.end()
            self._process = None

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self._port)

    @property
    def processes(self) -> list[psutil.Process]:
        return self._process.family if self._process else []

    @property
    def engine(self) -> psutil.Process:
        return psutil.Process(self._process.pid if self._process else 0)

    @property
    def is_alive(self) -> bool:
        """Whether the server runs and reports that it is healthy.

        A server can accept connections although its generation thread has died, so its health check is necessary.
        """
        if self._process is None or not self._process.is_running:
            return False
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health", timeout=10):
                return True
        except OSError:
            return False

    def model(self, checkpoint: str) -> str:
        return str((self._folder / checkpoint).resolve())

    def completion(self, checkpoint: str, text: str, max_tokens: int) -> tuple[str, dict[str, Any]]:
        body = {"model": self.model(checkpoint), "prompt": text, "max_tokens": max_tokens, "temperature": 0.0}
        return "/v1/completions", body


class MlxVlmServer(MlxLmServer):
    """mlx_vlm.server with its default settings. Its options and health check are those of mlx_lm.server."""

    name = MLX_VLM
    _module = ("mlx_vlm.server",)


RIVALS = {server.name: server for server in (MlxLmServer, MlxVlmServer)}


@contextlib.contextmanager
def running(server: Server | JupyterServer) -> Iterator[None]:
    """Start a server, and stop it when the block ends. Raises NotStarted."""
    try:
        server.start()
        yield
    finally:
        server.stop()


def blas_of(process: psutil.Process) -> dict[str, str]:
    """The BLAS variables in the environment of a process."""
    environ = process.environ()
    return {k: v for k, v in environ.items() if k in _BLAS_VARIABLES or k.startswith(_BLAS_PREFIXES)}


def environ_with(blas: Mapping[str, str]) -> dict[str, str]:
    """The environment of this process with the given BLAS variables."""
    own = {k: v for k, v in os.environ.items() if k not in _BLAS_VARIABLES and not k.startswith(_BLAS_PREFIXES)}
    return {**own, **blas}


def without_folders(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables with each path shortened to its last part, for the report."""
    return {name: " ".join(Path(part).name for part in value.split()) for name, value in variables.items()}


def blas_libraries(process: psutil.Process) -> list[str]:
    """The names of the BLAS libraries that a process has loaded. Empty if the system reports no memory maps."""
    if not hasattr(process, "memory_maps"):
        return []
    with contextlib.suppress(psutil.Error):
        names = {Path(entry.path).name for entry in process.memory_maps()}
        return sorted(name for name in names if any(part in name.lower() for part in _BLAS_FILES))
    return []


def settle(servers: Sequence[Server], timeout: float = 90.0) -> bool:
    """Wait until all servers are idle, so that they do not slow each other down. Returns False after `timeout` s."""
    deadline = time.perf_counter() + timeout
    while time.perf_counter() < deadline:
        before = _seconds_used(servers)
        time.sleep(0.3)
        if _seconds_used(servers) - before < 0.03:
            return True
    return False


def _seconds_used(servers: Sequence[Server]) -> float:
    seconds = 0.0
    for process in (process for server in servers for process in server.processes):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            seconds += times.user + times.system
    return seconds


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(process: _Process, url: str, headers: Mapping[str, str], deadline: float) -> None:
    request = urllib.request.Request(url, headers=dict(headers))
    while time.perf_counter() < deadline and process.is_running:
        try:
            with urllib.request.urlopen(request, timeout=10):
                return
        except (OSError, urllib.error.HTTPError):
            time.sleep(0.01)
    raise NotStarted(f"{url} did not answer\n{process.last_output()}")
