"""One life of the model kernel, from its start to its end, and the sockets to it. Knows no request."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
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
from jupyter_client.ioloop.manager import AsyncIOLoopKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.session import Session
from zmq.constants import SocketType

from pico_jupyter.errors import EngineUnavailable
from pico_jupyter.model_kernel import wire
from pico_jupyter.model_kernel.link_client import CommEngineClient
from pico_jupyter.model_kernel.openblas import preloading
from pico_jupyter.types import EngineOptions

KERNEL_NAME = "pico-models"
KERNEL_COMMAND = (sys.executable, "-m", "pico_jupyter.model_kernel")
MODEL_PATH_VARIABLE = "PICO_JUPYTER_MODEL_PATH"
# A Unix socket's path is at most 103 bytes on macOS and 107 on Linux, its "-5" included.
LONGEST_SOCKET_PATH = 100
NUDGE_SECONDS = 0.1
STOP_SECONDS = 6.0
LAST_WORDS_SECONDS = 1.0
LINGER_MS = 500
TAIL_LINES = 20
Log: TypeAlias = "logging.Logger | logging.LoggerAdapter[logging.Logger]"
LOG_LEVELS = {"WARNING": logging.WARNING, "ERROR": logging.ERROR, "CRITICAL": logging.CRITICAL}


def kernel_environment(environ: Mapping[str, str], openblas: Path | None = None) -> dict[str, str]:
    """What the model kernel's environment is, in one place. It runs in a folder of its own, so paths are absolute.

    `openblas` is a library that takes the place of mlx's own BLAS, see find_openblas().
    """
    environment = dict(environ)
    folders = [entry for entry in environ.get(MODEL_PATH_VARIABLE, "").split(os.pathsep) if entry]
    if folders:
        environment[MODEL_PATH_VARIABLE] = os.pathsep.join(os.path.abspath(os.path.expanduser(f)) for f in folders)
    if openblas is not None:
        environment |= preloading(environ, openblas)
    return environment


class _Header(msgspec.Struct):
    msg_type: str


_headers = msgspec.json.Decoder(_Header)
_contents = msgspec.json.Decoder(dict[str, Any])


def read_message(session: Session, parts: list[bytes]) -> tuple[str, bytes]:
    """The type and the payload of a message from the model kernel. Raises ValueError where they are not signed.

    Session.deserialize() would also parse dates, and keep signatures against repetition, for every frame of every
    answer. Repetition does no harm here, because everything on the link is numbered.
    """
    _, (signature, *signed) = session.feed_identities(parts)
    header, content, payload = signed[0], signed[3], b"".join(signed[4:5])
    if not hmac.compare_digest(session.sign(signed[:4]), signature):
        raise ValueError("the signature is wrong")
    if payload and not wire.is_genuine(_contents.decode(content), payload):
        raise ValueError("the payload is not the signed one")
    return _headers.decode(header).msg_type, payload


class _PrivateSpecs(KernelSpecManager):  # type: ignore[misc]  # jupyter_client is untyped here
    """Knows one kernel, which no launcher lists."""

    def __init__(self, argv: Sequence[str]) -> None:
        super().__init__()
        self._spec = KernelSpec(argv=list(argv), display_name="Pico models", language="", interrupt_mode="message")

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return self._spec


class KernelProcess:
    """A running model kernel. Made by start_kernel(); `client` is the engine in it.

    `on_exit` is called once, in the event loop, when the process has ended, whatever ended it.
    """

    def __init__(self, command: Sequence[str], options: EngineOptions, log: Log, silence_limit: float) -> None:
        self._log = log
        self._folder = Path(tempfile.mkdtemp(prefix="pico-"))
        argv = [*command, "-f", "{connection_file}", "--options", wire.options_text(options)]
        self._manager = AsyncIOLoopKernelManager(
            kernel_name=KERNEL_NAME,
            kernel_spec_manager=_PrivateSpecs(argv),
            connection_file=str(self._folder / "kernel.json"),
            autorestart=False,
        )
        socket_path = str(self._folder / "k")
        if sys.platform != "win32" and len(os.fsencode(socket_path)) < LONGEST_SOCKET_PATH:
            self._manager.transport = "ipc"
            self._manager.ip = socket_path
        self._context = zmq.asyncio.Context()
        self._sockets: dict[str, zmq.asyncio.Socket] = {}
        self._listeners: list[asyncio.Task[None]] = []
        self._watched = False
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._answered: set[str] = set()
        self._heard = asyncio.Event()
        self.exited = asyncio.Event()
        self.exit_status: int | None = None
        self.openblas: Path | None = None
        self.on_exit: Callable[[KernelProcess], None] = lambda _: None
        self.client = CommEngineClient(self, silence_limit=silence_limit, on_silence=self.kill)

    def __repr__(self) -> str:
        state = "running" if self.exit_status is None else self.describe_exit()
        return f"<KernelProcess {state} {self.client!r}>"

    @property
    def pid(self) -> int:
        """The process id; 0 before the start."""
        return self._process.pid if self._manager.provisioner is not None else 0

    @property
    def tail(self) -> str:
        """The last lines that the kernel wrote."""
        return "\n".join(self._tail)

    def describe_exit(self) -> str:
        """How the process ended, in words."""
        if self.exit_status is None:
            return "running"
        if self.exit_status >= 0:
            return f"exit status {self.exit_status}"
        try:
            return f"killed by {signal.Signals(-self.exit_status).name}"
        except ValueError:
            return f"killed by signal {-self.exit_status}"

    def send(self, channel: wire.Channel, payload: bytes) -> None:
        """Carry a message of the link to the kernel (the Transport of `client`)."""
        self._send(channel, wire.REQUEST_TYPE, wire.seal(payload), [payload])

    def kill(self) -> None:
        """End the process at once; on_exit follows."""
        self._process.kill()

    async def start(self, environ: Mapping[str, str], timeout: float, openblas: Path | None = None) -> None:
        """Start the process and wait until both directions work. Raises EngineUnavailable; stop() cleans up."""
        self.openblas = openblas
        reading, writing = os.pipe()
        try:
            environment = kernel_environment(environ, openblas)
            await self._manager.start_kernel(stdout=writing, stderr=writing, env=environment, cwd=str(self._folder))
        except OSError as error:
            os.close(reading)
            raise EngineUnavailable(f"the model kernel cannot be started: {error}") from error
        finally:
            os.close(writing)
        self._watch(os.fdopen(reading, encoding="utf-8", errors="replace"), asyncio.get_running_loop())
        self._connect()
        try:
            await asyncio.wait_for(self._shake_hands(), timeout)
        except TimeoutError:
            raise EngineUnavailable(f"the model kernel did not answer within {timeout:.0f} s\n{self.tail}") from None
        if self.exit_status is not None:
            raise self._not_started()

    async def stop(self) -> None:
        """End the process, politely first, and leave no process, socket or file behind. Takes bounded time."""
        if not self._watched:
            await self._manager.shutdown_kernel(now=True)
        elif self.exit_status is None:
            try:
                await asyncio.wait_for(self._manager.shutdown_kernel(), STOP_SECONDS)
            except TimeoutError:
                self.kill()
            await self.exited.wait()
        await self._manager.cleanup_resources()
        for listener in self._listeners:
            listener.cancel()
        await asyncio.gather(*self._listeners, return_exceptions=True)
        self._context.destroy(linger=0)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = self._manager.provisioner.process
        return process

    def _connect(self) -> None:
        info = self._manager.get_connection_info()
        self._session = Session(key=info["key"], signature_scheme=info["signature_scheme"], username="pico_jupyter")
        separator = "-" if info["transport"] == "ipc" else ":"
        kinds = {"shell": SocketType.DEALER, "control": SocketType.DEALER, "iopub": SocketType.SUB}
        for channel, kind in kinds.items():
            socket = self._context.socket(kind)
            socket.linger = LINGER_MS
            if channel == "iopub":
                socket.subscribe(b"")
            else:
                # What is sent must not be dropped and never blocks, however much waits.
                socket.set_hwm(0)
                socket.identity = self._session.bsession
            socket.connect(f"{info['transport']}://{info['ip']}{separator}{info[channel + '_port']}")
            self._sockets[channel] = socket
            self._listeners.append(asyncio.create_task(self._listen(channel, socket)))

    async def _shake_hands(self) -> None:
        """Ask until a reply and something published have come: a subscription takes a moment to take hold."""
        exited = asyncio.create_task(self.exited.wait())
        try:
            while not {"shell", "control", "iopub"} <= self._answered:
                self._heard.clear()
                for channel in {"shell", "control"} - self._answered or {"shell"}:
                    self._send(channel, "kernel_info_request", {})
                heard = asyncio.create_task(self._heard.wait())
                await asyncio.wait([heard, exited], timeout=NUDGE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                heard.cancel()
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
            except (ValueError, IndexError) as error:
                self._log.warning("ignoring a message that the model kernel did not sign: %s", type(error).__name__)
                continue
            self._answered.add(channel)
            self._heard.set()
            if payload and kind in (wire.REPLY_TYPE, wire.PUBLISHED_TYPE):
                self.client.receive(payload)

    def _send(self, channel: str, kind: str, content: dict[str, Any], buffers: Sequence[bytes] = ()) -> None:
        message = self._session.msg(kind, content)
        self._sockets[channel].send_multipart([*self._session.serialize(message), *buffers])

    def _watch(self, output: IO[str], loop: asyncio.AbstractEventLoop) -> None:
        """Hand the kernel's output to the log and tell of its end, each on a thread that sleeps until there is news."""
        process = self._process

        def read() -> None:
            with output:
                for line in output:
                    self._log_line(line.rstrip())

        reader = threading.Thread(target=read, name="pico-kernel-output", daemon=True)

        def wait() -> None:
            status = process.wait()
            # Its last words are worth a moment; a process that it left behind may keep the pipe open.
            reader.join(LAST_WORDS_SECONDS)
            try:
                loop.call_soon_threadsafe(self._take_exit, status)
            except RuntimeError:
                return  # The loop is closed: nobody waits for the news.

        reader.start()
        threading.Thread(target=wait, name="pico-kernel-exit", daemon=True).start()
        self._watched = True

    def _log_line(self, line: str) -> None:
        if not line:
            return
        self._tail.append(line)
        level, _, text = line.partition(": ")
        if level in LOG_LEVELS:
            self._log.log(LOG_LEVELS[level], "model kernel: %s", text)
        else:
            self._log.debug("model kernel: %s", line)

    def _take_exit(self, status: int) -> None:
        self.exit_status = status
        self.exited.set()
        self.on_exit(self)
