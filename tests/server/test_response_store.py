"""Stored responses: limits of bytes and of time, chains, and the users who own them."""

from __future__ import annotations

import json

import pytest

from pico_jupyter.errors import NotFound
from pico_jupyter.server.response_store import StoredResponse, UserResponses


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def stored(name: str, previous: str | None = None) -> StoredResponse:
    """A response that answers the item `name` with the item `name`'."""
    output = json.dumps({"output": [{"id": f"{name}'"}]}).encode()
    return StoredResponse(output, json.dumps([{"id": name}]).encode(), previous)


SIZE = stored("a").size


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def responses(clock: Clock) -> UserResponses:
    """Room for three responses, which are kept for ten seconds."""
    return UserResponses(3 * SIZE, 10, clock)


def is_kept(responses: UserResponses, name: str) -> bool:
    try:
        return responses.find(name) is not None
    except NotFound:
        return False


def test_a_response_is_found(responses: UserResponses) -> None:
    responses.add("r", stored("a"))
    assert responses.find("r") == stored("a")
    assert repr(responses) == f"<UserResponses [1 responses, {SIZE} bytes]>"


def test_the_response_that_was_not_used_for_the_longest_time_makes_room(responses: UserResponses) -> None:
    for name in "abc":
        responses.add(name, stored(name))
    responses.find("a")
    responses.add("d", stored("d"))
    assert [name for name in "abcd" if is_kept(responses, name)] == ["a", "c", "d"]


def test_a_response_over_the_limit_is_not_kept() -> None:
    responses = UserResponses(SIZE - 1, 10)
    responses.add("a", stored("a"))
    assert len(responses) == 0


def test_a_response_expires_after_its_latest_use(responses: UserResponses, clock: Clock) -> None:
    responses.add("a", stored("a"))
    responses.add("b", stored("b"))
    clock.seconds = 9
    responses.find("a")
    clock.seconds = 11
    assert [name for name in "ab" if is_kept(responses, name)] == ["a"]
    clock.seconds = 30
    assert len(responses) == 0


def test_the_room_of_a_removed_response_is_free(responses: UserResponses) -> None:
    for name in "abc":
        responses.add(name, stored(name))
    responses.remove("a")
    responses.add("d", stored("d"))
    assert len(responses) == 3
    with pytest.raises(NotFound, match="'a'"):
        responses.remove("a")


def test_a_conversation_has_the_items_of_the_responses_before(responses: UserResponses) -> None:
    responses.add("1", stored("a"))
    responses.add("2", stored("b", "1"))
    assert [item["id"] for item in responses.conversation("2")] == ["a", "a'", "b", "b'"]
    assert [item["id"] for item in responses.input_items("2")] == ["a", "a'", "b"]


def test_a_conversation_without_its_beginning_is_not_found(responses: UserResponses) -> None:
    responses.add("1", stored("a"))
    responses.add("2", stored("b", "1"))
    responses.remove("1")
    with pytest.raises(NotFound, match="'1'"):
        responses.conversation("2")


def test_reading_a_conversation_counts_as_a_use_of_all_its_responses(responses: UserResponses, clock: Clock) -> None:
    responses.add("1", stored("a"))
    responses.add("2", stored("b", "1"))
    clock.seconds = 9
    responses.conversation("2")
    clock.seconds = 18
    assert is_kept(responses, "1")


def test_an_item_is_found_until_its_response_is_removed(responses: UserResponses) -> None:
    responses.add("1", stored("a"))
    assert responses.find_items({"a", "a'", "b"}) == {"a": {"id": "a"}, "a'": {"id": "a'"}}
    responses.remove("1")
    assert responses.find_items({"a"}) == {}


def test_an_item_that_was_sent_again_stays_while_one_response_has_it(responses: UserResponses) -> None:
    responses.add("1", stored("a"))
    responses.add("2", stored("a"))
    responses.remove("1")
    assert responses.find_items({"a"}) == {"a": {"id": "a"}}
