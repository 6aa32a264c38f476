"""What one request may have fetched."""

import pytest

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.server.allowance import Allowance


def test_it_is_used_up_to_the_last_byte() -> None:
    allowance = Allowance(10)
    allowance.take(4)
    allowance.take(6)
    with pytest.raises(InvalidRequest, match=r"^one request may have 10 bytes fetched, and this is beyond it$"):
        allowance.take(1)


def test_what_is_announced_is_not_taken() -> None:
    allowance = Allowance(10)
    allowance.check(10)
    allowance.take(10)
    assert repr(allowance) == "Allowance(limit=10, taken=10)"
