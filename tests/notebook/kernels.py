"""Starts ipykernels, and talks to them as front ends and programs do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

START_SECONDS = 60.0
RUN_SECONDS = 90.0

Message = dict[str, Any]


@dataclass
class RunningKernel:
    """An ipykernel of this test run."""

    manager: KernelManager
    client: BlockingKernelClient

    def run(
        self,
        code: str,
        *,
        cell: str = "",
        allow_stdin: bool = True,
        on_message: Callable[[Message], None] = lambda message: None,
    ) -> list[Message]:
        """Run `code` and return the outputs. `cell` is the cell id of a notebook front end."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "stop_on_error": True}
        request = self.client.session.msg(
            "execute_request", {**content, "allow_stdin": allow_stdin}, metadata={"cellId": cell} if cell else {}
        )
        self.client.shell_channel.send(request)
        return list(self._outputs(request["header"]["msg_id"], on_message))

    def _outputs(self, request: str, on_message: Callable[[Message], None]) -> Iterator[Message]:
        deadline = time.monotonic() + RUN_SECONDS
        while True:
            message: Message = self.client.get_iopub_msg(timeout=deadline - time.monotonic())
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return
            if message["msg_type"] not in ("status", "execute_input"):
                on_message(message)
                yield message


@contextmanager
def running_kernel(environ: Mapping[str, str] | None = None) -> Iterator[RunningKernel]:
    """Start an ipykernel with additional variables, and stop it at the end."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env={**os.environ, **(environ or {})})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=START_SECONDS)
        yield RunningKernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
