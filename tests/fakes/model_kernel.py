"""A model kernel whose engine obeys the prompt, for tests of ModelKernel. Imports no mlx.

Prompts:

- `count N [PAUSE [FILE]]` generates N numbers with a PAUSE in seconds after each, then creates FILE.
- `hang` waits after Accepted, and `talk` waits after a word. Both wait until the request is aborted.
- `mark FILE` waits after a word, and creates FILE when the request is aborted.
- `die` kills the process before any text. `die late` does so after some text. `die once FILE` does so only if FILE does
  not exist, and creates FILE.
- `tokens N FILE` generates N numbers, which are its tokens too, and kills the process after two of them for each line
  that it can remove from FILE. It continues after the tokens of the request.
- `freeze` stops the whole process. `freeze once FILE` does so only if FILE does not exist, and creates FILE.
- `orphan SECONDS` starts a child process that holds the kernel's output open.
- `load` reports a loaded model.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

from pico_jupyter.engine_reports import EngineStatistics, ModelLoaded
from pico_jupyter.model_kernel import wire
from pico_jupyter.model_kernel.kernel import read_connection, run
from pico_jupyter.types import Accepted, Delta, GenerationRequest, RawPrompt, TextDelta
from tests.fakes.backend import Tokens
from tests.fakes.engine_client import ACCEPTED, FINISHED, ScriptedEngine


class ObedientEngine(ScriptedEngine):
    async def play(self, request: GenerationRequest) -> AsyncGenerator[Delta | Tokens, None]:
        assert isinstance(request.prompt, RawPrompt)
        verb, _, rest = request.prompt.text.partition(" ")
        yield Accepted(ACCEPTED.model, os.getpid(), False)
        if verb == "count":
            async for delta in _count(rest):
                yield delta
        elif verb in ("talk", "mark"):
            yield TextDelta("word")
            await _wait_for_abort(Path(rest) if rest else None)
        elif verb == "hang":
            await asyncio.Event().wait()
        elif verb == "orphan":
            orphan = await asyncio.create_subprocess_exec("sleep", rest)
            yield TextDelta(str(orphan.pid))
        elif verb == "load":
            self.statistics = EngineStatistics(resident_bytes=1000)
            self.notify(ModelLoaded("tiny", 1000, 0.5))
        elif verb == "freeze":
            async for delta in _die(rest, signal.SIGSTOP):
                yield delta
        elif verb == "tokens":
            async for delta in _count_tokens(request, rest):
                yield delta
        elif verb == "die":
            async for delta in _die(rest):
                yield delta
        yield FINISHED


async def _count(rest: str) -> AsyncGenerator[Delta, None]:
    number, pause, file = [*rest.split(" ", 2), "", ""][:3]
    for i in range(int(number)):
        yield TextDelta(f"{i} ")
        if pause:
            await asyncio.sleep(float(pause))
    if file:
        _touch(Path(file))


async def _count_tokens(request: GenerationRequest, rest: str) -> AsyncGenerator[Delta | Tokens, None]:
    number, file = rest.split(" ", 1)
    known = request.sampled[0] if request.sampled else ()
    for i in range(len(known), int(number)):
        if i == len(known) + 2 and _remove_line(Path(file)):
            await asyncio.sleep(0.2)  # until the numbers before are sent
            os.kill(os.getpid(), signal.SIGKILL)
        yield Tokens((i,))
        yield TextDelta(f"{i} ")


async def _die(rest: str, how: signal.Signals = signal.SIGKILL) -> AsyncGenerator[Delta, None]:
    if rest == "late":
        yield TextDelta("last words")
        await asyncio.sleep(0.2)
    if not rest.startswith("once") or not _exists_already(Path(rest.removeprefix("once "))):
        os.kill(os.getpid(), how)
    yield TextDelta("survived")


async def _wait_for_abort(mark: Path | None) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        if mark is not None:
            _touch(mark)


def _touch(path: Path) -> None:
    path.touch()


def _remove_line(path: Path) -> bool:
    """Remove a line of the file. Returns False if it has none."""
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in lines[1:]))
    return bool(lines)


def _exists_already(path: Path) -> bool:
    """Whether the file exists. Creates it if it does not."""
    if path.exists():
        return True
    path.touch()
    return False


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("-f", dest="connection_file", type=Path)
    parser.add_argument("--options", type=wire.options_from)
    parser.add_argument("--window", type=float, default=0.025)
    parser.add_argument("--prepare", action="store_true")
    arguments = parser.parse_args()
    if arguments.prepare:
        print("prepares", flush=True)
    print("a word on stdout", flush=True)
    print("WARNING: a word of warning", file=sys.stderr, flush=True)
    run(read_connection(arguments.connection_file), ObedientEngine(), window=arguments.window)
