import math
from collections.abc import Callable

import pytest

from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.dialects.ollama_request import (
    OllamaAnswerCall,
    OllamaLoadCall,
    OllamaPullCall,
    parse_ollama_chat,
    parse_ollama_generate,
    parse_ollama_pull,
    parse_ollama_show,
)
from pico_jupyter.errors import InvalidRequest, ModelNotFound
from pico_jupyter.types import (
    ChatPrompt,
    CompletionPrompt,
    GenerationRequest,
    Message,
    RawPrompt,
    SamplingParams,
    Structure,
    TextPart,
)
from tests.dialects.samples import (
    USER,
    Json,
    encoded,
    ollama_chat,
    ollama_generate,
    parsed_ollama_chat,
    parsed_ollama_generate,
)

HI = Message("user", (TextPart("hi"),))


def chat_prompt(call: OllamaAnswerCall) -> ChatPrompt:
    assert isinstance(call.request.prompt, ChatPrompt)
    return call.request.prompt


def test_a_chat_with_every_field_is_translated() -> None:
    call = ollama_chat(
        model="Qwen3:latest",
        stream=False,
        think="high",
        keep_alive="10m",
        options={
            "temperature": 0,
            "num_ctx": 512,
            "num_predict": 9,
            "stop": "END",
            "draft_num_predict": 5,
            "warmth": 1,
        },
        logprobs=True,
        top_logprobs=2,
        chat_template_kwargs={"documents": []},
        truncate=False,
        tools=[],
        format={"type": "object"},
        user=5,
        nonsense=1,
    )
    assert call.request == GenerationRequest(
        id="r1",
        model="Qwen3:latest",
        prompt=ChatPrompt((HI,), template_kwargs='{"documents":[]}'),
        sampling=SamplingParams(temperature=0.0),
        fallback_sampling=call.request.fallback_sampling,
        reasoning=True,
        reasoning_required=True,
        reasoning_effort="high",
        max_tokens=9,
        max_context=512,
        stop=("END",),
        top_logprobs=2,
        keep_alive=600.0,
        draft_tokens=5,
        structure=Structure("json_schema", '{"type":"object"}', "format"),
    )
    assert (call.endpoint, call.model, call.stream) == ("chat", "Qwen3:latest", False)
    assert call.unknown_options == ("warmth",)


def test_a_minimal_chat_streams_and_truncates() -> None:
    call = ollama_chat()
    assert call.stream
    assert chat_prompt(call).truncate
    assert (call.request.reasoning, call.request.reasoning_required) == (None, False)


def test_empty_values_of_ollama_python_and_the_go_client_are_accepted() -> None:
    assert ollama_chat(tools=[], options=None, format="", keep_alive=None, think=None) == ollama_chat()
    empty = {"suffix": "", "system": "", "template": "", "options": None, "context": None, "images": None}
    assert ollama_generate(**empty) == ollama_generate()


def test_top_level_sampling_wins_over_options() -> None:
    request = ollama_chat(temperature=0.1, max_tokens=3, options={"temperature": 0.9, "num_predict": 5}).request
    assert (request.sampling.temperature, request.max_tokens) == (0.1, 3)


@pytest.mark.parametrize("messages", [None, []])
@pytest.mark.parametrize(
    ("keep_alive", "seconds", "unload"),
    [(None, None, False), (0, 0, True), ("0s", 0, True), ("5m", 300, False), (-1, math.inf, False)],
)
def test_a_chat_without_messages_loads_or_unloads(
    messages: object, keep_alive: object, seconds: float | None, unload: bool
) -> None:
    call = parsed_ollama_chat(messages=messages, keep_alive=keep_alive, stream=True)
    assert call == OllamaLoadCall("chat", "m", seconds, unload=unload)


@pytest.mark.parametrize("prompt", [None, ""])
@pytest.mark.parametrize(("keep_alive", "unload"), [("1h", False), (0, True)])
def test_a_generate_without_a_prompt_loads_or_unloads(prompt: object, keep_alive: object, unload: bool) -> None:
    call = parsed_ollama_generate(prompt=prompt, keep_alive=keep_alive)
    assert call == OllamaLoadCall("generate", "m", 0 if unload else 3600, unload=unload)
    assert isinstance(parsed_ollama_generate(prompt=prompt, raw=True), OllamaLoadCall)


def test_a_prompt_with_keep_alive_0_is_answered_first() -> None:
    assert ollama_generate(keep_alive=0).request.keep_alive == 0.0
    assert ollama_chat(keep_alive=0).request.keep_alive == 0.0


def test_generate_makes_a_conversation_of_system_and_prompt() -> None:
    call = ollama_generate(system="be kind", context=[1, 2, 3])
    assert chat_prompt(call) == ChatPrompt(
        (Message("system", (TextPart("be kind"),)), HI), context=(1, 2, 3), truncate=True
    )
    assert call.request.return_context
    assert call.endpoint == "generate"


def test_a_raw_prompt_is_unchanged() -> None:
    call = ollama_generate(prompt="<s>hi", raw=True)
    assert call.request.prompt == RawPrompt("<s>hi")
    assert not call.request.return_context


@pytest.mark.parametrize("members", [{"template": "x"}, {"system": "x"}, {"context": [1]}])
@pytest.mark.parametrize("prompt", ["hi", ""])
def test_raw_excludes_everything_that_shapes_a_prompt(members: dict[str, object], prompt: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^raw mode does not support template, system, or context$"):
        parsed_ollama_generate(prompt=prompt, raw=True, **members)


def test_a_raw_prompt_has_no_images() -> None:
    with pytest.raises(InvalidRequest, match="raw mode does not support images"):
        ollama_generate(raw=True, images=["aGk="])


def test_generate_uses_messages_if_there_is_no_prompt() -> None:
    call = parsed_ollama_generate(prompt="", messages=[USER], system="be kind")
    assert isinstance(call, OllamaAnswerCall)
    assert chat_prompt(call).messages == (Message("system", (TextPart("be kind"),)), HI)
    assert call.endpoint == "generate"


def test_a_prompt_wins_over_messages() -> None:
    call = ollama_generate(messages=[{"role": "user", "content": "other"}])
    assert chat_prompt(call).messages == (HI,)


BEGUN = {"role": "assistant", "content": "1, 2, 3,"}
CALLING = {"role": "assistant", "content": "Wait.", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}


@pytest.mark.parametrize(
    ("messages", "continues"),
    [
        ([USER, BEGUN], True),
        ([BEGUN], True),
        ([USER, {**BEGUN, "thinking": "One by one."}], True),
        ([USER, {**BEGUN, "role": "Assistant"}], True),
        ([USER, BEGUN, USER], False),
        ([USER, CALLING], False),
        ([USER, {"role": "assistant", "thinking": "hm"}], False),
        ([USER, BEGUN, {"role": "system", "content": "Be brief."}], False),
        ([USER, BEGUN, {"role": "tool", "content": "4"}], False),
    ],
)
def test_the_text_of_a_last_assistant_message_is_continued(messages: list[Json], continues: bool) -> None:
    for think in (None, True, False):
        prompt = chat_prompt(ollama_chat(messages=messages, think=think))
        assert prompt.continue_final_message is continues
        assert len(prompt.messages) == len(messages)


def test_generate_continues_a_last_assistant_message() -> None:
    assert chat_prompt(ollama_generate(prompt="", messages=[USER, BEGUN])).continue_final_message


@pytest.mark.parametrize("content", ["", " \n", None, []])
def test_an_empty_last_assistant_message_begins_the_models_turn(content: object) -> None:
    prompt = chat_prompt(ollama_chat(messages=[USER, {"role": "assistant", "content": content}]))
    assert [message.role for message in prompt.messages] == ["user"]
    assert not prompt.continue_final_message


def test_a_template_is_not_supported() -> None:
    with pytest.raises(InvalidRequest, match=r"^template is not supported$") as caught:
        ollama_generate(template="{{ .Prompt }}")
    assert caught.value.param == "template"


def test_a_suffix_asks_for_the_text_between_prompt_and_suffix() -> None:
    call = ollama_generate(prompt="def f(", suffix=")", system="Be brief.")
    assert call.request.prompt == CompletionPrompt("def f(", suffix=")")
    assert call.request.return_context is False


def test_a_suffix_without_a_prompt_does_not_load_the_model() -> None:
    assert ollama_generate(prompt="", suffix=")").request.prompt == CompletionPrompt("", suffix=")")


@pytest.mark.parametrize("field", [{"images": ["aGk="]}, {"context": [1]}])
def test_a_suffix_cannot_be_combined_with_images_or_context(field: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest, match=r"^suffix does not support images or context$"):
        ollama_generate(suffix="}", **field)


@pytest.mark.parametrize("token", [-1, 1.5, "1", True, None])
def test_context_holds_token_ids(token: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ollama_generate(context=[1, token])
    assert caught.value.param == "context[1]"


def test_a_token_id_may_be_a_float_and_is_clamped_to_64_bits() -> None:
    assert chat_prompt(ollama_generate(context=[2.0, 2**64])).context == (2, 2**63 - 1)


@pytest.mark.parametrize("model", [None, ""])
def test_a_missing_model_is_a_400_for_chat_and_a_404_for_generate(model: str | None) -> None:
    with pytest.raises(InvalidRequest, match=r"^model is required$"):
        ollama_chat(model=model)
    with pytest.raises(ModelNotFound, match=r"^model '' not found$"):
        ollama_generate(model=model)


def test_a_missing_model_is_the_default_one() -> None:
    settings = DialectSettings(default_model="pico-tiny")
    assert ollama_chat(model="", settings=settings).model == "pico-tiny"
    assert ollama_generate(model=None, settings=settings).model == "pico-tiny"


@pytest.mark.parametrize("top_logprobs", [-1, 21])
@pytest.mark.parametrize("logprobs", [True, False])
def test_top_logprobs_out_of_range_are_refused_in_ollamas_words(top_logprobs: int, logprobs: bool) -> None:
    with pytest.raises(InvalidRequest, match=r"^top_logprobs must be between 0 and 20$"):
        ollama_chat(logprobs=logprobs, top_logprobs=top_logprobs)


@pytest.mark.parametrize(
    ("members", "top_logprobs"),
    [({}, None), ({"top_logprobs": 3}, None), ({"logprobs": True}, 0), ({"logprobs": True, "top_logprobs": 3}, 3)],
)
def test_top_logprobs_count_only_with_logprobs(members: dict[str, object], top_logprobs: int | None) -> None:
    assert ollama_chat(**members).request.top_logprobs == top_logprobs


def test_roles_are_lower_cased() -> None:
    assert chat_prompt(ollama_chat(messages=[{"role": "User", "content": "hi"}])).messages == (HI,)


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        ollama_chat(messages=[{"role": "robot", "content": "hi"}])
    assert caught.value.param == "messages[0].role"


def test_null_content_is_empty() -> None:
    assert chat_prompt(ollama_chat(messages=[{"role": "user", "content": None}])).messages == (Message("user"),)


@pytest.mark.parametrize(
    ("field", "value"),
    [("model", 5), ("messages", {}), ("stream", "yes"), ("truncate", 1), ("logprobs", 1), ("keep_alive", [])],
)
def test_wrong_types_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ollama_chat(**{field: value})
    assert caught.value.param == field


@pytest.mark.parametrize(
    ("field", "value"), [("prompt", 5), ("system", []), ("suffix", 1), ("raw", "x"), ("context", "x"), ("images", 1)]
)
def test_wrong_types_of_generate_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ollama_generate(**{field: value})
    assert caught.value.param == field


@pytest.mark.parametrize(
    "body", [{"model": "x"}, {"name": "x"}, {"model": "", "name": "x"}, {"model": "x", "name": "", "verbose": True}]
)
def test_a_model_is_named_by_model_or_name(body: dict[str, object]) -> None:
    assert parse_ollama_show(encoded(**body)) == "x"


@pytest.mark.parametrize("body", [{}, {"model": ""}, {"model": None, "name": ""}])
def test_without_a_name_a_model_is_required(body: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest, match=r"^model is required$"):
        parse_ollama_show(encoded(**body))


def test_a_pull_streams_by_default() -> None:
    assert parse_ollama_pull(encoded(model="x", insecure=True)) == OllamaPullCall("x", stream=True)
    assert parse_ollama_pull(encoded(name="x", stream=False)) == OllamaPullCall("x", stream=False)


@pytest.mark.parametrize(
    "parse",
    [
        lambda body: parse_ollama_chat(body, request_id="r", settings=DialectSettings()),
        lambda body: parse_ollama_generate(body, request_id="r", settings=DialectSettings()),
        parse_ollama_show,
        parse_ollama_pull,
    ],
)
def test_an_empty_body_is_missing_on_every_endpoint(parse: Callable[[bytes], object]) -> None:
    with pytest.raises(InvalidRequest, match=r"^missing request body$"):
        parse(b"")
