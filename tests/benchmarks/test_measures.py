"""The list of cases."""

from itertools import groupby

from benchmarks.checkpoints import NAMES
from benchmarks.measures import CASES
from benchmarks.servers import BARE, RIVALS


def test_each_case_has_a_unique_name() -> None:
    assert len({case.key for case in CASES}) == len(CASES)


def test_cases_with_the_same_setup_are_consecutive_and_have_one_rival() -> None:
    setups = [(setup, list(cases)) for setup, cases in groupby(CASES, key=lambda case: case.setup)]
    assert len({setup for setup, _ in setups}) == len(setups)
    for _, cases in setups:
        assert len({case.rival for case in cases} & set(RIVALS)) == 1


def test_all_rivals_and_checkpoints_are_known() -> None:
    assert {case.rival for case in CASES} <= {*RIVALS, BARE, ""}
    assert {name for case in CASES for name in (case.checkpoint, case.setup.checkpoint)} <= set(NAMES)
