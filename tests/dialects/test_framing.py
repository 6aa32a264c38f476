import json

import pytest

from pico_jupyter.dialects.framing import (
    NDJSON_KEEPALIVE,
    encode_json,
    finite_logprob,
    ndjson_line,
    sse_event,
    sse_keepalive,
)


@pytest.mark.parametrize(
    "text", ["\u2028", "\u0085", "é", "你好", "😀", "\x7f", 'a"\\b\n\t\x00', "</script>", "", 'é "q" \\ \n é']
)
def test_any_text_arrives_as_ascii_on_one_line(text: str) -> None:
    encoded = encode_json({"text": text})
    assert encoded.isascii()
    assert len(encoded.decode().splitlines()) == 1
    assert json.loads(encoded) == {"text": text}


def test_json_is_compact() -> None:
    assert encode_json({"a": [1, None, True], "b": "\u2028"}) == b'{"a":[1,null,true],"b":"\\u2028"}'


def test_characters_beyond_16_bits_become_surrogate_pairs() -> None:
    assert encode_json("a😀b") == b'"a\\ud83d\\ude00b"'


def test_an_sse_event_ends_with_a_blank_line() -> None:
    assert sse_event({"a": 1}) == b'data: {"a":1}\n\n'


def test_an_ndjson_line_ends() -> None:
    assert ndjson_line({"a": 1}) == b'{"a":1}\n'


def test_keepalives_are_a_comment_and_a_space() -> None:
    assert sse_keepalive(3, 40) == b": keepalive 3/40\n\n"
    assert NDJSON_KEEPALIVE == b" "


@pytest.mark.parametrize(
    ("logprob", "sent"), [(-0.5, -0.5), (float("-inf"), -9999.0), (1e-7, 0.0), (float("nan"), -9999.0)]
)
def test_log_probabilities_are_numbers_and_not_positive(logprob: float, sent: float) -> None:
    assert finite_logprob(logprob) == sent
