from __future__ import annotations

import json
from typing import Any

from openai.types import Completion as SDKCompletion

from pico_jupyter.client import Choice
from pico_jupyter.dialects.completions_answer import OpenAICompletionStream, text_completion
from pico_jupyter.dialects.completions_request import OpenAICompletionCall
from pico_jupyter.errors import EngineFailed
from pico_jupyter.types import Accepted, Delta, Progress, TextDelta
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
        SDKCompletion.model_validate({**event, "choices": choices}, strict=True)
    return found


def streamed(*deltas: Delta, echoes: tuple[str, ...] = (), **members: Any) -> list[Json]:
    return validated(written(stream_of(completion_call(stream=True, **members), *echoes), *deltas))


def whole(*choices: Choice, echoes: tuple[str, ...] = (), **members: Any) -> list[Json]:
    body = text_completion(completion_call(**members), completion(*choices), "cmpl-x", 1763800000, echoes)
    SDKCompletion.model_validate_json(body, strict=True)
    found: list[Json] = json.loads(body)["choices"]
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


def test_a_text_without_tokens_is_not_written() -> None:
    assert stream_of(completion_call(stream=True)).encode(TextDelta("")) == b""


def test_an_error_ends_the_stream() -> None:
    [event] = sse_objects(stream_of(completion_call(stream=True)).error(EngineFailed("broken")))
    assert event["error"]["message"] == "broken"
