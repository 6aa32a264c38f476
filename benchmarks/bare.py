"""Measures models without a server.

Each measurement runs bare_loop.py or tower_passes.py in a separate process with the servers' BLAS.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.servers import environ_with


def bare_rate(checkpoint: Path, rows: int, prompt: int, tokens: int, blas: Mapping[str, str]) -> float:
    """Tokens per second of our backend while all rows decode."""
    return _run("bare_loop", ["rate", str(checkpoint), str(rows), str(prompt), str(tokens)], blas)


def batch_cache_bytes(checkpoint: Path, lengths: Sequence[int], tokens: int, blas: Mapping[str, str]) -> int:
    """The bytes that mlx-lm's BatchGenerator reports for its KV caches after `tokens` steps.

    There is one row for each of `lengths`, which are the lengths of the prompts in tokens.
    """
    return int(_run("bare_loop", ["cache", str(checkpoint), str(tokens), *map(str, lengths)], blas))


def tower_passes(checkpoint: Path, server: str, questions: int, blas: Mapping[str, str]) -> float:
    """The mean number of passes of a server's vision tower for each further question about the same image."""
    return _run("tower_passes", [server, str(checkpoint), str(questions)], blas)


def _run(module: str, arguments: Sequence[str], blas: Mapping[str, str]) -> float:
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    done = subprocess.run(command, env=environ_with(blas), capture_output=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} failed: {done.stderr.decode(errors='replace').strip()[-300:]}")
    return float(json.loads(done.stdout.splitlines()[-1]))
