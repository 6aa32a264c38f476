"""KernelProcess: starts and stops one process of the model kernel, and connects its sockets.

stop() may be called at any time, and more than once. After it, no process, socket or file remains.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeAlias

import msgspec
import zmq.asyncio
from jupyter_client.connect import write_connection_file
from jupyter_client.launcher import launch_kernel
from jupyter_client.session import Session
from zmq.constants import SocketType

from pico_jupyter.errors import EngineUnavailable
from pico_jupyter.model_kernel import wire
from pico_jupyter.model_kernel.blas import preloading
from pico_jupyter.model_kernel.heap_tuning import heap_tuning
from pico_jupyter.model_kernel.link_client import LinkClient
from pico_jupyter.types import EngineOptions

KERNEL_COMMAND = (sys.executable, "-m", "pico_jupyter.model_kernel")
MODEL_PATH_VARIABLE = "PICO_JUPYTER_MODEL_PATH"
# The path of a Unix socket has at most 103 bytes on macOS and 107 on Linux. Each socket appends its number, up to "-5".
MAX_SOCKET_PATH = 100
RETRY_SECONDS = 0.1
# How long to wait until the process has ended: after a shutdown request, and after a kill.
STOP_SECONDS = 6.0
KILL_SECONDS = 3.0
# How long to wait for the last lines of output of a process that has ended.
OUTPUT_SECONDS = 1.0
LINGER_MS = 500
TAIL_LINES = 20
Log: TypeAlias = "logging.Logger | logging.LoggerAdapter[logging.Logger]"
LOG_LEVELS = {"WARNING": logging.WARNING, "ERROR": logging.ERROR, "CRITICAL": logging.CRITICAL}


def kernel_environment(
    environ: Mapping[str, str], blas: Path | None = None, *, libc: str | None = None
) -> dict[str, str]:
    """Return the environment variables of the model kernel. `blas` is the library to preload, see find_blas().

    Relative paths of models become absolute, because the kernel runs in another folder. `libc`: see heap_tuning().
    """
    environment = {**environ, **heap_tuning(environ, libc)}
    folders = [entry for entry in environ.get(MODEL_PATH_VARIABLE, "").split(os.pathsep) if entry]
    if folders:
        environment[MODEL_PATH_VARIABLE] = os.pathsep.join(os.path.abspath(os.path.expanduser(f)) for f in folders)
    if blas is not None:
        environment |= preloading(environ, blas)
    return environment


class _Header(msgspec.Struct):
    msg_type: str


_headers = msgspec.json.Decoder(_Header)
_contents = msgspec.json.Decoder(dict[str, Any])


def read_message(session: Session, parts: list[bytes]) -> tuple[str, bytes]:
    """Return the type and the payload of a message from the model kernel. Raises ValueError for a wrong signature.

    Session.deserialize() is slower: it also parses dates, and remembers signatures to detect replayed messages. A
    replay does no harm here, because requests and deltas are numbered.
    """
    _, (signature, header, parent, metadata, content, *buffers) = session.feed_identities(parts)
    payload = buffers[0] if buffers else b""
    if not hmac.compare_digest(session.sign([header, parent, metadata, content]), signature):
        raise ValueError("the signature is wrong")
    if payload and not wire.matches_digest(_contents.decode(content), payload):
        raise ValueError("the payload does not match its signature")
    return _headers.decode(header).msg_type, payload


class KernelProcess:
    """A process of the model kernel. `client` is the EngineClient of its engine.

    `on_exit` is called once, in the event loop, when the process has ended for any reason.
    """

    def __init__(self, command: Sequence[str], options: EngineOptions, log: Log, silence_limit: float) -> None:
        self._command = (*command, "--options", wire.options_text(options))
        self._log = log
        self._folder = Path(tempfile.mkdtemp(prefix="pico-"))
        self._context = zmq.asyncio.Context()
        self._sockets: dict[str, zmq.asyncio.Socket] = {}
        self._listeners: list[asyncio.Task[None]] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._ready_channels: set[str] = set()
        self._received = asyncio.Event()
        self.exited = asyncio.Event()
        self.exit_status: int | None = None
        self.blas: Path | None = None
        self.on_exit: Callable[[KernelProcess], None] = lambda _: None
        self.client = LinkClient(self, silence_limit=silence_limit, on_silence=self._end_frozen_process)

    def __repr__(self) -> str:
        state = "running" if self.exit_status is None else self.describe_exit()
        return f"<KernelProcess {state} {self.client!r}>"

    @property
    def pid(self) -> int:
        """The process id; 0 before the start."""
        return self._process.pid if self._process is not None else 0

    @property
    def tail(self) -> str:
        """The last lines of the kernel's output."""
        return "\n".join(self._tail)

    def describe_exit(self) -> str:
        """Return how the process ended, for example "killed by SIGKILL"."""
        if self.exit_status is None:
            return "running"
        if self.exit_status >= 0:
            return f"exit status {self.exit_status}"
        try:
            return f"killed by {signal.Signals(-self.exit_status).name}"
        except ValueError:
            return f"killed by signal {-self.exit_status}"

    def send(self, channel: wire.Channel, payload: bytes) -> None:
        """Send a message of the link to the kernel. Implements LinkTransport for `client`."""
        self._sockets[channel].send_multipart(wire.serialize(self._session, wire.REQUEST_TYPE, payload))

    def kill(self) -> None:
        """Kill the process if it is running. `on_exit` is called when it has ended."""
        if self._process is not None:
            self._process.kill()

    def _end_frozen_process(self) -> bool:
        self.kill()
        return self._process is not None

    async def start(self, environ: Mapping[str, str], timeout: float, blas: Path | None = None) -> None:
        """Start the process and wait until all channels work. Raises EngineUnavailable; then call stop()."""
        self.blas = blas
        connection = self._launch(kernel_environment(environ, blas))
        self._connect(connection)
        try:
            await asyncio.wait_for(self._handshake(), timeout)
        except TimeoutError:
            raise EngineUnavailable(f"the model kernel did not answer within {timeout:.0f} s\n{self.tail}") from None
        if self.exit_status is not None:
            raise self._not_started()
        self._is_ready = True

    async def stop(self) -> None:
        """End the process, close its sockets and remove its files. Each wait has a timeout."""
        try:
            if self._is_ready and not self.exited.is_set() and not self._context.closed:
                self._send("control", "shutdown_request", {"restart": False})
                await self._wait_for_exit(STOP_SECONDS)
        finally:
            # This block does not await, so it also runs to its end if stop() is cancelled.
            self.kill()
            for listener in self._listeners:
                listener.cancel()
            self._context.destroy(linger=0)
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._process is not None:
            await self._wait_for_exit(KILL_SECONDS)
        await asyncio.gather(*self._listeners, return_exceptions=True)

    async def _wait_for_exit(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.exited.wait(), seconds)

    def _launch(self, environment: dict[str, str]) -> dict[str, Any]:
        """Start the process and return its connection information. Does not await, so stop() finds every process."""
        transport, address = "tcp", "127.0.0.1"
        socket_path = str(self._folder / "k")
        if sys.platform != "win32" and len(os.fsencode(socket_path)) < MAX_SOCKET_PATH:
            transport, address = "ipc", socket_path
        file = str(self._folder / "kernel.json")
        key = secrets.token_hex(32).encode()
        _, connection = write_connection_file(file, ip=address, key=key, transport=transport)
        reading, writing = os.pipe()
        command = [*self._command, "-f", file]
        folder = str(self._folder)
        try:
            self._process = launch_kernel(command, stdout=writing, stderr=writing, env=environment, cwd=folder)
        except OSError as error:
            os.close(reading)
            raise EngineUnavailable(f"the model kernel cannot be started: {error}") from error
        finally:
            os.close(writing)
        output = os.fdopen(reading, encoding="utf-8", errors="replace")
        self._watch(self._process, output, asyncio.get_running_loop())
        return dict(connection)

    def _connect(self, connection: Mapping[str, Any]) -> None:
        self._session = Session(key=connection["key"].encode(), username="pico_jupyter")
        separator = "-" if connection["transport"] == "ipc" else ":"
        kinds = {"shell": SocketType.DEALER, "control": SocketType.DEALER, "iopub": SocketType.SUB}
        for channel, kind in kinds.items():
            socket = self._context.socket(kind)
            socket.linger = LINGER_MS
            if channel == "iopub":
                socket.subscribe(b"")
            else:
                # The queue is unlimited, so sending neither drops a message nor blocks.
                socket.set_hwm(0)
                socket.identity = self._session.bsession
            port = connection[channel + "_port"]
            socket.connect(f"{connection['transport']}://{connection['ip']}{separator}{port}")
            self._sockets[channel] = socket
            self._listeners.append(asyncio.create_task(self._listen(channel, socket)))

    async def _handshake(self) -> None:
        """Repeat requests until a message has arrived on each channel. The subscription to iopub takes some time."""
        exited = asyncio.create_task(self.exited.wait())
        try:
            while not {"shell", "control", "iopub"} <= self._ready_channels:
                self._received.clear()
                silent = {"shell", "control"} - self._ready_channels
                for channel in silent or {"shell"}:  # The kernel also publishes its status on iopub.
                    self._send(channel, "kernel_info_request", {})
                received = asyncio.create_task(self._received.wait())
                await asyncio.wait([received, exited], timeout=RETRY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                received.cancel()
                if exited.done():
                    raise self._not_started()
        finally:
            exited.cancel()

    def _not_started(self) -> EngineUnavailable:
        return EngineUnavailable(f"the model kernel did not start ({self.describe_exit()})\n{self.tail}".rstrip())

    async def _listen(self, channel: str, socket: zmq.asyncio.Socket) -> None:
        while True:
            parts = await socket.recv_multipart()
            try:
                kind, payload = read_message(self._session, parts)
            except ValueError as error:
                self._log.warning("ignoring a message that the model kernel did not sign: %s", type(error).__name__)
                continue
            if not self._is_ready:
                self._ready_channels.add(channel)
                self._received.set()
            if payload and kind in (wire.REPLY_TYPE, wire.PUBLISHED_TYPE):
                self.client.receive(payload)

    def _send(self, channel: str, kind: str, content: dict[str, Any]) -> None:
        self._sockets[channel].send_multipart(self._session.serialize(self._session.msg(kind, content)))

    def _watch(self, process: subprocess.Popen[bytes], output: IO[str], loop: asyncio.AbstractEventLoop) -> None:
        """Start two threads: one logs the output of the process, the other waits for its end and reports it."""

        def read() -> None:
            with output:
                for line in output:
                    self._log_line(line.rstrip())

        reader = threading.Thread(target=read, name="pico-kernel-output", daemon=True)

        def wait() -> None:
            status = process.wait()
            # Wait for the last lines, with a timeout: a child process of the kernel may keep the pipe open.
            reader.join(OUTPUT_SECONDS)
            with contextlib.suppress(RuntimeError):  # The loop is closed.
                loop.call_soon_threadsafe(self._note_exit, status)

        reader.start()
        threading.Thread(target=wait, name="pico-kernel-exit", daemon=True).start()

    def _log_line(self, line: str) -> None:
        if not line:
            return
        self._tail.append(line)
        level, _, text = line.partition(": ")
        if level in LOG_LEVELS:
            self._log.log(LOG_LEVELS[level], "model kernel: %s", text)
        else:
            self._log.debug("model kernel: %s", line)

    def _note_exit(self, status: int) -> None:
        self.exit_status = status
        self.exited.set()
        self.on_exit(self)
