from __future__ import annotations

import pytest

from pico_jupyter.dialects.completions_request import MAX_PROMPTS, OpenAICompletionCall
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import CompletionPrompt, Structure
from tests.dialects.samples import completion_call


def prompts_of(call: OpenAICompletionCall) -> list[object]:
    return [request.prompt for request in call.requests]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("hi", [CompletionPrompt("hi")]),
        ("", [CompletionPrompt("")]),
        (["a", "b"], [CompletionPrompt("a"), CompletionPrompt("b")]),
        ([1, 2], [CompletionPrompt(tokens=(1, 2))]),
        ([[1], [2, 3]], [CompletionPrompt(tokens=(1,)), CompletionPrompt(tokens=(2, 3))]),
        ([[1.0, 2]], [CompletionPrompt(tokens=(1, 2))]),
        (["a", [1]], [CompletionPrompt("a"), CompletionPrompt(tokens=(1,))]),
    ],
)
def test_prompts_are_texts_or_tokens_or_lists_of_them(prompt: object, expected: list[CompletionPrompt]) -> None:
    assert prompts_of(completion_call(prompt=prompt)) == expected


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        ([], "prompt"),
        ([1, "a"], "prompt"),
        (["a", 1], "prompt[1]"),
        ([[]], "prompt[0]"),
        ([-1], "prompt[0]"),
        ([2**31], "prompt[0]"),
        ([[2**70]], "prompt[0][0]"),
        ({"text": "a"}, "prompt"),
        (None, "prompt"),
        (["a"] * (MAX_PROMPTS + 1), "prompt"),
    ],
)
def test_a_wrong_prompt_is_named(prompt: object, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        completion_call(prompt=prompt)
    assert caught.value.param == param


def test_each_prompt_is_a_request_with_an_id_of_its_own() -> None:
    call = completion_call(prompt=["a", "b"], n=3, seed=7)
    assert [request.id for request in call.requests] == ["r1", "r1-1"]
    assert {request.n for request in call.requests} == {3} == {call.n}
    assert {request.sampling.seed for request in call.requests} == {7}


@pytest.mark.parametrize(
    ("members", "limit"),
    [
        ({}, 16),
        ({"max_tokens": 5}, 5),
        ({"max_tokens": -1}, None),
        ({"options": {"num_predict": 9}}, 9),
        ({"max_tokens": 0, "echo": True}, 0),
        ({"max_tokens": 0, "max_completion_tokens": 5}, 5),
    ],
)
def test_an_answer_has_sixteen_tokens_if_the_request_has_no_limit(members: dict[str, object], limit: int) -> None:
    assert completion_call(**members).requests[0].max_tokens == limit


def test_a_suffix_and_the_bos_token_are_part_of_the_prompt() -> None:
    call = completion_call(prompt="def f(", suffix=")", add_special_tokens=False)
    assert prompts_of(call) == [CompletionPrompt("def f(", suffix=")", special_tokens=False)]


def test_log_probabilities_and_structures_are_read() -> None:
    request = completion_call(logprobs=3, response_format={"type": "json_object"}).requests[0]
    assert (request.top_logprobs, request.structure) == (3, Structure("json_object"))
    assert completion_call().requests[0].top_logprobs is None


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"echo": True, "logprobs": 1}, True),
        ({"echo": True, "logprobs": 0}, True),
        ({"echo": True}, False),
        ({"logprobs": 1}, False),
    ],
)
def test_echo_and_logprobs_together_score_the_prompts(members: dict[str, object], expected: bool) -> None:
    call = completion_call(prompt=["a", [1, 2]], **members)
    assert call.scores_prompt is expected
    assert prompts_of(call) == [
        CompletionPrompt("a", logprobs=expected),
        CompletionPrompt(tokens=(1, 2), logprobs=expected),
    ]


def test_best_of_may_repeat_n() -> None:
    assert completion_call(n=2, best_of=2) == completion_call(n=2)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"best_of": 2}, "best_of"),
        ({"echo": True, "logprobs": 1, "suffix": ")"}, "suffix"),
        ({"max_tokens": -2, "echo": True}, "max_tokens"),
        ({"prompt": [1], "suffix": ")"}, "suffix"),
        ({"stream_options": {}}, "stream_options"),
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": 21}, "logprobs"),
        ({"n": 9}, "n"),
        ({"model": ""}, "model"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(members: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        completion_call(**members)
    assert caught.value.param == param


@pytest.mark.parametrize(("members", "is_low"), [({}, False), ({"priority": 0}, False), ({"priority": 1}, True)])
def test_a_positive_priority_is_low_as_in_vllm(members: dict[str, object], is_low: bool) -> None:
    assert completion_call(**members).requests[0].low_priority is is_low
