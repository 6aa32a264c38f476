from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from pico_jupyter.engine.formats.output_format import OutputFormat
from pico_jupyter.engine.preparation.prompt import RenderedPrompt, reasoning_at_end, render_prompt
from pico_jupyter.engine.text.tokenizer import Tokenizer
from pico_jupyter.errors import (
    ContextLengthExceeded,
    InvalidRequest,
    MediaUnsupported,
    ReasoningUnsupported,
    TemplateFailed,
)
from pico_jupyter.template_switch import TemplateSwitch
from pico_jupyter.types import (
    ChatPrompt,
    GenerationRequest,
    ImagePart,
    Message,
    ModelInfo,
    RawPrompt,
    Role,
    Structure,
    TextPart,
    ToolCall,
    VideoPart,
)
from tests.engine.preparation.conftest import WithTemplate
from tests.fakes.backend import fake_info

# Prints each message as JSON on its own line: exactly what the template gets.
SHOWS_ALL = "{% for message in messages %}{{ message | tojson }}\n{% endfor %}"
SHOWS_SWITCHES = (
    "{{ enable_thinking | default('none') }} {{ thinking | default('none') }} "
    "{{ reasoning_effort | default('none') }} {{ extra | default('none') }}"
)
# As in Qwen3-Thinking and DeepSeek-R1, the prompt opens the reasoning block.
OPENS_THE_BLOCK = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
# As in Mistral, an error unless user and assistant alternate.
ALTERNATES = (
    "{% for message in messages if message.role != 'system' %}"
    "{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant/user') }}{% endif %}"
    "[{{ message.role }}]{{ message.content }}{% endfor %}"
)
# As in Gemma, an error for a system message.
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}"
)
# As in Llama 3, no reasoning switch.
PLAIN = "{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}[assistant]"

SWITCH = TemplateSwitch({"enable_thinking": True}, {"enable_thinking": False}, "reasoning_effort", ("low", "high"))


def info(**changes: Any) -> ModelInfo:
    thinks: dict[str, Any] = {
        "capabilities": ("completion", "thinking", "tools"),
        "reasoning_switch": SWITCH,
        "reasoning_default": True,
    }
    return msgspec.structs.replace(fake_info("tiny"), **(thinks | changes))


NO_FEATURES = info(capabilities=("completion",), reasoning_switch=None, reasoning_default=False)


def message_of(role: Role, text: str, **more: Any) -> Message:
    return Message(role, (TextPart(text),), **more)


def chat(*messages: Message, **more: Any) -> ChatPrompt:
    return ChatPrompt(messages or (message_of("user", "hi"),), **more)


def request_for(prompt: ChatPrompt | RawPrompt | None = None, **more: Any) -> GenerationRequest:
    return GenerationRequest("id", "tiny", prompt or chat(), **more)


def printed(rendered: RenderedPrompt, tokenizer: Tokenizer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text_of(rendered, tokenizer).splitlines()]


def text_of(rendered: RenderedPrompt, tokenizer: Tokenizer) -> str:
    return b"".join(tokenizer.token_bytes(i) for i in rendered.tokens).decode()


def test_a_chat_is_rendered_with_the_models_template(pico: Tokenizer) -> None:
    rendered = render_prompt(request_for(), info(), pico)
    assert text_of(rendered, pico) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


def test_a_raw_prompt_is_not_rendered(pico: Tokenizer) -> None:
    rendered = render_prompt(request_for(RawPrompt("a  b\n")), info(), pico)
    assert text_of(rendered, pico) == "a  b\n"
    assert rendered.continuation


def test_text_parts_are_joined_to_plain_content(with_template: WithTemplate) -> None:
    tokenizer = with_template(SHOWS_ALL)
    message = Message("user", (TextPart("a"), TextPart("b")))
    assert printed(render_prompt(request_for(chat(message)), info(), tokenizer), tokenizer) == [
        {"role": "user", "content": "ab"}
    ]


def test_system_messages_are_merged_into_one_in_front(with_template: WithTemplate) -> None:
    tokenizer = with_template(SHOWS_ALL)
    prompt = chat(message_of("system", "a"), message_of("user", "b"), message_of("system", "c"))
    assert printed(render_prompt(request_for(prompt), info(), tokenizer), tokenizer) == [
        {"role": "system", "content": "a\n\nc"},
        {"role": "user", "content": "b"},
    ]


def test_the_template_gets_reasoning_apart_from_the_content(with_template: WithTemplate) -> None:
    tokenizer = with_template(SHOWS_ALL)
    prompt = chat(message_of("user", "q"), message_of("assistant", "a", reasoning="r"))
    turn = printed(render_prompt(request_for(prompt), info(), tokenizer), tokenizer)[1]
    assert (turn["content"], turn["reasoning_content"]) == ("a", "r")


def test_inline_reasoning_is_removed_from_the_content(with_template: WithTemplate) -> None:
    tokenizer = with_template(SHOWS_ALL)
    prompt = chat(message_of("user", "q"), message_of("assistant", "<think>\nr\n</think>\n\na"))
    turn = printed(render_prompt(request_for(prompt), info(), tokenizer), tokenizer)[1]
    assert (turn["content"], turn["reasoning_content"]) == ("a", "r")


@pytest.mark.parametrize("text", ["a <think>r</think> b", "<think>r", "</think>"])
def test_a_tag_inside_an_earlier_answer_is_content(with_template: WithTemplate, text: str) -> None:
    tokenizer = with_template(SHOWS_ALL)
    prompt = chat(message_of("user", "q"), message_of("assistant", text))
    turn = printed(render_prompt(request_for(prompt), info(), tokenizer), tokenizer)[1]
    assert turn == {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    ("written", "given"),
    [
        ('{"a": 1}', {"a": 1}),
        ("", {}),
        (" ", {}),
        ("null", {}),
        ('"Paris"', {"value": "Paris"}),
        ('""', {"value": ""}),
        ("[1]", {"value": [1]}),
        ("7", {"value": 7}),
        ("{bad", {"value": "{bad"}),
        ("{'a': None}", {"a": None}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ('{"a": "\\ud83d"}', {"a": "?"}),
    ],
    ids=str,
)
def test_the_arguments_of_a_past_call_become_an_object(
    with_template: WithTemplate, written: str, given: object
) -> None:
    tokenizer = with_template(SHOWS_ALL)
    call = Message("assistant", tool_calls=(ToolCall("c1", "add", written),))
    turn = printed(render_prompt(request_for(chat(message_of("user", "q"), call)), info(), tokenizer), tokenizer)[1]
    assert turn["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": given}},
    ]


def test_deeply_nested_arguments_are_text(with_template: WithTemplate) -> None:
    written = "[" * 100_000
    call = Message("assistant", tool_calls=(ToolCall("c1", "add", written),))
    request = request_for(chat(message_of("user", "q"), call))
    tokenizer = with_template(SHOWS_ALL)
    rendered = render_prompt(request, info(context_length=10**6), tokenizer)
    assert printed(rendered, tokenizer)[1]["tool_calls"][0]["function"]["arguments"] == {"value": written}


def test_a_tool_result_without_a_name_gets_that_of_the_latest_call_with_its_id(with_template: WithTemplate) -> None:
    tokenizer = with_template(SHOWS_ALL)
    prompt = chat(
        message_of("user", "q"),
        Message("assistant", tool_calls=(ToolCall("c1", "add", "{}"),)),
        message_of("tool", "1", tool_call_id="c1"),
        Message("assistant", tool_calls=(ToolCall("c1", "sub", "{}"),)),
        message_of("tool", "2", tool_call_id="c1"),
        message_of("tool", "3", tool_call_id="c1", name="own"),
        message_of("tool", "4", tool_call_id="unknown"),
    )
    turns = printed(render_prompt(request_for(prompt), info(), tokenizer), tokenizer)
    assert [turn.get("name") for turn in turns if turn["role"] == "tool"] == ["add", "sub", "own", None]


def test_the_template_and_the_parser_get_the_tools(pico: Tokenizer) -> None:
    tools = '[{"type": "function", "function": {"name": "add", "parameters": {}}}]'
    rendered = render_prompt(request_for(chat(tools=tools)), info(), pico)
    assert '"name": "add"' in text_of(rendered, pico)
    assert rendered.tools == tools


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (request_for(), "none none none none"),
        (request_for(reasoning=True), "True none none none"),
        (request_for(reasoning=False), "False none none none"),
        (request_for(reasoning=True, reasoning_effort="high"), "True none high none"),
        (request_for(chat(template_kwargs='{"extra": "x"}')), "none none none x"),
        (request_for(chat(template_kwargs='{"enable_thinking": false}')), "False none none none"),
        (request_for(chat(template_kwargs='{"enable_thinking": false}'), reasoning=True), "True none none none"),
    ],
    ids=["unset", "on", "off", "effort", "another variable", "only the variable", "the switch wins"],
)
def test_a_template_gets_only_the_variables_of_the_request(
    with_template: WithTemplate, request_: GenerationRequest, expected: str
) -> None:
    tokenizer = with_template(SHOWS_SWITCHES)
    assert text_of(render_prompt(request_, info(), tokenizer), tokenizer) == expected


@pytest.mark.parametrize(
    "variable", ["tools", "messages", "continue_final_message", "tokenize", "conversations", "self"]
)
def test_reserved_variables_of_a_request_are_ignored(pico: Tokenizer, variable: str) -> None:
    prompt = chat(template_kwargs=json.dumps({variable: "x"}))
    assert render_prompt(request_for(prompt), info(), pico) == render_prompt(request_for(), info(), pico)


@pytest.mark.parametrize(
    ("model", "reasoning", "expected"),
    [
        (info(), None, True),
        (info(), True, True),
        (info(), False, False),
        (info(reasoning_default=False), None, False),
        (info(reasoning_default=False), True, True),
        (info(reasoning_switch=TemplateSwitch()), False, True),
        (NO_FEATURES, None, False),
        (NO_FEATURES, True, False),
    ],
)
def test_a_rendered_prompt_has_whether_the_model_may_reason(
    with_template: WithTemplate, model: ModelInfo, reasoning: bool | None, expected: bool
) -> None:
    rendered = render_prompt(request_for(reasoning=reasoning), model, with_template(PLAIN))
    assert rendered.reasoning is expected
    assert not rendered.reasoning_started


def test_a_template_that_opens_the_block_starts_the_reasoning(with_template: WithTemplate) -> None:
    rendered = render_prompt(request_for(), info(reasoning_switch=TemplateSwitch()), with_template(OPENS_THE_BLOCK))
    assert rendered.reasoning
    assert rendered.reasoning_started


def test_a_template_that_closes_an_empty_block_ends_the_reasoning(pico: Tokenizer) -> None:
    rendered = render_prompt(request_for(reasoning=False), info(), pico)
    assert text_of(rendered, pico).endswith("<think>\n\n</think>\n\n")
    assert not rendered.reasoning
    assert not rendered.reasoning_started


def test_a_tag_in_a_question_does_not_start_reasoning(pico: Tokenizer) -> None:
    rendered = render_prompt(request_for(chat(message_of("user", "what is <think>"))), info(), pico)
    assert not rendered.reasoning_started


def test_a_raw_prompt_may_open_the_block_itself(pico: Tokenizer) -> None:
    assert render_prompt(request_for(RawPrompt("Q: 1+1\n<think>\n")), info(), pico).reasoning_started


@pytest.mark.parametrize(
    ("text", "started", "closed"),
    [
        ("a<think>\n", True, False),
        ("<think>\n\n</think>\n\n", False, True),
        ("<think>a", False, False),
        ("", False, False),
    ],
)
def test_only_a_tag_at_the_end_of_a_prompt_counts(text: str, started: bool, closed: bool) -> None:
    assert reasoning_at_end(text, OutputFormat("<think>", "</think>")) == (started, closed)
    assert reasoning_at_end(text, OutputFormat()) == (False, False)


def test_the_last_message_may_be_continued(with_template: WithTemplate) -> None:
    tokenizer = with_template(OPENS_THE_BLOCK)
    prompt = chat(message_of("user", "q"), message_of("assistant", "The answer is"), continue_final_message=True)
    rendered = render_prompt(request_for(prompt), info(), tokenizer)
    assert text_of(rendered, tokenizer) == "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\nThe answer is"
    assert rendered.continuation
    assert not rendered.reasoning_started


@pytest.mark.parametrize("begun", ["x =", "x = ", "x =\n\n", " x = "])
@pytest.mark.parametrize("trim", ["", " | trim"])
def test_a_continued_message_keeps_its_last_space(with_template: WithTemplate, begun: str, trim: str) -> None:
    tokenizer = with_template(OPENS_THE_BLOCK.replace("message.content", f"message.content{trim}"))
    prompt = chat(message_of("user", "q"), message_of("assistant", begun), continue_final_message=True)
    text = text_of(render_prompt(request_for(prompt), info(), tokenizer), tokenizer)
    assert text.endswith("assistant\n" + (begun.lstrip() if trim else begun))


def test_a_continued_message_may_end_inside_its_reasoning(with_template: WithTemplate) -> None:
    prompt = chat(message_of("user", "q"), message_of("assistant", "<think>\nSo, 1 + 1"), continue_final_message=True)
    assert render_prompt(request_for(prompt), info(), with_template(OPENS_THE_BLOCK)).reasoning_started


def test_only_a_message_of_the_assistant_can_be_continued(pico: Tokenizer) -> None:
    with pytest.raises(InvalidRequest, match="assistant"):
        render_prompt(request_for(chat(continue_final_message=True)), info(), pico)


def test_required_reasoning_is_refused_by_a_model_without_it(pico: Tokenizer) -> None:
    with pytest.raises(ReasoningUnsupported) as failure:
        render_prompt(request_for(reasoning=True, reasoning_required=True), NO_FEATURES, pico)
    assert failure.value.message == '"tiny" does not support thinking'
    assert failure.value.model == "tiny"


def test_optional_reasoning_is_ignored_by_a_model_without_it(with_template: WithTemplate) -> None:
    tokenizer = with_template(PLAIN)
    assert (
        text_of(render_prompt(request_for(reasoning=True), NO_FEATURES, tokenizer), tokenizer) == "[user]hi[assistant]"
    )


def test_tools_are_refused_by_a_model_without_them_if_generic_tools_are_off(pico: Tokenizer) -> None:
    tools = '[{"type": "function", "function": {"name": "add", "parameters": {}}}]'
    with pytest.raises(InvalidRequest, match="tiny does not support tools") as failure:
        render_prompt(request_for(chat(tools=tools)), NO_FEATURES, pico, generic_tools=False)
    assert failure.value.param == "tools"


def test_reasoning_off_is_accepted_by_a_model_without_it(pico: Tokenizer) -> None:
    assert not render_prompt(request_for(reasoning=False, reasoning_required=True), NO_FEATURES, pico).reasoning


@pytest.mark.parametrize("part", [ImagePart("messages[0].content[1]", b"x"), VideoPart("messages[0].v", b"x")])
def test_the_error_for_media_names_their_field(pico: Tokenizer, part: ImagePart | VideoPart) -> None:
    with pytest.raises(MediaUnsupported) as failure:
        render_prompt(request_for(chat(Message("user", (TextPart("see"), part)))), info(), pico)
    assert failure.value.message == (
        "The request includes images, video or audio, but 'tiny' cannot be loaded as a vision model. "
        "Choose a vision-capable model or remove the attachments."
    )
    assert failure.value.param == part.param


def test_consecutive_messages_of_one_role_are_merged_if_the_template_requires_it(with_template: WithTemplate) -> None:
    tokenizer = with_template(ALTERNATES)
    prompt = chat(
        *(message_of(role, text) for role, text in [("user", "a"), ("user", "b"), ("assistant", "c"), ("user", "d")])
    )
    assert (
        text_of(render_prompt(request_for(prompt), NO_FEATURES, tokenizer), tokenizer)
        == "[user]a\n\nb[assistant]c[user]d"
    )


def test_messages_are_not_merged_if_the_template_accepts_them(with_template: WithTemplate) -> None:
    tokenizer = with_template(PLAIN)
    prompt = chat(message_of("user", "a"), message_of("user", "b"))
    assert text_of(render_prompt(request_for(prompt), NO_FEATURES, tokenizer), tokenizer) == "[user]a[user]b[assistant]"


def test_merged_messages_keep_calls_and_reasoning_and_tool_results_are_not_merged(
    with_template: WithTemplate,
) -> None:
    raises_on_neighbours = (
        "{% for message in messages %}{% if not loop.first and message.role == 'assistant' and "
        "messages[loop.index0 - 1].role == 'assistant' %}{{ raise_exception('twice') }}{% endif %}{% endfor %}"
        + SHOWS_ALL
    )
    tokenizer = with_template(raises_on_neighbours)
    prompt = chat(
        message_of("user", "q"),
        message_of("assistant", "a", reasoning="r", tool_calls=(ToolCall("c1", "add", "{}"),)),
        message_of("assistant", "b", reasoning="s", tool_calls=(ToolCall("c2", "sub", "{}"),)),
        message_of("tool", "1", tool_call_id="c1"),
        message_of("tool", "2", tool_call_id="c2"),
    )
    _, merged, *results = printed(render_prompt(request_for(prompt), info(), tokenizer), tokenizer)
    assert (merged["content"], merged["reasoning_content"]) == ("a\n\nb", "r\n\ns")
    assert [call["id"] for call in merged["tool_calls"]] == ["c1", "c2"]
    assert [result["name"] for result in results] == ["add", "sub"]


def test_a_system_message_that_the_template_refuses_joins_the_question(with_template: WithTemplate) -> None:
    tokenizer = with_template(NO_SYSTEM)
    prompt = chat(message_of("system", "s"), message_of("user", "u"))
    assert text_of(render_prompt(request_for(prompt), NO_FEATURES, tokenizer), tokenizer) == "[user]s\n\nu"


def test_the_error_of_a_template_is_returned_to_the_client(with_template: WithTemplate) -> None:
    tokenizer = with_template(
        "{% if not guideline %}{{ raise_exception('a guideline is missing') }}{% endif %}" + PLAIN
    )
    with pytest.raises(TemplateFailed, match=r"^chat template error: a guideline is missing"):
        render_prompt(request_for(chat(message_of("user", "u"))), NO_FEATURES, tokenizer)


def test_a_chat_without_messages_is_refused(pico: Tokenizer) -> None:
    with pytest.raises(InvalidRequest, match="no messages"):
        render_prompt(request_for(ChatPrompt(())), info(), pico)


def test_context_precedes_the_prompt(pico: Tokenizer) -> None:
    alone = render_prompt(request_for(), info(), pico).tokens
    assert render_prompt(request_for(chat(context=(5, 6))), info(), pico).tokens == [5, 6, *alone]


@pytest.mark.parametrize("token", [-1, 10**9])
def test_an_invalid_token_in_the_context_is_refused(pico: Tokenizer, token: int) -> None:
    with pytest.raises(InvalidRequest) as failure:
        render_prompt(request_for(chat(context=(token,))), info(), pico)
    assert failure.value.param == "context"


@pytest.mark.parametrize(("asked_for", "granted"), [(None, 90), (5, 5), (0, 0), (1000, 90)])
def test_max_tokens_is_limited_to_the_rest_of_the_context(pico: Tokenizer, asked_for: int | None, granted: int) -> None:
    prompt = RawPrompt("1" * 10)
    length = len(render_prompt(request_for(prompt), info(), pico).tokens)
    rendered = render_prompt(request_for(prompt, max_tokens=asked_for), info(context_length=length + 90), pico)
    assert rendered.max_tokens == granted


def test_the_request_may_ask_for_a_smaller_context(pico: Tokenizer) -> None:
    length = len(render_prompt(request_for(), info(), pico).tokens)
    assert render_prompt(request_for(max_context=length + 3), info(), pico).max_tokens == 3
    assert render_prompt(request_for(max_context=10**9), info(context_length=length + 4), pico).max_tokens == 4


@pytest.mark.parametrize(("prompt", "param"), [(chat(), "messages"), (RawPrompt("a b c d e"), "prompt")])
def test_the_error_for_a_long_prompt_names_both_numbers(
    pico: Tokenizer, prompt: ChatPrompt | RawPrompt, param: str
) -> None:
    length = len(render_prompt(request_for(prompt), info(), pico).tokens)
    with pytest.raises(ContextLengthExceeded) as failure:
        render_prompt(request_for(prompt), info(context_length=length), pico)
    assert failure.value.message == f"the prompt has {length} tokens, and the context holds {length} with the answer"
    assert failure.value.param == param


def test_the_error_for_a_large_schema_or_tool_names_its_field(pico: Tokenizer) -> None:
    schema = json.dumps({"enum": [f"value {number}" for number in range(100)]})
    tools = json.dumps([{"type": "function", "function": {"name": "f", "description": schema}}])
    structure = Structure("json_schema", schema, "response_format")
    question = message_of("user", "hi")
    for request, field in (
        (request_for(chat(question), structure=structure), "response_format"),
        (request_for(chat(question, tools=tools)), "tools"),
        (request_for(chat(message_of("user", schema), tools="[]"), structure=Structure("json_object")), "messages"),
    ):
        with pytest.raises(ContextLengthExceeded) as failure:
            render_prompt(request, info(context_length=300), pico)
        assert failure.value.param == field
        assert (f"those of '{field}'" in failure.value.message) == (field != "messages")


class CountingTokenizer:
    """A tokenizer that counts the characters that it encodes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.characters = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        self.characters += len(text)
        return self._tokenizer.encode(text, add_special_tokens)


@pytest.mark.parametrize("truncate", [False, True])
def test_a_huge_text_is_refused_before_it_is_encoded_whole(pico: Tokenizer, truncate: bool) -> None:
    text = "x y z " * 1_000_000
    for prompt in (chat(message_of("user", text), truncate=truncate), RawPrompt(text)):
        counting: Any = CountingTokenizer(pico)
        with pytest.raises(ContextLengthExceeded, match="more than 100 tokens"):
            render_prompt(request_for(prompt), info(context_length=100), counting)
        assert counting.characters < len(text) / 10


def test_a_large_text_that_fits_is_encoded_in_one_call(pico: Tokenizer) -> None:
    text = "1234 times 567 is what? " * 5_000
    rendered = render_prompt(request_for(RawPrompt(text)), info(context_length=1_000_000), pico)
    assert rendered.tokens == pico.encode(text, add_special_tokens=False)


def test_the_last_question_is_kept_after_a_huge_turn(with_template: WithTemplate) -> None:
    messages = [message_of("user", "x y z " * 100_000), message_of("assistant", "a"), message_of("user", "last")]
    tokenizer = with_template(PLAIN)
    rendered = render_prompt(request_for(chat(*messages, truncate=True), max_context=100), NO_FEATURES, tokenizer)
    assert text_of(rendered, tokenizer) == "[user]last[assistant]"


def conversation(turns: int) -> list[Message]:
    each = [(message_of("user", f"question {i}"), message_of("assistant", f"answer {i}")) for i in range(turns)]
    return [
        message_of("system", "be brief"),
        *(message for turn in each for message in turn),
        message_of("user", "last"),
    ]


@pytest.mark.parametrize("limit", range(20, 130, 5))
def test_the_oldest_turns_are_removed_until_the_prompt_fits(with_template: WithTemplate, limit: int) -> None:
    tokenizer = with_template(PLAIN)
    messages = conversation(6)
    candidates = [messages, *([messages[0], *messages[start:]] for start in range(3, len(messages), 2))]
    texts = ["".join(f"[{m.role}]{m.content[0].text}" for m in kept) + "[assistant]" for kept in candidates]
    fitting = [text for text in texts if len(tokenizer.encode(text, add_special_tokens=False)) < limit]
    request = request_for(chat(*messages, truncate=True), max_context=limit)
    if fitting:
        assert text_of(render_prompt(request, NO_FEATURES, tokenizer), tokenizer) == fitting[0]
    else:
        with pytest.raises(ContextLengthExceeded):
            render_prompt(request, NO_FEATURES, tokenizer)


def test_the_last_message_is_kept_even_if_it_is_a_tool_result(with_template: WithTemplate) -> None:
    tokenizer = with_template(PLAIN)
    messages = [
        message_of("user", "a long question " * 20),
        message_of("assistant", "long " * 20),
        message_of("tool", "result"),
    ]
    request = request_for(chat(*messages, truncate=True), max_context=40)
    assert text_of(render_prompt(request, NO_FEATURES, tokenizer), tokenizer) == "[tool]result[assistant]"


@pytest.mark.parametrize("limit", range(50, 160, 10))
def test_a_long_loop_of_calls_keeps_its_question(with_template: WithTemplate, limit: int) -> None:
    rounds = [(message_of("assistant", f"call {i}"), message_of("tool", f"result {i}")) for i in range(6)]
    messages = [*conversation(2), *(message for turn in rounds for message in turn)]
    tokenizer = with_template(PLAIN)
    request = request_for(chat(*messages, truncate=True), max_context=limit)
    text = text_of(render_prompt(request, NO_FEATURES, tokenizer), tokenizer)
    first = text.count("[tool]")
    kept = "".join(f"[assistant]call {i}[tool]result {i}" for i in range(6 - first, 6))
    assert text.endswith(f"[user]last{kept}[assistant]")
    assert first > 0


@pytest.mark.parametrize("limit", range(40, 90, 10))
def test_a_cut_that_the_template_refuses_is_skipped(with_template: WithTemplate, limit: int) -> None:
    tokenizer = with_template(
        "{% if messages | selectattr('role', 'eq', 'user') | list | length == 0 %}"
        "{{ raise_exception('No user query found in messages.') }}{% endif %}" + PLAIN
    )
    last = [message_of("user", "last"), message_of("assistant", "let me look"), message_of("tool", "result")]
    request = request_for(chat(*conversation(6)[:-1], *last, truncate=True), max_context=limit)
    text = text_of(render_prompt(request, NO_FEATURES, tokenizer), tokenizer)
    assert text.endswith("[user]last[assistant]let me look[tool]result[assistant]")


def test_without_truncation_a_long_conversation_is_refused(with_template: WithTemplate) -> None:
    with pytest.raises(ContextLengthExceeded):
        render_prompt(request_for(chat(*conversation(6)), max_context=40), NO_FEATURES, with_template(PLAIN))


def test_the_last_boundary_is_the_end_of_the_last_message(pico: Tokenizer) -> None:
    rendered = render_prompt(
        request_for(chat(message_of("user", "one"), message_of("assistant", "two"), message_of("user", " three "))),
        info(),
        pico,
    )
    before = b"".join(pico.token_bytes(token) for token in rendered.tokens[: rendered.boundaries[-1]]).decode()
    assert before == "<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\ntwo<|im_end|>\n<|im_start|>user\n three"


@pytest.mark.parametrize("reasoning", [None, True, False])
def test_the_next_turn_begins_with_the_tokens_before_the_boundary(pico: Tokenizer, reasoning: bool | None) -> None:
    turns = [message_of("user", "one"), message_of("assistant", "two"), message_of("user", "three")]
    first = render_prompt(request_for(chat(*turns[:1]), reasoning=reasoning), info(), pico)
    second = render_prompt(request_for(chat(*turns), reasoning=reasoning), info(), pico)
    (boundary,) = first.boundaries
    assert 0 < boundary < len(first.tokens)
    assert second.tokens[:boundary] == first.tokens[:boundary]


def test_a_prompt_without_its_last_message_has_no_boundary(with_template: WithTemplate) -> None:
    assert render_prompt(request_for(), info(), with_template("empty")).boundaries == ()
    assert render_prompt(request_for(RawPrompt("hello")), info(), with_template("x")).boundaries == ()


def test_a_long_system_message_ends_at_a_boundary(pico: Tokenizer) -> None:
    system = message_of("system", "Be brief. " * 40)
    one, two = (
        render_prompt(request_for(chat(system, message_of("user", text))), info(), pico) for text in ("one", "another")
    )
    assert len(one.boundaries) == 2
    assert one.boundaries[0] == two.boundaries[0]
    assert one.tokens[: one.boundaries[0]] == two.tokens[: one.boundaries[0]]
    before = b"".join(pico.token_bytes(token) for token in one.tokens[: one.boundaries[0]]).decode()
    assert before.count("Be brief.") == 40


def test_a_continued_message_has_no_boundary(pico: Tokenizer) -> None:
    continued = chat(message_of("user", "one"), message_of("assistant", "two"), continue_final_message=True)
    assert render_prompt(request_for(continued), info(), pico).boundaries == ()


def test_a_model_without_reasoning_needs_no_boundary(pico: Tokenizer) -> None:
    assert render_prompt(request_for(), NO_FEATURES, pico).boundaries == ()


def test_the_last_boundary_of_a_model_without_reasoning_is_the_prompts_end(
    pico: Tokenizer,
) -> None:
    system = Message("system", (TextPart("You know " + "a lot about " * 40 + "pandas."),))
    rendered = render_prompt(request_for(ChatPrompt((system, Message("user", (TextPart("Hi"),))))), NO_FEATURES, pico)
    assert len(rendered.boundaries) == 2
    assert rendered.boundaries[-1] == len(rendered.tokens) - 1
