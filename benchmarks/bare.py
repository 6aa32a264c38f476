"""What is measured without a server, in a process of its own with the servers' BLAS. bare_loop.py does the work."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.servers import environ_with


def bare_rate(checkpoint: Path, rows: int, prompt: int, tokens: int, blas: Mapping[str, str]) -> float:
    """Tokens per second of our own backend, all rows decoding and nothing else running."""
    return _run(["rate", str(checkpoint), str(rows), str(prompt), str(tokens)], blas)


def batch_cache_bytes(checkpoint: Path, lengths: Sequence[int], tokens: int, blas: Mapping[str, str]) -> int:
    """Bytes of the caches of mlx-lm's BatchGenerator, by its own count, once each row has so many tokens."""
    return int(_run(["cache", str(checkpoint), str(tokens), *map(str, lengths)], blas))


def _run(arguments: Sequence[str], blas: Mapping[str, str]) -> float:
    command = [sys.executable, "-m", "benchmarks.bare_loop", *arguments]
    done = subprocess.run(command, env=environ_with(blas), capture_output=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(f"the bare loop failed: {done.stderr.decode(errors='replace').strip()[-300:]}")
    return float(json.loads(done.stdout.splitlines()[-1]))
