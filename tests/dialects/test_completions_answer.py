from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types import Completion as SDKCompletion

from pico_jupyter.client import Choice
from pico_jupyter.dialects.completions_answer import OpenAICompletionStream, text_completion
from pico_jupyter.dialects.completions_request import OpenAICompletionCall
from pico_jupyter.errors import EngineFailed
from pico_jupyter.types import Accepted, Delta, Progress, TextDelta, TokenLogprob, TopLogprob
from tests.dialects.samples import LOGPROB, Json, completion, completion_call, finished, sse_objects, written

HEAD = (
    '"id":"cmpl-x","object":"text_completion","created":1763800000,"model":"m","system_fingerprint":"fp_pico_jupyter"'
)


def stream_of(call: OpenAICompletionCall, *echoes: str) -> OpenAICompletionStream:
    return OpenAICompletionStream(call, "cmpl-x", 1763800000, echoes)


def validated(frames: bytes) -> list[Json]:
    """The events. The SDK's model declares no null as the reason, which OpenAI sends before the end too."""
    found = sse_objects(frames)
    for event in found:
        choices = [{**choice, "finish_reason": choice["finish_reason"] or "stop"} for choice in event["choices"]]
        validate({**event, "choices": choices})
    return found


def validate(answer: Json) -> None:
    """The SDK's model declares no null for the first token of a prompt, which OpenAI sends."""
    choices = []
    for choice in answer["choices"]:
        logprobs = dict(choice["logprobs"] or {})
        if logprobs and logprobs["token_logprobs"][0] is None:
            assert logprobs["top_logprobs"][0] is None
            logprobs["token_logprobs"] = logprobs["token_logprobs"][1:]
            logprobs["top_logprobs"] = logprobs["top_logprobs"][1:]
        choices.append({**choice, "logprobs": logprobs or None})
    SDKCompletion.model_validate({**answer, "choices": choices}, strict=True)


def streamed(*deltas: Delta, echoes: tuple[str, ...] = (), **members: Any) -> list[Json]:
    return validated(written(stream_of(completion_call(stream=True, **members), *echoes), *deltas))


def whole(*choices: Choice, echoes: tuple[str, ...] = (), **members: Any) -> list[Json]:
    body = text_completion(completion_call(**members), completion(*choices), "cmpl-x", 1763800000, echoes)
    answer: Json = json.loads(body)
    validate(answer)
    found: list[Json] = answer["choices"]
    return found


def test_golden_bytes_of_a_stream() -> None:
    call = completion_call(stream=True, stream_options={"include_usage": True})
    frames = written(stream_of(call), Accepted("m", 12, False), Progress("prefill", 1, 2), TextDelta("47"), finished())
    assert frames.decode() == (
        f'data: {{{HEAD},"choices":[{{"text":"47","index":0,"logprobs":null,"finish_reason":null}}],"usage":null}}\n\n'
        f'data: {{{HEAD},"choices":[{{"text":"","index":0,"logprobs":null,"finish_reason":"stop"}}],"usage":null}}\n\n'
        f'data: {{{HEAD},"choices":[],"usage":{{"prompt_tokens":12,"completion_tokens":2,"total_tokens":14,'
        '"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}\n\n'
        "data: [DONE]\n\n"
    )
    validated(frames)


def test_golden_bytes_of_a_whole_answer() -> None:
    body = text_completion(completion_call(), completion(Choice(text="47")), "cmpl-x", 1763800000)
    assert body.decode() == (
        f'{{{HEAD},"choices":[{{"text":"47","index":0,"logprobs":null,"finish_reason":"stop"}}],'
        '"usage":{"prompt_tokens":12,"completion_tokens":2,"total_tokens":14,'
        '"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}'
    )


def test_each_choice_has_its_index_and_reason() -> None:
    found = streamed(TextDelta("a", 1), TextDelta("b", 0), finished("length", "stop"), n=2)
    assert [(event["choices"][0]["index"], event["choices"][0]["finish_reason"]) for event in found] == [
        *((1, None), (0, None), (0, "length"), (1, "stop")),
    ]


def test_an_echo_precedes_the_answers_to_its_prompt() -> None:
    prompts: dict[str, Any] = {"prompt": ["a", "b"], "n": 2, "echo": True}
    reasons = ("stop",) * 4
    found = streamed(TextDelta("!", 3), finished(*reasons), echoes=("a", "b"), **prompts)
    texts = [(event["choices"][0]["index"], event["choices"][0]["text"]) for event in found]
    assert texts[:5] == [(0, "a"), (1, "a"), (2, "b"), (3, "b"), (3, "!")]
    answers = whole(*(Choice(text="!") for _ in range(4)), echoes=("a", "b"), **prompts)
    assert [choice["text"] for choice in answers] == ["a!", "a!", "b!", "b!"]


def test_log_probabilities_are_lists_with_an_item_for_each_token() -> None:
    expected = {
        "tokens": ["Hel", "Hel"],
        "token_logprobs": [-0.01, -0.01],
        "top_logprobs": [{"Hel": -0.01, "\ufffd": -9999.0}] * 2,
        "text_offset": [0, 3],
    }
    assert whole(Choice(text="HelHel", logprobs=[LOGPROB, LOGPROB]), logprobs=2)[0]["logprobs"] == expected
    found = streamed(TextDelta("Hel", 0, (LOGPROB,)), TextDelta("Hel", 0, (LOGPROB,)), finished(), logprobs=2)
    assert [event["choices"][0]["logprobs"]["text_offset"] for event in found[:2]] == [[0], [3]]


def token(text: bytes, logprob: float, *top: TopLogprob) -> TokenLogprob:
    return TokenLogprob(text.decode("utf-8", "replace"), logprob, text, top)


SCORED = {"echo": True, "logprobs": 1}
PROMPT = (token(b"1", 0.0), token(b" +", -0.5, TopLogprob(" -", -0.25, b" -")))
SUM = token(b" 2", -0.125, TopLogprob(" 2", -0.125, b" 2"))


def test_golden_bytes_of_a_prompt_with_log_probabilities() -> None:
    choice = Choice(text=" 2", logprobs=[*PROMPT, SUM])
    body = text_completion(completion_call(**SCORED), completion(choice), "cmpl-x", 1763800000, ("1 +",))
    assert body.decode().startswith(
        f'{{{HEAD},"choices":[{{"text":"1 + 2","index":0,"logprobs":{{"tokens":["1"," +"," 2"],'
        '"token_logprobs":[null,-0.5,-0.125],"top_logprobs":[null,{" +":-0.5," -":-0.25},{" 2":-0.125}],'
        '"text_offset":[0,1,3]},"finish_reason":"stop"}],'
    )


def test_golden_bytes_of_a_stream_that_begins_with_a_prompt_and_its_log_probabilities() -> None:
    stream = stream_of(completion_call(stream=True, **SCORED), "1 +")
    frames = written(stream, TextDelta("", 0, PROMPT), TextDelta(" 2", 0, (SUM,)), finished("length"))
    assert frames.decode() == (
        f'data: {{{HEAD},"choices":[{{"text":"1 +","index":0,"logprobs":null,"finish_reason":null}}]}}\n\n'
        f'data: {{{HEAD},"choices":[{{"text":"","index":0,"logprobs":{{"tokens":["1"," +"],'
        '"token_logprobs":[null,-0.5],"top_logprobs":[null,{" +":-0.5," -":-0.25}],"text_offset":[0,1]},'
        '"finish_reason":null}]}\n\n'
        f'data: {{{HEAD},"choices":[{{"text":" 2","index":0,"logprobs":{{"tokens":[" 2"],"token_logprobs":[-0.125],'
        '"top_logprobs":[{" 2":-0.125}],"text_offset":[3]},"finish_reason":null}]}\n\n'
        f'data: {{{HEAD},"choices":[{{"text":"","index":0,"logprobs":null,"finish_reason":"length"}}]}}\n\n'
        "data: [DONE]\n\n"
    )
    validated(frames)


def test_the_log_probabilities_of_each_choice_begin_with_its_prompt() -> None:
    choices = [Choice(logprobs=list(PROMPT)), Choice(logprobs=[token(b"x", 0.0)])]
    found = whole(*choices, echoes=("1 +", "x"), prompt=["1 +", "x"], **SCORED)
    assert [choice["logprobs"]["token_logprobs"] for choice in found] == [[None, -0.5], [None]]
    assert [choice["text"] for choice in found] == ["1 +", "x"]


@pytest.mark.parametrize(
    ("echo", "tokens", "offsets"),
    [
        ("Hi you", [b"<s>", b"Hi", b" you"], [0, 0, 2]),
        ("Hi you", [b"<s>", b" Hi", b" you"], [0, 0, 2]),
        ("<s>Hi", [b"<s>", b"Hi"], [0, 3]),
        ("a\u20acb", [b"a", b"\xe2\x82", b"\xac", b"b"], [0, 1, 2, 2]),
    ],
    ids=["a BOS token", "a space of sentencepiece", "a BOS token in the text", "a character of two tokens"],
)
def test_offsets_count_the_characters_of_the_text(echo: str, tokens: list[bytes], offsets: list[int]) -> None:
    entries = [token(text, -0.5) for text in tokens]
    assert whole(Choice(logprobs=entries), echoes=(echo,), **SCORED)[0]["logprobs"]["text_offset"] == offsets
    found = streamed(TextDelta("", 0, tuple(entries)), finished(), echoes=(echo,), **SCORED)
    assert found[1]["choices"][0]["logprobs"]["text_offset"] == offsets


def test_of_two_candidates_with_the_same_text_the_likelier_is_listed() -> None:
    entry = token(b"\x80", -3.0, TopLogprob("\ufffd", -0.5, b"\x81"))
    assert whole(Choice(logprobs=[entry]), logprobs=1)[0]["logprobs"]["top_logprobs"] == [{"\ufffd": -0.5}]


def test_a_text_without_tokens_is_not_written() -> None:
    assert stream_of(completion_call(stream=True)).encode(TextDelta("")) == b""


def test_an_error_ends_the_stream() -> None:
    [event] = sse_objects(stream_of(completion_call(stream=True)).error(EngineFailed("broken")))
    assert event["error"]["message"] == "broken"
