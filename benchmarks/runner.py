"""Runs cases: starts both servers, measures them in turn, and records their failures."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import psutil

from benchmarks.cases import Case, Figures, Setup, Visit
from benchmarks.clients import Broken, Refused
from benchmarks.results import CaseResult, Results
from benchmarks.servers import (
    BARE,
    PICO,
    RIVALS,
    JupyterServer,
    NotStarted,
    Server,
    blas_libraries,
    blas_of,
    environ_with,
    running,
    settle,
    without_folders,
)

VISIT_SECONDS = 240.0
# Errors of a failing server. Each ends only one visit. asyncio.TimeoutError is an OSError since Python 3.11.
_SURVIVABLE = (
    *(Broken, Refused, NotStarted, OSError, ValueError, KeyError, RuntimeError),
    *(asyncio.TimeoutError, psutil.Error, subprocess.SubprocessError),
)


@dataclass
class Pair:
    """The running servers of a setup. `theirs` is None if only pico_jupyter is measured."""

    ours: Server
    theirs: Server | None
    blas: dict[str, str] = field(default_factory=dict)

    @property
    def servers(self) -> list[Server]:
        return [self.ours, *([self.theirs] if self.theirs else [])]


class _Bare:
    """Stands for the bare loop where a server is expected."""

    name = BARE


class Runner:
    """Measures cases and writes the results after each case. `log` prints progress."""

    def __init__(
        self, folder: Path, results: Results, path: Path, *, is_quick: bool, rounds: int, log: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._results = results
        self._path = path
        self._is_quick = is_quick
        self._rounds = rounds
        self._log = log

    def run(self, cases: Sequence[Case]) -> None:
        """Measure all cases that have no results yet."""
        missing = [case for case in cases if not self._has_rounds(case)]
        done = len(cases) - len(missing)
        for case in missing:
            self._results.cases.pop(case.key, None)
        for setup, group in groupby(missing, key=lambda case: case.setup):
            together = list(group)
            try:
                with self._pair(setup, rival=_rival(together)) as pair:
                    for case in together:
                        done += 1
                        self._log(f"[{done}/{len(cases)}] {case.key}")
                        self._results.add(case, self._measure(case, pair))
                        self._results.write(self._path)
            except _SURVIVABLE as error:
                self._log(f"the servers cannot be started: {error}")
                for case in together:
                    self._results.cases.setdefault(
                        case.key, CaseResult(errors=[self._without_folder(f"not started: {error}")])
                    )
                self._results.write(self._path)

    def _has_rounds(self, case: Case) -> bool:
        result = self._results.result(case)
        return result is not None and bool(result.rounds)

    @contextlib.contextmanager
    def _pair(self, setup: Setup, *, rival: str) -> Iterator[Pair]:
        environ = {"PICO_JUPYTER_MODEL_PATH": str(self._folder)}
        ours = JupyterServer(environ=environ, traits=setup.traits)
        with contextlib.ExitStack() as stack:
            self._log(f"starting {PICO}")
            stack.enter_context(running(ours))
            pair = Pair(ours, None)
            asyncio.run(self._visit(pair, setup.checkpoint, ours, "start").warm_up())
            pair.blas = blas_of(ours.engine)
            if rival:
                self._log(f"starting {rival}")
                theirs = RIVALS[rival](self._folder, setup.checkpoint, environ_with(pair.blas), setup.flags)
                stack.enter_context(running(theirs))
                pair.theirs = theirs
                asyncio.run(self._visit(pair, setup.checkpoint, theirs, "start").warm_up())
            for server in pair.servers:
                variables = without_folders(blas_of(server.engine))
                blas = {"variables": variables, "libraries": blas_libraries(server.engine)}
                self._results.about["blas"][server.name] = blas
            yield pair

    def _measure(self, case: Case, pair: Pair) -> CaseResult:
        result = CaseResult()
        start = time.perf_counter()
        for number in range(max(1, self._rounds - case.is_long)):
            round_: dict[str, Figures] = {}
            for side in self._sides(case, pair):
                visit = self._visit(pair, case.checkpoint, side, f"{case.key}/{number}/{side.name}")
                try:
                    round_[side.name] = self._figures(case, pair, side, visit)
                    self._log(f"    {side.name}: {_brief(round_[side.name])}")
                except _SURVIVABLE as error:
                    text = self._without_folder(f"round {number + 1}, {side.name}: {type(error).__name__}: {error}")
                    result.errors.append(text)
                    self._log(f"    {text}")
                notes = [self._without_folder(f"{side.name}: {note}") for note in visit.notes]
                result.notes += [note for note in notes if note not in result.notes]
            result.rounds.append(round_)
        result.seconds = round(time.perf_counter() - start, 1)
        return result

    def _sides(self, case: Case, pair: Pair) -> list[Any]:
        """What a round of the case measures: servers, or pico_jupyter and the bare loop."""
        if case.rival == BARE:
            return [pair.ours, _Bare()]
        return pair.servers if case.rival else [pair.ours]

    def _figures(self, case: Case, pair: Pair, side: Any, visit: Visit) -> Figures:

        async def measure() -> Figures:
            if side.name != BARE:
                await visit.warm_up()
            return await case.measure(visit)

        if side.name != BARE and not side.is_alive:
            side.stop()
            side.start()
        settle(pair.servers)
        return asyncio.run(asyncio.wait_for(measure(), VISIT_SECONDS))

    def _without_folder(self, text: str) -> str:
        """Put an error message on one line, and hide the path of the folder."""
        return " ".join(text.replace(str(self._folder.resolve()), "...").split())[:400]

    def _visit(self, pair: Pair, checkpoint: str, side: Any, seed: str) -> Visit:
        return Visit(side, checkpoint, self._folder, seed, self._is_quick, pair.blas)


def _rival(cases: Sequence[Case]) -> str:
    """The name of the other server that these cases need, or "". The cases share a setup."""
    return next((case.rival for case in cases if case.rival in RIVALS), "")


def _brief(figures: Figures) -> str:
    return ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
