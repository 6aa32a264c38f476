"""The tables of results."""

import dataclasses

from benchmarks.cases import Case, Figure, Figures, Visit
from benchmarks.report import remarks_of, results_page, terminal_table
from benchmarks.results import CaseResult, Results
from benchmarks.spread import Bar

ABOUT = {
    "started": "2026-01-01T10:00:00+00:00",
    "finished": "2026-01-01T10:20:00+00:00",
    "quick": False,
    "rounds": 2,
    "load before": 0.1,
    "system": "Linux x86_64",
    "processor": "a processor",
    "cores": 2,
    "memory": 24_000_000_000,
    "python": "3.11.0",
    "versions": {"mlx": "0.32.4"},
    "commit": "abc1234",
    "blas": {"pico_jupyter": {"variables": {"OPENBLAS_NUM_THREADS": "1"}, "libraries": ["libopenblas.so"]}},
}


async def measure(visit: Visit) -> Figures:
    """Asks twice."""
    return {}


CASE = Case(
    "B2",
    "a short request",
    measure,
    (
        Figure("mean", "mean TTFT", "s", Bar("under 0.05 s", "ours", at_most=0.05)),
        Figure("max", "max TTFT", "s"),
        Figure("works", "it works", "pass", Bar("pass", "ours", at_least=1)),
    ),
)
EARLIER = Case("B1", "nothing else to do", measure, (Figure("ttft", "TTFT", "ms"),))


def results(ours: float = 0.04) -> Results:
    rounds = [
        {
            "pico_jupyter": {"mean": ours, "max": 0.1, "works": 1.0},
            "mlx_lm.server": {"mean": 0.2, "max": 0.4, "works": 0.0},
        },
        {
            "pico_jupyter": {"mean": ours, "max": 0.3, "works": 1.0},
            "mlx_lm.server": {"mean": 0.2, "max": 0.4, "works": 1.0},
        },
    ]
    return Results(ABOUT, {CASE.key: CaseResult(rounds, notes=["mlx_lm.server: it died"])})


def line_with(text: str, page: str) -> list[str]:
    line = next(line for line in page.splitlines() if text in line)
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_has_both_figures_their_ratio_the_bar_and_whether_it_holds() -> None:
    assert line_with("mean TTFT", results_page([CASE], results(), "")) == [
        *("B2", "a short request", "mean TTFT"),
        *("0.040 s", "0.200 s", "0.20", "under 0.05 s", "yes"),
    ]


def test_a_failing_bar_is_marked_no() -> None:
    assert line_with("mean TTFT", results_page([CASE], results(0.06), ""))[-1] == "**no**"


def test_values_that_differ_show_their_range() -> None:
    assert "0.200 (0.100–0.300) s" in line_with("max TTFT", results_page([CASE], results(), ""))


def test_a_check_that_failed_once_passed_sometimes() -> None:
    assert line_with("it works", results_page([CASE], results(), ""))[3:5] == ["pass", "sometimes"]


def test_the_page_counts_the_bars_that_hold() -> None:
    assert "**2 of 2 bars hold.**" in results_page([CASE], results(), "")
    assert "**1 of 2 bars hold.**" in results_page([CASE], results(0.06), "")


def test_rows_are_in_the_order_of_their_ids() -> None:
    both = results()
    both.cases[EARLIER.key] = CaseResult([{"pico_jupyter": {"ttft": 0.02}, "mlx_lm.server": {"ttft": 0.01}}])
    page = results_page([CASE, EARLIER], both, "")
    assert page.index("| B1 |") < page.index("| B2 |")


def test_a_case_that_was_not_measured_has_no_row() -> None:
    assert "nothing else to do" not in results_page([CASE, EARLIER], results(), "")


def test_missing_figures_of_a_side_have_failed() -> None:
    empty = Results(ABOUT, {CASE.key: CaseResult([{}], errors=["round 1, pico_jupyter: Broken: no end"])})
    page = results_page([CASE], empty, "")
    assert line_with("mean TTFT", page)[3:] == ["failed", "failed", "—", "under 0.05 s", "**no**"]
    assert "Broken: no end" in page


def test_remarks_are_found_by_their_ids() -> None:
    remarks = "## B2\n\nToo many pages.\n\n## B11\n\nNo server can.\n"
    assert remarks_of(remarks) == {"B2": "Too many pages.", "B11": "No server can."}
    assert "**B2.** Too many pages." in results_page([CASE], results(0.06), remarks)


def test_a_failing_bar_without_a_remark_is_reported_as_unexplained() -> None:
    assert "**B2.** A bar fails. The reason is not known yet." in results_page([CASE], results(0.06), "")


def test_other_observations_are_reported() -> None:
    assert "mlx_lm.server: it died" in results_page([CASE], results(), "")
    assert "mlx_lm.server: it died" in terminal_table([CASE], results())


def test_the_page_has_the_method_and_the_blas() -> None:
    page = results_page([CASE], results(), "")
    assert "- **B2** Asks twice." in page
    assert "- BLAS of pico_jupyter: `OPENBLAS_NUM_THREADS=1`" in page


def test_a_case_with_another_rival_names_it() -> None:
    case = dataclasses.replace(EARLIER, rival="mlx_vlm.server")
    both = Results(ABOUT, {case.key: CaseResult([{"pico_jupyter": {"ttft": 0.02}, "mlx_vlm.server": {"ttft": 0.01}}])})
    row = line_with("nothing else to do", results_page([case], both, ""))
    assert row[1:6] == ["nothing else to do (compared with mlx_vlm.server)", "TTFT", "20.0 ms", "10.0 ms", "2.00"]
    assert "nothing else to do   (compared with mlx_vlm.server)" in terminal_table([case], both)


def test_calls_are_counted_in_whole_numbers() -> None:
    case = dataclasses.replace(EARLIER, figures=(Figure("passes", "calls", "calls"),))
    both = Results(ABOUT, {case.key: CaseResult([{"pico_jupyter": {"passes": 0.0}, "mlx_lm.server": {"passes": 1.0}}])})
    assert line_with("| calls |", results_page([case], both, ""))[3:5] == ["0", "1"]


def test_cases_that_were_measured_later_are_listed() -> None:
    again = results()
    again.about = {**ABOUT, "again": {"B2": "commit def5678, load before 0.3"}}
    assert "- Measured later: B2 (commit def5678, load before 0.3)" in results_page([CASE], again, "")


def test_the_terminal_table_marks_bars_as_ok_or_failed() -> None:
    assert "  ok   mean TTFT" in terminal_table([CASE], results())
    assert "  FAIL mean TTFT" in terminal_table([CASE], results(0.06))
