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


def test_a_case_that_is_measured_again_has_its_commit_and_load() -> None:
    ours = results()
    ours.forget([case("B2")], about("def5678", 2.5))
    assert ours.result(case("B2")) is None
    assert ours.about["again"] == {"B2": "commit def5678, load before 2.5"}


def test_a_case_that_is_new_to_the_results_has_its_commit_and_load() -> None:
    ours = results()
    ours.forget([case("B13")], about("def5678", 2.5))
    assert ours.result(case("B2")) is not None
    assert ours.about["again"] == {"B13": "commit def5678, load before 2.5"}


def test_a_later_measurement_does_not_change_the_end_of_the_run() -> None:
    ours = results()
    ours.about["finished"] = "in the evening"
    ours.forget([case("B13")], about("def5678", 2.5))
    ours.add(case("B13"), CaseResult())
    assert ours.about["finished"] == "in the evening"
    ours.add(case("B3"), CaseResult())
    assert ours.about["finished"] != "in the evening"


def test_an_interrupted_run_is_continued_as_the_same_run() -> None:
    ours = results()
    ours.forget([case("B3")], about("abc1234", 2.5))
    assert "again" not in ours.about


def test_packages_of_a_later_measurement_get_a_version() -> None:
    ours = results()
    ours.forget([case("B13")], about("def5678", 2.5, mlx="2", more="3"))
    assert ours.about["versions"] == {"mlx": "1", "more": "3"}
