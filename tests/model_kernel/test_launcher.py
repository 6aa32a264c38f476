"""One process of the model kernel: its environment, its start and end, and its messages."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.session import Session

from pico_jupyter.errors import EngineUnavailable
from pico_jupyter.model_kernel import wire
from pico_jupyter.model_kernel.heap_tuning import TUNABLES
from pico_jupyter.model_kernel.launcher import KernelProcess, kernel_environment, read_message
from pico_jupyter.types import EngineOptions

LOG = logging.getLogger("pico_jupyter.test_kernel_process")


def test_model_paths_are_absolute_in_the_kernels_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"A": "b", "PICO_JUPYTER_MODEL_PATH": os.pathsep.join(["models", "~/more", ""])}
    home = os.path.expanduser("~")
    assert kernel_environment(environ, libc="") == {
        "A": "b",
        "PICO_JUPYTER_MODEL_PATH": os.pathsep.join([str(tmp_path / "models"), os.path.join(home, "more")]),
    }
    assert environ["PICO_JUPYTER_MODEL_PATH"].startswith("models")


def test_an_environment_without_model_paths_is_unchanged() -> None:
    assert kernel_environment({"A": "b"}, libc="") == {"A": "b"}


def test_the_kernels_malloc_is_tuned() -> None:
    assert kernel_environment({"A": "b"}, libc="glibc 2.36") == {"A": "b", "GLIBC_TUNABLES": TUNABLES}


def test_a_blas_is_added_to_the_kernels_environment_only() -> None:
    environ = {"LD_PRELOAD": "/lib/libjemalloc.so"}
    environment = kernel_environment(environ, Path("/lib/libopenblas.so.0"))
    assert environment["LD_PRELOAD"] == "/lib/libjemalloc.so /lib/libopenblas.so.0"
    assert environ == {"LD_PRELOAD": "/lib/libjemalloc.so"}


def test_launchers_do_not_offer_the_model_kernel() -> None:
    offered = KernelSpecManager().get_all_specs().values()
    assert not any("pico_jupyter.model_kernel" in kernel["spec"]["argv"] for kernel in offered)


async def test_a_kernel_that_does_not_answer_is_ended_after_the_timeout() -> None:
    command = (sys.executable, "-c", "import time; print('busy', flush=True); time.sleep(600)")
    process = KernelProcess(command, EngineOptions(), LOG, silence_limit=20.0)
    with pytest.raises(EngineUnavailable, match=r"did not answer within 1 s\nbusy"):
        await process.start(os.environ, timeout=1.0)
    await asyncio.wait_for(process.stop(), 20)
    assert process.exit_status is not None
    assert "killed by SIG" in repr(process)


async def test_a_process_that_was_never_started_can_be_stopped() -> None:
    process = KernelProcess(("none",), EngineOptions(), LOG, silence_limit=20.0)
    await process.stop()
    assert process.pid == 0


@pytest.mark.parametrize(
    ("status", "words"), [(3, "exit status 3"), (-9, "killed by SIGKILL"), (-250, "killed by signal 250")]
)
async def test_the_exit_of_a_process_is_described_in_words(status: int, words: str) -> None:
    command = (sys.executable, "-c", "")
    process = KernelProcess(command, EngineOptions(), LOG, silence_limit=20.0)
    assert process.describe_exit() == "running"
    process.exit_status = status
    assert process.describe_exit() == words
    await process.stop()


def test_a_message_of_the_kernel_is_read() -> None:
    session = Session(key=b"key")
    parts = wire.serialize(session, "pico_published", b"payload", [b"topic"])
    assert read_message(session, parts) == ("pico_published", b"payload")
    assert read_message(session, parts[:-1]) == ("pico_published", b"")


@pytest.mark.parametrize("part", range(2, 8))
def test_a_modified_message_is_refused(part: int) -> None:
    session = Session(key=b"key")
    parts = wire.serialize(session, "pico_published", b"payload", [b"topic"])
    parts[part] += b" "
    with pytest.raises(ValueError, match=r"signature|signed"):
        read_message(session, parts)


def test_a_payload_without_a_hash_is_refused() -> None:
    session = Session(key=b"key")
    parts = [*session.serialize(session.msg("pico_published", {}), [b"topic"]), b"payload"]
    with pytest.raises(ValueError, match="does not match"):
        read_message(session, parts)


@pytest.mark.parametrize("parts", [[], [b"<IDS|MSG>"], [b"<IDS|MSG>", b"signature", b"{}"]])
def test_bytes_that_are_not_a_message_are_refused(parts: list[bytes]) -> None:
    with pytest.raises((ValueError, IndexError)):
        read_message(Session(key=b"key"), parts)
