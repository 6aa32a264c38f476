"""Medians, spreads, bars, gaps and rates."""

import pytest

from benchmarks.spread import Bar, Comparison, Spread, largest_gap, percentile, rate_together


def test_a_spread_is_the_median_and_the_range() -> None:
    assert Spread.of([3.0, 1.0, 2.0, 10.0]) == Spread(2.5, 1.0, 10.0)


def test_a_spread_needs_values() -> None:
    with pytest.raises(ValueError, match="no values"):
        Spread.of([])


def test_ratios_and_differences_are_computed_for_each_round() -> None:
    comparison = Comparison((2.0, 4.0, 9.0), (1.0, 2.0, 3.0))
    assert comparison.ratio == Spread(2.0, 2.0, 3.0)
    assert comparison.difference == Spread(2.0, 1.0, 6.0)


def test_a_round_that_one_side_did_not_finish_has_no_ratio() -> None:
    comparison = Comparison((2.0, None, 8.0), (1.0, 2.0, None))
    assert comparison.ratio == Spread(2.0, 2.0, 2.0)
    assert comparison.our_spread == Spread(5.0, 2.0, 8.0)


def test_a_rival_at_zero_has_no_ratio() -> None:
    assert Comparison((1.0,), (0.0,)).ratio is None


@pytest.mark.parametrize(("ours", "holds"), [(0.05, True), (0.051, False)])
def test_a_bar_on_our_own_figure_holds_up_to_its_bound(ours: float, holds: bool) -> None:
    assert Bar("<= 0.05 s", "ours", at_most=0.05).holds(Comparison((ours,), (9.0,))) is holds


@pytest.mark.parametrize(("ours", "holds"), [(1.5, True), (1.4, False)])
def test_a_bar_on_the_ratio_applies_to_its_median(ours: float, holds: bool) -> None:
    comparison = Comparison((ours, 0.1, 9.0), (1.0, 1.0, 1.0))
    assert Bar(">= 1.5x", "ratio", at_least=1.5).holds(comparison) is holds


@pytest.mark.parametrize(("ours", "holds"), [(0.024, True), (0.026, False)])
def test_a_bar_on_the_difference_holds_up_to_its_bound(ours: float, holds: bool) -> None:
    assert Bar("+5 ms", "difference", at_most=0.005).holds(Comparison((ours,), (0.02,))) is holds


def test_a_round_of_ours_that_failed_fails_the_bar() -> None:
    assert Bar("<= 1", "ours", at_most=1.0).holds(Comparison((0.5, None), (1.0, 1.0))) is False


def test_without_a_rival_a_ratio_is_not_judged() -> None:
    assert Bar(">= 1", "ratio", at_least=1.0).holds(Comparison((0.5,), (None,))) is None


def test_a_missing_measurement_is_not_judged() -> None:
    assert Bar("<= 1", "ours", at_most=1.0).holds(Comparison(())) is None


@pytest.mark.parametrize(("share", "expected"), [(0.99, 99.0), (0.5, 50.0), (1.0, 100.0)])
def test_a_percentile_is_one_of_the_values(share: float, expected: float) -> None:
    assert percentile([float(value) for value in range(1, 101)], share) == expected


def test_a_gap_may_begin_before_the_interval_and_ends_with_it() -> None:
    assert largest_gap([0.0, 1.0, 4.0, 4.5], start=2.0, end=5.0) == 3.0
    assert largest_gap([0.0, 1.0], start=2.0, end=9.0) == 8.0


def test_gaps_outside_the_interval_do_not_count() -> None:
    assert largest_gap([0.0, 5.0, 6.0, 7.0, 20.0], start=5.5, end=7.0) == 1.0


def test_a_stream_without_arrivals_is_one_gap() -> None:
    assert largest_gap([], start=1.0, end=3.0) == 2.0


def test_a_common_rate_counts_only_while_all_streams_run() -> None:
    early = [(0.0, 5), (1.0, 5), (2.0, 5), (3.0, 5)]
    late = [(1.0, 5), (2.0, 5), (3.0, 5), (4.0, 5)]
    assert rate_together([early, late]) == 10.0


def test_streams_that_never_ran_together_have_no_common_rate() -> None:
    with pytest.raises(ValueError, match="same time"):
        rate_together([[(0.0, 1), (1.0, 1)], [(2.0, 1), (3.0, 1)]])
