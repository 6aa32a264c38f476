"""The limit on the bytes that are fetched for one request."""

import pytest

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.server.byte_budget import ByteBudget


def test_the_budget_can_be_spent_to_the_last_byte() -> None:
    budget = ByteBudget(10)
    budget.spend(4)
    budget.spend(6)
    with pytest.raises(InvalidRequest, match=r"^all media of one request together exceed the limit of 10 bytes$"):
        budget.spend(1)


def test_checking_an_announced_size_spends_nothing() -> None:
    budget = ByteBudget(10)
    budget.check(10)
    budget.spend(10)
    assert repr(budget) == "ByteBudget(limit=10, spent=10)"
