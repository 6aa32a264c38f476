"""Reads and writes the results as JSON. The file is complete after every case."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.cases import Case, Figures
from benchmarks.spread import Comparison

PACKAGES = ("pico-jupyter", "mlx", "mlx-lm", "mlx-vlm", "jupyter-server", "tornado")


@dataclass
class CaseResult:
    """The results of one case. Each round maps a server's name to its figures.

    `errors` are reasons of failed visits. `notes` are other observations.
    """

    rounds: list[dict[str, Figures]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def comparison(self, key: str, ours: str, theirs: str) -> Comparison:
        """The figure `key` of both servers, by round."""
        return Comparison(
            tuple(figures.get(ours, {}).get(key) for figures in self.rounds),
            tuple(figures.get(theirs, {}).get(key) for figures in self.rounds) if theirs else (),
        )


@dataclass
class Results:
    """The results of a run: its environment (`about`), and the result of each case by the case's key."""

    about: dict[str, Any]
    cases: dict[str, CaseResult] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read a file. Raises OSError, ValueError, KeyError or TypeError."""
        content = json.loads(path.read_text())
        return cls(content["about"], {key: CaseResult(**value) for key, value in content["cases"].items()})

    def write(self, path: Path) -> None:
        """Replace the file atomically."""
        content = {"about": self.about, "cases": {key: vars(value) for key, value in self.cases.items()}}
        part = path.with_name(path.name + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(content, indent=1) + "\n")
        part.replace(path)

    def add(self, case: Case, result: CaseResult) -> None:
        """Add the result of a case, or replace it."""
        self.cases[case.key] = result
        if case.id not in self.about.get("again", {}):
            self.about["finished"] = _now()

    def forget(self, cases: Sequence[Case], now: Mapping[str, Any]) -> None:
        """Remove cases, so that they are measured again, and note in `about` that they belong to a later run.

        `now` is about_this_run() of the later run.
        """
        known = [case for case in cases if self.cases.pop(case.key, None)]
        # At the same commit, a case without a result continues the interrupted run. It does not belong to a later run.
        later = known if now["commit"] == self.about["commit"] else cases
        if later:
            again = self.about.setdefault("again", {})
            note = f"commit {now['commit']}, load before {now['load before']}"
            again |= dict.fromkeys((case.id for case in later), note)
        self.about["versions"] = {**now["versions"], **self.about["versions"]}

    def result(self, case: Case) -> CaseResult | None:
        return self.cases.get(case.key)


def about_this_run(*, is_quick: bool, rounds: int) -> dict[str, Any]:
    """The machine, the versions and the settings of this run."""
    return {
        "started": _now(),
        "finished": _now(),
        "quick": is_quick,
        "rounds": rounds,
        "load before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory": psutil.virtual_memory().total,
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
        "commit": _commit(),
        "blas": {},
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _commit() -> str:
    folder = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=folder, capture_output=True, check=True)
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--", "../pico_jupyter"], cwd=folder, capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.decode().strip() + (" with changes" if changed.stdout.strip() else "")
