"""Runs many downloads with one injected fault each, and prints a table: `python -m tests.downloads.campaign`.

The bars: 0 wrong models listed, 0 lost bytes, 0 hangs, 0 problems.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.downloads.cases import KINDS, Case, Outcome


async def run_share(runs: int, seed: int, share: int, shares: int) -> list[Outcome]:
    """Run every `shares`-th case, beginning with number `share`."""
    with tempfile.TemporaryDirectory() as folder:
        return [
            await Case(KINDS[number % len(KINDS)], seed + number, Path(folder)).run()
            for number in range(share, runs, shares)
        ]


def print_table(outcomes: list[Outcome]) -> int:
    """Print one line for each kind of fault. Returns 1 if a bar is missed, else 0."""
    by_kind: dict[str, list[Outcome]] = collections.defaultdict(list)
    for outcome in outcomes:
        by_kind[outcome.kind].append(outcome)
    headings = ("fault", "runs", "wrong models", "lost bytes", "hangs", "problems", "resent", "seconds")
    print("| " + " | ".join(headings) + " |\n|" + "---|" * len(headings))
    for kind, group in [*by_kind.items(), ("all", outcomes)]:
        sums = [sum(getattr(one, name) for one in group) for name in ("wrong_models", "lost_bytes", "hangs")]
        problems = [problem for one in group for problem in one.problems]
        mean = sum(one.seconds for one in group) / len(group)
        cells = [kind, len(group), *sums, len(problems), sum(one.resent for one in group), f"{mean:.1f}"]
        print("| " + " | ".join(map(str, cells)) + " |")
        for problem in problems if kind != "all" else ():
            print(f"  {kind}: {problem}")
    missed = any(one.wrong_models or one.lost_bytes or one.hangs or one.problems for one in outcomes)
    return 1 if missed else 0


def main() -> int:
    """Run the campaign in several processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=15)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--share", type=int, default=-1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.share >= 0:
        outcomes = asyncio.run(run_share(options.runs, options.seed, options.share, options.processes))
        print(msgspec.json.encode(outcomes).decode())
        return 0
    command = [sys.executable, "-m", "tests.downloads.campaign", *sys.argv[1:], "--processes", str(options.processes)]
    children = [
        subprocess.Popen([*command, "--share", str(share)], stdout=subprocess.PIPE)
        for share in range(options.processes)
    ]
    texts = [child.communicate()[0] for child in children]
    return print_table([one for text in texts for one in msgspec.json.decode(text, type=list[Outcome])])


if __name__ == "__main__":
    sys.exit(main())
