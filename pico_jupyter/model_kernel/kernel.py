"""The model kernel's process: a Jupyter kernel that hosts models and runs no user code.

This module runs on one event loop and never blocks it; the engine has its own threads. The process ends when its parent
process ends. It ignores Ctrl-C in the parent's terminal.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import zmq.asyncio
from ipykernel.parentpoller import ParentPollerUnix, ParentPollerWindows
from jupyter_client.session import Session
from zmq.constants import SocketType

from pico_jupyter import __version__
from pico_jupyter.client import LocalEngine
from pico_jupyter.engine.local_client import local_engine
from pico_jupyter.model_kernel import wire
from pico_jupyter.model_kernel.blas_check import check_preloaded
from pico_jupyter.model_kernel.heap_tuning import TUNABLES, TUNABLES_VARIABLE
from pico_jupyter.model_kernel.link_server import LinkServer
from pico_jupyter.types import EngineOptions

# The shortest time between two messages with text of one stream, in seconds.
PUBLISHING_WINDOW = 0.025
# The engine thread holds the GIL most of the time. With Python's default switch interval of 5 ms, the event loop would
# send each delta and handle each abort up to 5 ms later.
SWITCH_SECONDS = 0.0005
PROTOCOL_VERSION = "5.3"
CLOSE_SECONDS = 2.0
LINGER_MS = 500

log = logging.getLogger("pico_jupyter")


class Connection(msgspec.Struct, frozen=True):
    """A Jupyter connection file."""

    shell_port: int
    control_port: int
    iopub_port: int
    stdin_port: int
    hb_port: int
    ip: str
    key: str
    transport: str = "tcp"
    signature_scheme: str = "hmac-sha256"

    def endpoint(self, port: int) -> str:
        return f"{self.transport}://{self.ip}{':' if self.transport == 'tcp' else '-'}{port}"


def read_connection(path: Path) -> Connection:
    """Read a connection file."""
    return msgspec.json.decode(path.read_bytes(), type=Connection)


class Kernel:
    """Serves an engine on the five sockets of a Jupyter kernel. For `window`, see LinkServer."""

    def __init__(self, connection: Connection, engine: LocalEngine, window: float) -> None:
        self._connection = connection
        self._engine = engine
        self._session = Session(
            key=connection.key.encode(), signature_scheme=connection.signature_scheme, username="pico_jupyter"
        )
        self._link = LinkServer(engine, self._publish, window=window)
        self._context = zmq.asyncio.Context()
        self._stop = asyncio.Event()
        self._answers: dict[str, Callable[[], dict[str, Any]]] = {
            "kernel_info_request": _kernel_info,
            "execute_request": _no_code,
            "is_complete_request": lambda: {"status": "unknown"},
            "complete_request": _no_matches,
            "inspect_request": lambda: {"status": "ok", "found": False, "data": {}, "metadata": {}},
            "history_request": lambda: {"status": "ok", "history": []},
            "comm_info_request": lambda: {"status": "ok", "comms": {}},
            "interrupt_request": lambda: {"status": "ok"},
            "shutdown_request": lambda: {"status": "ok", "restart": False},
        }

    def __repr__(self) -> str:
        return f"<Kernel {self._link!r} {self._engine!r}>"

    async def serve(self) -> None:
        """Serve until a shutdown request arrives or stop() is called."""
        self._iopub = self._bind(SocketType.PUB, self._connection.iopub_port)
        shell = self._bind(SocketType.ROUTER, self._connection.shell_port)
        control = self._bind(SocketType.ROUTER, self._connection.control_port)
        self._bind(SocketType.ROUTER, self._connection.stdin_port)
        heartbeat = self._bind(SocketType.ROUTER, self._connection.hb_port)
        tasks = [
            asyncio.create_task(self._listen(shell)),
            asyncio.create_task(self._listen(control)),
            asyncio.create_task(_echo(heartbeat)),
            asyncio.create_task(self._stop.wait()),
        ]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            # A listener ends only with an error. It is raised here, so that the process ends and can be replaced.
            ended.pop().result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._close()

    def stop(self) -> None:
        """Make serve() return."""
        self._stop.set()

    async def _close(self) -> None:
        await self._link.aclose()
        try:
            await asyncio.wait_for(self._engine.aclose(), CLOSE_SECONDS)
        except TimeoutError:
            log.warning("the engine is still busy; the process ends without closing it")
        self._context.destroy(linger=LINGER_MS)

    def _bind(self, kind: int, port: int) -> zmq.asyncio.Socket:
        socket = self._context.socket(kind)
        socket.linger = LINGER_MS
        if kind == SocketType.ROUTER:
            # The queue of replies is unlimited, so no reply is dropped. The queue of iopub may drop heartbeats.
            socket.set_hwm(0)
        socket.bind(self._connection.endpoint(port))
        return socket

    async def _listen(self, socket: zmq.asyncio.Socket) -> None:
        while True:
            parts = await socket.recv_multipart()
            try:
                idents, signed = self._session.feed_identities(parts)
                message = self._session.deserialize(signed)
            except (ValueError, TypeError, KeyError) as error:
                log.warning("ignoring a message that is not signed for this kernel: %s", type(error).__name__)
                continue
            if message["msg_type"] == wire.REQUEST_TYPE:
                self._receive(socket, idents, message)
            else:
                self._answer(socket, idents, message)

    def _receive(self, socket: zmq.asyncio.Socket, idents: list[bytes], message: dict[str, Any]) -> None:
        payload = message["buffers"][0] if message["buffers"] else b""
        if not wire.matches_digest(message["content"], payload):
            log.warning("ignoring a request whose payload does not match its signature")
            return

        def reply(answer: bytes) -> None:
            socket.send_multipart(wire.serialize(self._session, wire.REPLY_TYPE, answer, idents))

        self._link.receive(payload, reply)

    def _answer(self, socket: zmq.asyncio.Socket, idents: list[bytes], message: dict[str, Any]) -> None:
        """Answer a request of the Jupyter protocol, so that Jupyter's tools work with this kernel."""
        kind = str(message["msg_type"])
        if not kind.endswith("_request"):
            return
        answer = self._answers.get(kind, _unsupported)
        self._send(self._iopub, "status", {"execution_state": "busy"}, [b"status"], message)
        self._send(socket, kind.removesuffix("request") + "reply", answer(), idents, message)
        self._send(self._iopub, "status", {"execution_state": "idle"}, [b"status"], message)
        if kind == "shutdown_request":
            self.stop()

    def _publish(self, payload: bytes) -> None:
        self._iopub.send_multipart(wire.serialize(self._session, wire.PUBLISHED_TYPE, payload, [b"pico"]))

    def _send(
        self,
        socket: zmq.asyncio.Socket,
        kind: str,
        content: dict[str, Any],
        idents: list[bytes],
        parent: dict[str, Any],
    ) -> None:
        message = self._session.msg(kind, content, parent=parent)
        socket.send_multipart(self._session.serialize(message, idents))


async def _echo(heartbeat: zmq.asyncio.Socket) -> None:
    while True:
        await heartbeat.send_multipart(await heartbeat.recv_multipart())


def _kernel_info() -> dict[str, Any]:
    return {
        "status": "ok",
        "protocol_version": PROTOCOL_VERSION,
        "implementation": "pico_jupyter",
        "implementation_version": __version__,
        "language_info": {"name": "none", "version": "", "mimetype": "text/plain", "file_extension": ".txt"},
        "banner": "pico_jupyter's model kernel. It hosts models and runs no code.",
        "help_links": [],
    }


def _no_code() -> dict[str, Any]:
    return {
        "status": "error",
        "execution_count": 0,
        "ename": "NotSupported",
        "evalue": "the model kernel runs no code",
        "traceback": [],
    }


def _no_matches() -> dict[str, Any]:
    return {"status": "ok", "matches": [], "cursor_start": 0, "cursor_end": 0, "metadata": {}}


def _unsupported() -> dict[str, Any]:
    evalue = "the model kernel does not know this request"
    return {"status": "error", "ename": "NotSupported", "evalue": evalue, "traceback": []}


def _watch_parent() -> None:
    """Start a thread that ends this process when the parent process ends."""
    parent = int(os.environ.get("JPY_PARENT_PID", "0"))
    if sys.platform == "win32":
        if parent:
            ParentPollerWindows(parent_handle=parent).start()
    elif parent:
        ParentPollerUnix(parent).start()


def hide_preloaded(environ: MutableMapping[str, str]) -> None:
    """Remove the preloaded BLAS and the settings of malloc from `environ`. Child processes start without them."""
    if environ.get(TUNABLES_VARIABLE) == TUNABLES:
        del environ[TUNABLES_VARIABLE]
    library = environ.pop(wire.PRELOADED_VARIABLE, "")
    if not library:
        return
    others = environ.get("LD_PRELOAD", "").removesuffix(library).rstrip()
    if others:
        environ["LD_PRELOAD"] = others
    else:
        environ.pop("LD_PRELOAD", None)


async def _serve(connection: Connection, engine: LocalEngine, window: float, on_start: Callable[[], object]) -> None:
    kernel = Kernel(connection, engine, window)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, kernel.stop)
    asyncio.get_running_loop().call_soon(on_start)
    await kernel.serve()
    sys.stdout.flush()
    sys.stderr.flush()
    # Do not wait for threads: one may be loading a model, which cannot be interrupted.
    os._exit(0)


def run(
    connection: Connection,
    engine: LocalEngine,
    *,
    window: float = PUBLISHING_WINDOW,
    on_start: Callable[[], object] = lambda: None,
) -> None:
    """Serve `engine` on the sockets of `connection`, then end this process. `on_start` is called in the event loop."""
    _watch_parent()
    asyncio.run(_serve(connection, engine, window, on_start))


def main(argv: Sequence[str] | None = None) -> None:
    """Run `python -m pico_jupyter.model_kernel -f CONNECTION_FILE --options JSON [--prepare]`."""
    parser = argparse.ArgumentParser(prog="python -m pico_jupyter.model_kernel", description=__doc__)
    parser.add_argument("-f", dest="connection_file", type=Path, required=True, help="the Jupyter connection file")
    parser.add_argument("--options", type=wire.options_from, default=EngineOptions(), help="EngineOptions as JSON")
    parser.add_argument("--prepare", action="store_true", help="start the engine before the first request")
    arguments = parser.parse_args(argv)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO, stream=sys.stderr)
    sys.setswitchinterval(SWITCH_SECONDS)
    check_preloaded(os.environ)
    hide_preloaded(os.environ)
    engine = local_engine(arguments.options)
    on_start = engine.prepare if arguments.prepare else lambda: None
    run(read_connection(arguments.connection_file), engine, on_start=on_start)
