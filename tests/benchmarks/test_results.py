"""Results that are measured in several runs."""

from typing import Any

from benchmarks.cases import Case, Figure, Figures, Visit
from benchmarks.results import CaseResult, Results


async def measure(visit: Visit) -> Figures:
    return {}


def case(id_: str) -> Case:
    return Case(id_, "a case", measure, (Figure("ttft", "TTFT", "s"),))


def about(commit: str, load: float, **versions: str) -> dict[str, Any]:
    return {"commit": commit, "load before": load, "versions": versions}


def results(commit: str = "abc1234") -> Results:
    return Results(about(commit, 0.1, mlx="1"), {case("B2").key: CaseResult([{"pico_jupyter": {"ttft": 1.0}}])})


def test_a_case_that_is_measured_again_says_when() -> None:
    ours = results()
    ours.forget([case("B2")], about("def5678", 2.5))
    assert ours.result(case("B2")) is None
    assert ours.about["again"] == {"B2": "commit def5678, load before 2.5"}


def test_a_case_that_is_new_to_the_results_says_so_too() -> None:
    ours = results()
    ours.forget([case("B13")], about("def5678", 2.5))
    assert ours.result(case("B2")) is not None
    assert ours.about["again"] == {"B13": "commit def5678, load before 2.5"}


def test_what_is_measured_later_does_not_make_the_run_longer() -> None:
    ours = results()
    ours.about["finished"] = "in the evening"
    ours.forget([case("B13")], about("def5678", 2.5))
    ours.add(case("B13"), CaseResult())
    assert ours.about["finished"] == "in the evening"
    ours.add(case("B3"), CaseResult())
    assert ours.about["finished"] != "in the evening"


def test_going_on_with_a_run_that_was_broken_off_is_the_same_run() -> None:
    ours = results()
    ours.forget([case("B3")], about("abc1234", 2.5))
    assert "again" not in ours.about


def test_packages_that_nobody_needed_before_have_a_version_now() -> None:
    ours = results()
    ours.forget([case("B13")], about("def5678", 2.5, mlx="2", more="3"))
    assert ours.about["versions"] == {"mlx": "1", "more": "3"}
