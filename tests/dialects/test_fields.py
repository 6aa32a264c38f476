import pytest

from pico_jupyter.dialects.fields import MAX_NESTING, Fields, decode_body, json_text, refuse_value
from pico_jupyter.errors import InvalidRequest

DEEP = b'{"a":' * 50_000 + b"1" + b"}" * 50_000


@pytest.mark.parametrize("body", [b"", b" \n"])
def test_an_empty_body_is_missing(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"^missing request body$"):
        decode_body(body)


@pytest.mark.parametrize(
    "body",
    [
        b"nul",
        b"{",
        b"{} x",
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e400}',
        b'{"a":1' + b"0" * 5000 + b"}",
        b'{"a":"\xff"}',
        b"\xff",
        b'{"a":"line\nbreak"}',
        b"\x00",
    ],
)
def test_what_is_not_json_is_refused_as_such(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        decode_body(body)


@pytest.mark.parametrize(("body", "kind"), [(b"[]", "an array"), (b'"x"', "a string"), (b"1", "an integer")])
def test_what_is_no_object_is_refused_by_its_kind(body: bytes, kind: str) -> None:
    with pytest.raises(InvalidRequest, match=f"must be a JSON object, but it is {kind}"):
        decode_body(body)


def test_deep_nesting_is_refused_without_a_traceback() -> None:
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        decode_body(DEEP)


def test_of_two_equal_keys_the_last_one_counts() -> None:
    assert decode_body(b'{"a":1,"a":2}').integer("a") == 2


def test_null_is_omitted() -> None:
    fields = Fields({"a": None})
    assert "a" not in fields
    assert fields.string("a") is None
    assert fields.integer("a") is None
    assert fields.boolean("a") is None
    assert fields.number("a", 0, 1) is None
    assert fields.array("a") is None
    assert fields.fields("a") is None
    assert list(fields.each("a")) == []


@pytest.mark.parametrize("value", [True, "1", 1.5, [], {}])
def test_an_integer_is_no_boolean_string_or_fraction(value: object) -> None:
    with pytest.raises(InvalidRequest, match="Invalid type for 'a': expected an integer"):
        Fields({"a": value}).integer("a")


def test_a_float_without_fraction_is_an_integer() -> None:
    assert Fields({"a": 16.0}).integer("a") == 16


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**400, 1e300])
def test_integers_stay_within_64_bits(value: float) -> None:
    with pytest.raises(InvalidRequest, match="Invalid value for 'a'"):
        Fields({"a": value}).integer("a")


@pytest.mark.parametrize("value", [2**63, 10**400, 1e300])
def test_a_count_without_a_maximum_is_never_too_large(value: float) -> None:
    assert Fields({"a": value}).integer("a", minimum=-1) == 2**63 - 1


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"cut \ud83d", "cut \ufffd"),
        (r"\ude00 cut", "\ufffd cut"),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (r"\ud83dx\\ud83d", "\ufffdx\\ud83d"),
        (r"\uD83D\uDE00", "\U0001f600"),
    ],
)
def test_half_an_emoji_becomes_a_replacement_character(escaped: str, text: str) -> None:
    assert decode_body(f'{{"a": "{escaped}"}}'.encode()).string("a") == text


@pytest.mark.parametrize("value", [True, "0.5", []])
def test_a_number_is_no_boolean_or_string(value: object) -> None:
    with pytest.raises(InvalidRequest, match="expected a number"):
        Fields({"a": value}).number("a", 0, 1)


@pytest.mark.parametrize("value", [-0.1, 1.1, 10**400])
def test_a_number_out_of_range_is_refused_with_the_range(value: float) -> None:
    with pytest.raises(InvalidRequest, match="it must be between 0 and 1") as caught:
        Fields({"a": value}).number("a", 0, 1)
    assert caught.value.param == "a"


def test_complaints_name_the_whole_path() -> None:
    [_, second] = Fields({"messages": [{}, {"role": 1}]}).each("messages")
    with pytest.raises(InvalidRequest) as caught:
        second.string("role")
    assert caught.value.param == "messages[1].role"
    assert "'messages[1].role': expected a string, but got an integer" in caught.value.message


def test_members_that_are_no_objects_are_named() -> None:
    with pytest.raises(InvalidRequest, match=r"'messages\[0\]': expected an object, but got null"):
        list(Fields({"messages": [None]}).each("messages"))


def test_echoed_values_are_short() -> None:
    with pytest.raises(InvalidRequest) as caught:
        refuse_value("a", "x" * 100_000, ("y",))
    assert len(caught.value.message) < 200


def test_json_text_keeps_what_the_caller_wrote() -> None:
    text = json_text({"é": [1, 2.5, None, 10**20]}, "a")
    assert text == '{"é":[1,2.5,null,100000000000000000000]}'


def test_json_text_that_is_nested_deeply_is_refused() -> None:
    def nested(depth: int) -> object:
        value: object = 1
        for _ in range(depth):
            value = [value]
        return value

    assert json_text(nested(MAX_NESTING - 1), "tools").startswith("[")
    with pytest.raises(InvalidRequest, match="'tools' is nested too deeply"):
        json_text(nested(MAX_NESTING), "tools")


def test_fields_have_a_readable_repr() -> None:
    assert repr(Fields({"model": "m", "n": 1})) == "<Fields body: model, n>"
    assert repr(Fields({"role": "user"}, "messages[0]")) == "<Fields messages[0]: role>"
