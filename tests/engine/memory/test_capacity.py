"""The memory that models need, whether it fits, and the error if it does not."""

from __future__ import annotations

import msgspec
import pytest

from pico_jupyter.engine.memory.capacity import Capacity
from pico_jupyter.errors import OutOfMemory
from tests.fakes.backend import fake_info

HALF = msgspec.structs.replace(fake_info("half", 1000), float32_size=2000)


@pytest.mark.parametrize(
    ("in_float32", "free", "size"), [(True, 2000, 2000), (True, 1999, 1000), (False, 2000, 1000), (True, 0, 1000)]
)
def test_16_bit_weights_are_counted_as_float32_where_they_fit(in_float32: bool, free: int, size: int) -> None:
    assert Capacity(5000, in_float32).weights_size(HALF, free) == size


def test_quantised_weights_are_not_converted() -> None:
    assert Capacity(5000, in_float32=True).weights_size(fake_info(size=1000), 5000) == 1000


@pytest.mark.parametrize(("size", "fit"), [(700, "fits"), (701, "later"), (1000, "later"), (1001, "never")])
def test_a_model_fits_now_or_later_or_never(size: int, fit: str) -> None:
    need = Capacity(1000).need(fake_info("a", size), available=700)
    assert (need.model, need.size, need.fit) == ("a", size, fit)


def test_a_model_that_fits_later_is_not_refused() -> None:
    capacity = Capacity(1000)
    capacity.refuse_too_large(capacity.need(fake_info(size=1000), available=0))


def test_the_error_for_a_model_that_never_fits_names_need_and_budget() -> None:
    capacity = Capacity(8_000_000_000)
    with pytest.raises(OutOfMemory, match=r"big needs 9\.0 GB, and the memory budget is 8\.0 GB") as caught:
        capacity.refuse_too_large(capacity.need(fake_info("big", 8_910_000_000), available=0))
    assert caught.value.model == "big"
