"""Starts chat kernels, and talks to them as a front end does. Every message is validated."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from jupyter_kernel_test.msgspec_v5 import validate_message

from tests.e2e.running import RunningServer, wait_for

PATIENCE_SECONDS = 60.0
# The built-in model repeats itself on this for seconds.
LONG = "%reasoning off\n%temperature 0\nRepeat after me: " + "a b c d e f g h " * 30


@dataclass
class Ran:
    """The result of a cell: the content of the reply, and the messages on iopub."""

    reply: dict[str, Any]
    messages: list[dict[str, Any]] = field(repr=False)

    @property
    def kinds(self) -> list[str]:
        return [message["msg_type"] for message in self.messages]

    @property
    def output(self) -> dict[str, Any]:
        """The content of the last display or update."""
        shown = ("display_data", "update_display_data")
        return [message["content"] for message in self.messages if message["msg_type"] in shown][-1]

    @property
    def answer(self) -> str:
        """The text of the answer."""
        return str(self.output["metadata"]["pico_jupyter"]["answer"])

    @property
    def printed(self) -> str:
        return "".join(message["content"]["text"] for message in self.messages if message["msg_type"] == "stream")

    @property
    def error(self) -> str:
        """The message of the error, which is one line."""
        [error] = [message["content"] for message in self.messages if message["msg_type"] == "error"]
        assert error["traceback"] == [error["evalue"]]
        return str(error["evalue"])


class Talk:
    """A client of a kernel, as a notebook (cells have ids) or a terminal (they have none)."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self.client = client

    def begin(
        self, code: str, cell: str = "", *, has_user: bool = True, deleted: Sequence[str] = (), **content: Any
    ) -> str:
        """Send a cell. `has_user`: the front end has a user."""
        request = {"code": code, "silent": False, "store_history": True, "stop_on_error": True, "user_expressions": {}}
        metadata = {"cellId": cell, "deletedCells": list(deleted)} if cell else {}
        message = self.client.session.msg(
            "execute_request", {**request, "allow_stdin": has_user, **content}, metadata=metadata
        )
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def end(self, request: str) -> Ran:
        """Wait until the cell has ended."""
        messages: list[dict[str, Any]] = []
        while not _is_idle(message := self.next_message(request)):
            messages.append(message)
        reply = self.client.get_shell_msg(timeout=PATIENCE_SECONDS)
        while reply["parent_header"]["msg_id"] != request:
            reply = self.client.get_shell_msg(timeout=PATIENCE_SECONDS)
        # The validator does not accept the status "aborted".
        if reply["content"]["status"] != "aborted":
            validate_message(reply, "execute_reply", request)
        return Ran(
            reply["content"],
            [message for message in messages if message["msg_type"] not in ("status", "execute_input")],
        )

    def run(self, code: str, cell: str = "", **options: Any) -> Ran:
        return self.end(self.begin(code, cell, **options))

    def next_message(self, request: str) -> dict[str, Any]:
        """Return the next message of this request."""
        while True:
            message: dict[str, Any] = self.client.get_iopub_msg(timeout=PATIENCE_SECONDS)
            if message["parent_header"].get("msg_id") == request:
                validate_message(message, message["msg_type"], request)
                return message

    def wait_for_text(self, request: str) -> None:
        """Wait until the cell displays a part of its answer."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            content = self.next_message(request)["content"]
            if content.get("metadata", {}).get("pico_jupyter", {}).get("answer") or content.get("text"):
                return
        raise AssertionError("nothing came")

    def ask(self, kind: str, **content: Any) -> dict[str, Any]:
        """Send another request on the shell channel and return the reply's content."""
        message = self.client.session.msg(f"{kind}_request", content)
        self.client.shell_channel.send(message)
        reply = self.client.get_shell_msg(timeout=PATIENCE_SECONDS)
        validate_message(reply, f"{kind}_reply", message["header"]["msg_id"])
        return dict(reply["content"])


def _is_idle(message: dict[str, Any]) -> bool:
    return message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"


@contextlib.contextmanager
def kernel_alone(folder: Path, **environ: str) -> Iterator[tuple[KernelManager, Talk]]:
    """Start a kernel without a server, as nbconvert and terminals do."""
    manager = KernelManager(kernel_name="pico")
    manager.start_kernel(cwd=str(folder), env={**os.environ, **environ})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE_SECONDS)
        yield manager, Talk(client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


class SessionKernel(Talk):
    """The kernel of a notebook that is open on the server."""

    def __init__(self, client: BlockingKernelClient, http: httpx.Client, kernel: str) -> None:
        super().__init__(client)
        self._http = http
        self._kernel = kernel

    def interrupt(self) -> None:
        self._http.post(f"api/kernels/{self._kernel}/interrupt").raise_for_status()

    def restart(self) -> None:
        self._http.post(f"api/kernels/{self._kernel}/restart").raise_for_status()
        self.client.wait_for_ready(timeout=PATIENCE_SECONDS)


@contextlib.contextmanager
def kernel_of(server: RunningServer, notebook: str) -> Iterator[SessionKernel]:
    """Open a session for this notebook on the server."""
    with server.http() as http:
        wanted = {"path": notebook, "name": Path(notebook).name, "type": "notebook", "kernel": {"name": "pico"}}
        session = http.post("api/sessions", json=wanted)
        session.raise_for_status()
        kernel = session.json()["kernel"]["id"]
        connection = Path(server.environ["JUPYTER_RUNTIME_DIR"]) / f"kernel-{kernel}.json"
        wait_for(connection.exists, PATIENCE_SECONDS)
        client = BlockingKernelClient(connection_file=str(connection))
        client.load_connection_file()
        # The server checks the heartbeat. On a busy machine the client's own check often fails.
        client.start_channels(hb=False)
        try:
            client.wait_for_ready(timeout=PATIENCE_SECONDS)
            yield SessionKernel(client, http, kernel)
        finally:
            client.stop_channels()
            http.delete(f"api/sessions/{session.json()['id']}")
