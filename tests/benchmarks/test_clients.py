"""The client parses the answers of both servers, however their bytes are split."""

import json

import pytest

from benchmarks.clients import Answer, Broken, Refused, read_answer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PLAIN = b"HTTP/1.0 200 OK\r\nServer: BaseHTTP\r\n\r\n"


def event(content: str = "", finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}}
LAST = b"data: " + json.dumps({"choices": [], "usage": USAGE}).encode() + b"\n\ndata: [DONE]\n\n"
STREAM = [b": keepalive 1/2\n\n", event(), event(" one"), event(" two"), event(finish_reason="length"), LAST]


def chunked(events: list[bytes]) -> bytes:
    return b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in events) + b"0\r\n\r\n"


def read(*parts: bytes) -> Answer:
    """The answer whose i-th part arrived at second i."""
    return read_answer([(float(index), part) for index, part in enumerate(parts)], sent=0.0, ended=99.0)


@pytest.mark.parametrize("whole", [CHUNKED + chunked(STREAM), PLAIN + b"".join(STREAM)], ids=["chunked", "plain"])
def test_a_stream_gives_the_same_answer_however_it_is_split(whole: bytes) -> None:
    for cut in range(1, len(whole)):
        answer = read(whole[:cut], whole[cut:])
        assert answer.text == " one two"
        assert answer.finish_reason == "length"
        assert (answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens) == (7, 2, 3)


def test_the_time_of_a_text_is_that_of_its_arrival() -> None:
    answer = read(CHUNKED, *(chunked([part]).removesuffix(b"0\r\n\r\n") for part in STREAM), b"0\r\n\r\n")
    assert answer.pieces == [(3.0, " one"), (4.0, " two")]
    assert answer.ttft == 3.0


def test_an_answer_without_streaming_is_read() -> None:
    body = {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}], "usage": USAGE}
    assert read(PLAIN + json.dumps(body).encode()).text == "yes"


def test_an_answer_without_an_end_is_broken() -> None:
    with pytest.raises(Broken, match="no end"):
        read(PLAIN + event(" one"))


def test_a_connection_that_was_lost_before_the_answer_is_broken() -> None:
    with pytest.raises(Broken, match="before the answer"):
        read_answer([], sent=0.0, ended=1.0)


def test_an_error_inside_the_stream_is_broken() -> None:
    with pytest.raises(Broken, match="the engine ended"):
        read(PLAIN + event(" one") + b'data: {"error": {"message": "the engine ended"}}\n\n')


def test_an_error_status_is_refused() -> None:
    with pytest.raises(Refused, match="404: no such model"):
        read(b"HTTP/1.0 404 Not Found\r\n\r\nno such model")
