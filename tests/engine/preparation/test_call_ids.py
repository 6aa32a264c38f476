from __future__ import annotations

import re

import pytest

from pico_jupyter.engine.preparation.call_ids import make_call_id, map_call_ids
from pico_jupyter.types import Message, ToolCall

NINE = "{nine}"
KIMI = "functions.{name}:{index}"


def call(*ids: str, name: str = "add") -> Message:
    return Message("assistant", tool_calls=tuple(ToolCall(id_, name, "{}") for id_ in ids))


def result(id_: str | None, name: str | None = None) -> Message:
    return Message("tool", tool_call_id=id_, name=name)


def ids_of(messages: list[Message], history_id: str) -> list[str | None]:
    mapped = map_call_ids(messages, history_id)
    return [id_ for m in mapped for id_ in ([c.id for c in m.tool_calls] or [m.tool_call_id])]


def test_a_new_id_has_nine_letters_and_digits() -> None:
    assert re.fullmatch(r"[A-Za-z0-9]{9}", make_call_id())


def test_new_ids_differ() -> None:
    assert len({make_call_id() for _ in range(100)}) == 100


def test_any_id_remains_if_the_template_accepts_it() -> None:
    assert ids_of([call("call_1-x"), result("call_1-x")], "") == ["call_1-x", "call_1-x"]


def test_an_id_of_nine_characters_remains() -> None:
    assert ids_of([call("abcDEF123"), result("abcDEF123")], NINE) == ["abcDEF123", "abcDEF123"]


@pytest.mark.parametrize("foreign", ["call_xyz", "toolu_01A09q90qw90lq917835lq9", "é" * 9, "functions.add:0", "1"])
def test_a_foreign_id_is_mapped_alike_in_call_and_result(foreign: str) -> None:
    mapped, of_result = ids_of([call(foreign), result(foreign)], NINE)
    assert mapped == of_result
    assert re.fullmatch(r"[A-Za-z0-9]{9}", mapped or "")


def test_different_foreign_ids_stay_different() -> None:
    first, second, *_ = ids_of([call("call_1", "call_2")], NINE)
    assert first != second


def test_equal_conversations_get_equal_ids() -> None:
    messages = [call("call_1"), result("call_1"), call(""), result(None)]
    assert ids_of(messages, NINE) == ids_of(messages, NINE)


def test_calls_may_be_numbered_through_the_conversation() -> None:
    messages = [call("a", "b"), result("b"), result("a"), call("c", name="sub"), result("c")]
    expected = ["functions.add:0", "functions.add:1", "functions.add:1", "functions.add:0"]
    assert ids_of(messages, KIMI) == [*expected, "functions.sub:2", "functions.sub:2"]


def test_a_result_without_an_id_gets_that_of_the_first_unanswered_call() -> None:
    first, second, *results = ids_of([call("", ""), result(None), result("")], "")
    assert results == [first, second]


def test_a_result_without_an_id_gets_that_of_a_call_of_its_tool() -> None:
    messages = [call(""), call("", name="sub"), result(None, "sub"), result(None, "add")]
    add, sub, *results = ids_of(messages, "")
    assert results == [sub, add]


def test_a_result_without_a_call_gets_an_id_that_the_template_accepts() -> None:
    for id_ in ("call_lost", None):
        (mapped,) = ids_of([result(id_)], NINE)
        assert re.fullmatch(r"[A-Za-z0-9]{9}", mapped or "")


@pytest.mark.parametrize("pattern", ["", NINE])
def test_a_result_with_an_unknown_id_gets_that_of_the_call_before_it_that_no_result_names(pattern: str) -> None:
    messages = [call("first", "second"), result("unknown"), result("first")]
    first, second, *results = ids_of(messages, pattern)
    assert results == [second, first]


@pytest.mark.parametrize("between", [Message("user"), Message("assistant")])
def test_a_result_with_an_unknown_id_keeps_it_after_other_messages(between: Message) -> None:
    assert ids_of([call("a"), between, result("unknown")], "")[-1] == "unknown"


def test_a_result_of_another_tool_keeps_its_unknown_id() -> None:
    assert ids_of([call("a"), result("unknown", "sub")], "") == ["a", "unknown"]
