"""Compares pico_jupyter with mlx_lm.server (mlx_vlm.server for images) on one machine, with the same models and BLAS.

This command starts two real servers. The first run builds the models. Each case measures the servers in turn
(A B A B ...). The server that is not measured is idle. The result of a case is written to the JSON file at once, so
--resume can continue an interrupted run. Run no other programs at the same time.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cases import Case
from benchmarks.checkpoints import default_folder, ensure
from benchmarks.measures import CASES
from benchmarks.report import results_page, terminal_table
from benchmarks.results import Results, about_this_run
from benchmarks.runner import Runner

HERE = Path(__file__).parent
RESULTS_PAGE, RESULTS_JSON, REMARKS = HERE / "RESULTS.md", HERE / "results.json", HERE / "remarks.md"
EXAMPLES = """\
examples:
  python -m benchmarks                     all cases, about 20 minutes
  python -m benchmarks --quick             some cases, under 5 minutes
  python -m benchmarks --only B3,B6        cases B3 and B6
  python -m benchmarks --write             all cases; writes benchmarks/RESULTS.md
  python -m benchmarks --report --write    measures nothing; writes RESULTS.md from the committed results and remarks.md
"""


def main() -> None:
    """Parse the command line, run the cases and report the results."""
    options = _parser().parse_args()
    cases = _chosen(options.only, is_quick=options.quick)
    if options.list:
        print("\n".join(case.key for case in cases))
        return
    path = options.json or (RESULTS_JSON if options.report else options.folder / "results.json")
    results = _read(path) if options.report else _run(options, cases, path)
    print(terminal_table(CASES, results))
    if options.write:
        if path != RESULTS_JSON:
            results.write(RESULTS_JSON)
        RESULTS_PAGE.write_text(results_page(CASES, results, REMARKS.read_text()))
        print(f"\nwrote {RESULTS_PAGE}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer cases, fewer repetitions, one round")
    parser.add_argument("--only", default="", metavar="IDS", help="ids of cases, such as B3,B6")
    parser.add_argument("--rounds", type=int, default=0, help="visits to each server per case (default: 3, quick: 1)")
    parser.add_argument("--list", action="store_true", help="list the cases")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="keep the results in the JSON file; measure missing cases, or --only again",
    )
    parser.add_argument("--report", action="store_true", help="measure nothing; report the results in the JSON file")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS_PAGE.name} and {RESULTS_JSON.name}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file of the results (default: in the folder)")
    parser.add_argument(
        "--folder", type=Path, default=default_folder(), help="folder for the models (default: %(default)s)"
    )
    return parser


def _chosen(only: str, *, is_quick: bool) -> list[Case]:
    wanted = {name.strip().upper() for name in only.split(",") if name.strip()}
    if unknown := wanted - {case.id for case in CASES}:
        sys.exit(f"no such benchmark: {', '.join(sorted(unknown))}; see --list")
    return [case for case in CASES if (not wanted or case.id in wanted) and (case.is_quick or not is_quick)]


def _read(path: Path) -> Results:
    try:
        return Results.read(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"no results in {path}: {error}")


def _run(options: argparse.Namespace, cases: Sequence[Case], path: Path) -> Results:
    # SIGTERM raises KeyboardInterrupt, so that the servers are stopped too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ensure(options.folder)
    rounds = options.rounds or (1 if options.quick else 3)
    results = Results(about_this_run(is_quick=options.quick, rounds=rounds))
    if options.resume and path.exists():
        earlier = _read(path)
        earlier.forget(cases if options.only else [], results.about)
        results = earlier
    start = time.perf_counter()

    def log(text: str) -> None:
        print(f"{time.perf_counter() - start:6.0f} s  {text}", flush=True)

    runner = Runner(options.folder, results, path, is_quick=options.quick, rounds=rounds, log=log)
    try:
        runner.run(cases)
    except KeyboardInterrupt:
        sys.exit(f"\ninterrupted; the results so far are in {path}; --resume continues")
    log(f"done, results in {path}")
    return results


if __name__ == "__main__":
    main()
