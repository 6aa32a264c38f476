"""The model kernel as a process: a real Jupyter kernel that answers Jupyter's messages and runs no code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import write_connection_file

from pico_jupyter.model_kernel import wire
from pico_jupyter.model_kernel.heap_tuning import TUNABLES
from pico_jupyter.model_kernel.kernel import hide_preloaded
from pico_jupyter.questions import ListModels
from pico_jupyter.types import (
    ChatPrompt,
    Delta,
    EngineOptions,
    Finished,
    GenerationRequest,
    Message,
    TextDelta,
    TextPart,
)

PATIENCE = 60.0
OPENBLAS = "/lib/libopenblas.so.0"
COMMAND = (sys.executable, "-m", "pico_jupyter.model_kernel")
REQUEST = GenerationRequest(
    id="r", model="pico-tiny", prompt=ChatPrompt((Message("user", (TextPart("What is 12 + 35?"),)),)), reasoning=True
)


@dataclass
class RunningKernel:
    """A kernel process and a Jupyter client of it."""

    process: subprocess.Popen[bytes]
    client: BlockingKernelClient

    def ask(self, kind: str, content: dict[str, Any] | None = None, channel: str = "shell") -> dict[str, Any]:
        """Send one of Jupyter's requests and wait for its reply."""
        message = self.client.session.msg(kind, content or {})
        self.channel(channel).send(message)
        return self._reply_to(message["header"]["msg_id"], channel)

    def ask_engine(self, request: wire.LinkRequest) -> wire.KernelMessage:
        """Send one of our requests and wait for the next reply."""
        parts = wire.serialize(self.client.session, wire.REQUEST_TYPE, wire.encode(request))
        self.channel(request.channel).socket.send_multipart(parts)
        return self.next_reply(request.channel)

    def next_reply(self, channel: str = "shell") -> wire.KernelMessage:
        """Wait for the next of our replies."""
        deadline = time.monotonic() + PATIENCE
        while True:
            reply = self.channel(channel).get_msg(timeout=max(0.0, deadline - time.monotonic()))
            if reply["msg_type"] == wire.REPLY_TYPE:
                assert wire.matches_digest(reply["content"], reply["buffers"][0])
                return wire.decode_message(reply["buffers"][0])

    def channel(self, name: str) -> Any:
        return getattr(self.client, f"{name}_channel")

    def _reply_to(self, msg_id: str, channel: str) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while True:
            message: dict[str, Any] = self.channel(channel).get_msg(timeout=max(0.0, deadline - time.monotonic()))
            if message["parent_header"].get("msg_id") == msg_id:
                return message


@contextmanager
def running_kernel(folder: Path) -> Iterator[RunningKernel]:
    """The real kernel, over TCP."""
    file = str(folder / "kernel.json")
    write_connection_file(file, ip="127.0.0.1", key=b"a key of this test")
    process = subprocess.Popen([*COMMAND, "-f", file], cwd=folder, start_new_session=True)
    client = BlockingKernelClient(connection_file=file)
    client.load_connection_file()
    client.start_channels(hb=False)
    try:
        yield RunningKernel(process, client)
    finally:
        client.stop_channels()
        client.context.destroy(linger=0)
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningKernel]:
    """A kernel that tests share."""
    with running_kernel(tmp_path_factory.mktemp("kernel")) as running:
        yield running


@pytest.fixture
def own_kernel(tmp_path: Path) -> Iterator[RunningKernel]:
    """A kernel of one test, which may end it or load a model."""
    with running_kernel(tmp_path) as running:
        yield running


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s"
        time.sleep(0.02)


def libraries(process: subprocess.Popen[bytes]) -> str:
    return " ".join(str(library.path) for library in psutil.Process(process.pid).memory_maps())


def test_kernel_info_describes_the_kernel(kernel: RunningKernel) -> None:
    content = kernel.ask("kernel_info_request")["content"]
    assert content["status"] == "ok"
    assert content["implementation"] == "pico_jupyter"
    assert content["protocol_version"] == "5.3"
    assert content["language_info"]["name"] == "none"


def test_the_kernel_runs_no_code(kernel: RunningKernel) -> None:
    content = kernel.ask("execute_request", {"code": "1 + 1", "silent": False})["content"]
    assert content["status"] == "error"
    assert content["evalue"] == "the model kernel runs no code"


@pytest.mark.parametrize(
    "kind", ["complete_request", "inspect_request", "history_request", "comm_info_request", "interrupt_request"]
)
def test_jupyters_other_requests_are_answered_ok(kernel: RunningKernel, kind: str) -> None:
    reply = kernel.ask(kind)
    assert reply["header"]["msg_type"] == kind.replace("request", "reply")
    assert reply["content"]["status"] == "ok"


def test_an_unknown_request_is_answered_with_an_error(kernel: RunningKernel) -> None:
    assert kernel.ask("debug_request", channel="control")["content"]["status"] == "error"


def test_the_heartbeat_socket_echoes(kernel: RunningKernel) -> None:
    kernel.ask("kernel_info_request")
    with zmq.Context() as context, context.socket(zmq.REQ) as heart:
        heart.linger = 0
        heart.connect(f"tcp://127.0.0.1:{kernel.client.hb_port}")
        heart.send(b"beat")
        assert heart.poll(PATIENCE * 1000)
        assert heart.recv() == b"beat"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_models_are_listed_without_loading_mlx(kernel: RunningKernel) -> None:
    answer = kernel.ask_engine(wire.Ask(1, ListModels()))
    assert isinstance(answer, wire.Answered)
    assert "pico-tiny" in [info.name for info in wire.answer_to(ListModels(), answer.answer)]
    assert "libmlx" not in libraries(kernel.process)


def test_the_built_in_model_answers(own_kernel: RunningKernel) -> None:
    message = own_kernel.ask_engine(wire.Generate(1, REQUEST))
    deltas: list[Delta] = []
    while not deltas or not isinstance(deltas[-1], Finished):
        assert isinstance(message, wire.DeltaBatches)
        [batch] = message.batches
        assert batch.first == len(deltas) + 1
        deltas += batch.deltas
        if not isinstance(deltas[-1], Finished):
            message = own_kernel.next_reply()
    assert "47" in "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


def test_a_message_that_is_not_signed_is_ignored(kernel: RunningKernel) -> None:
    kernel.ask("kernel_info_request")
    parts = kernel.client.session.serialize(kernel.client.session.msg("shutdown_request", {}))
    parts[1] = b"0" * 64
    kernel.client.control_channel.socket.send_multipart(parts)
    assert kernel.ask("kernel_info_request", channel="control")["content"]["status"] == "ok"


def test_a_payload_that_differs_from_the_signed_one_is_ignored(kernel: RunningKernel) -> None:
    parts = wire.serialize(kernel.client.session, wire.REQUEST_TYPE, wire.encode(wire.Ask(1, ListModels())))
    parts[-1] = wire.encode(wire.Ask(2, ListModels()))
    kernel.client.shell_channel.socket.send_multipart(parts)
    answer = kernel.ask_engine(wire.Ask(3, ListModels()))
    assert isinstance(answer, wire.Answered)
    assert answer.id == 3


def test_a_shutdown_request_ends_the_process(own_kernel: RunningKernel) -> None:
    assert own_kernel.ask("shutdown_request", {"restart": False}, "control")["content"]["status"] == "ok"
    assert own_kernel.process.wait(PATIENCE) == 0


def test_a_termination_signal_ends_the_process_in_order(own_kernel: RunningKernel) -> None:
    own_kernel.ask("kernel_info_request")
    own_kernel.process.send_signal(signal.SIGTERM)
    assert own_kernel.process.wait(PATIENCE) == 0


def test_ctrl_c_does_not_end_the_process(kernel: RunningKernel) -> None:
    kernel.ask("kernel_info_request")
    kernel.process.send_signal(signal.SIGINT)
    assert kernel.ask("kernel_info_request")["content"]["status"] == "ok"


def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    file = str(tmp_path / "kernel.json")
    write_connection_file(file, ip="127.0.0.1", key=b"a key of this test")
    script = (
        "import os, subprocess, sys, time\n"
        "environ = {**os.environ, 'JPY_PARENT_PID': str(os.getpid())}\n"
        "print(subprocess.Popen(sys.argv[1:], env=environ, stdout=subprocess.DEVNULL).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, *COMMAND, "-f", file], stdout=subprocess.PIPE)
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        client = BlockingKernelClient(connection_file=file)
        client.load_connection_file()
        client.start_channels(hb=False)
        client.wait_for_ready(timeout=PATIENCE)
        client.stop_channels()
        client.context.destroy(linger=0)
        parent.kill()
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_a_command_line_without_a_connection_file_is_refused() -> None:
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 2
    assert "-f" in done.stderr


def test_options_reach_the_process(tmp_path: Path) -> None:
    """The process logs a model folder that does not exist."""
    file = str(tmp_path / "kernel.json")
    write_connection_file(file, ip="127.0.0.1", key=b"a key of this test")
    options = wire.options_text(EngineOptions(model_dirs=(str(tmp_path / "nowhere"),)))
    process = subprocess.Popen(
        [*COMMAND, "-f", file, "--options", options], stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    with process:
        client = BlockingKernelClient(connection_file=file)
        client.load_connection_file()
        client.start_channels(hb=False)
        running = RunningKernel(process, client)  # type: ignore[arg-type]  # text mode is for stderr
        running.ask_engine(wire.Ask(1, ListModels()))
        running.ask("shutdown_request", {}, "control")
        client.stop_channels()
        client.context.destroy(linger=0)
        assert process.stderr is not None
        assert f"WARNING: skipping {tmp_path / 'nowhere'}: the model folder does not exist" in process.stderr.read()


@pytest.mark.parametrize(
    ("preloaded", "left"),
    [
        (OPENBLAS, {"A": "b"}),
        (f"/lib/libjemalloc.so {OPENBLAS}", {"A": "b", "LD_PRELOAD": "/lib/libjemalloc.so"}),
    ],
)
def test_children_of_the_kernel_do_not_inherit_the_preloaded_library(preloaded: str, left: dict[str, str]) -> None:
    environ = {"A": "b", "LD_PRELOAD": preloaded, wire.PRELOADED_VARIABLE: OPENBLAS}
    hide_preloaded(environ)
    assert environ == left


def test_children_of_the_kernel_do_not_inherit_the_settings_of_malloc() -> None:
    environ = {"A": "b", "GLIBC_TUNABLES": TUNABLES}
    hide_preloaded(environ)
    assert environ == {"A": "b"}
    of_user = {"GLIBC_TUNABLES": "glibc.malloc.check=1"}
    hide_preloaded(of_user)
    assert of_user == {"GLIBC_TUNABLES": "glibc.malloc.check=1"}


def test_libraries_that_the_user_preloads_stay() -> None:
    environ = {"LD_PRELOAD": OPENBLAS}
    hide_preloaded(environ)
    assert environ == {"LD_PRELOAD": OPENBLAS}
