"""Conversations that real chat templates refuse, or of which they leave texts out, are rewritten for them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pico_jupyter.types import Message, Role, TextPart, ToolCall
from tests.engine.preparation.conftest import WithTemplate
from tests.engine.preparation.test_chat_renderer import CALL, CALLS, PLAIN, QUESTION, RESULT, TOOLS, text_by

BODY = "[{{ m.role }}]{{ m.content }}" + CALLS
PRINTS = BODY + "{% endfor %}"
EACH = "{{ tools }}{% for m in messages %}"
RAISES = "{{ raise_exception('refused') }}{% endif %}"
ALTERNATES = EACH + "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}" + RAISES + PRINTS
NO_SYSTEM = EACH + "{% if m.role != 'system' %}" + BODY + "{% endif %}{% endfor %}"
NO_LONE_RESULT = (  # As in gpt-oss.
    EACH + "{% set last = messages[loop.index0 - 1] %}"
    "{% if m.role == 'tool' and not (last.tool_calls or last.role == 'tool') %}" + RAISES + PRINTS
)
FORWARD_RESULTS = (  # As in Gemma 4: a result is printed with the calls before it, or not at all.
    EACH + "{% if m.role != 'tool' %}[{{ m.role }}]{{ m.content }}" + CALLS + "{% for c in m.tool_calls %}"
    "{% for r in messages if r.tool_call_id == c.id %}[tool]{{ r.content }}{% endfor %}{% endfor %}"
    "{% endif %}{% endfor %}"
)
MISTRAL = (  # Calls and results are no turns, and a text beside calls is not printed.
    "{{ tools }}{% set ns = namespace(index=0) %}{% for m in messages %}"
    "{% if m.role == 'user' or (m.role == 'assistant' and not m.tool_calls) %}"
    "{% if (m.role == 'user') != (ns.index % 2 == 0) %}" + RAISES + "{% set ns.index = ns.index + 1 %}{% endif %}"
    "[{{ m.role }}]{% if m.tool_calls %}" + CALLS + "{% else %}{{ m.content }}{% endif %}{% endfor %}"
)
NEEDS_QUESTION = (  # As in Qwen3.5.
    "{{ tools }}{% if not messages | selectattr('role', 'equalto', 'user') | list %}" + RAISES + EACH + PRINTS
)
LAST_SYSTEM = (  # As in Mistral Nemo: the system message is printed beside a question at the end.
    EACH + "{% if m.role == 'user' and loop.last %}{{ messages[0].content }}{% endif %}"
    "{% if m.role != 'system' %}" + BODY + "{% endif %}{% endfor %}"
)
NO_EMPTY_ANSWER = EACH + "{% if m.role == 'assistant' and not m.content and not m.tool_calls %}" + RAISES + PRINTS
LISTS = (
    "{% for m in messages %}{% if m.role == 'system' %}" + RAISES + "[{{ m.role }}]{{ m.content[0].text }}{% endfor %}"
)


def said(role: Role, text: str = "", **more: Any) -> Message:
    return Message(role, (TextPart(text),) if text else (), **more)


SYSTEM, ANSWER, NEXT = said("system", "s"), said("assistant", "a"), said("user", "n")
LONE = said("tool", "lone", tool_call_id="fedcba321")
SAYING = msgspec.structs.replace(CALL, content=(TextPart("I look."),))


def rendered(with_template: WithTemplate, template: str, *messages: Message, tools: str = "[]") -> str:
    return text_by(with_template(template), *messages, tools=tools)


def test_an_answer_that_begins_the_conversation_follows_an_empty_question(with_template: WithTemplate) -> None:
    assert rendered(with_template, ALTERNATES, ANSWER, QUESTION).endswith("[user][assistant]a[user]q")


def test_a_system_message_and_an_answer_begin_with_the_system_text(with_template: WithTemplate) -> None:
    assert rendered(with_template, ALTERNATES, SYSTEM, ANSWER, QUESTION).endswith("[user]s[assistant]a[user]q")


def test_a_conversation_that_the_template_accepts_is_not_rewritten(with_template: WithTemplate) -> None:
    template = EACH + PRINTS
    messages = (SYSTEM, ANSWER, LONE, QUESTION, NEXT, SAYING, NEXT, ANSWER, ANSWER)
    expected = '[system]s[assistant]a[tool]lone[user]q[user]n[assistant]I look.weather({"city": "Rome"})'
    assert rendered(with_template, template, *messages).endswith(expected + "[user]n[assistant]a[assistant]a")


def test_a_system_text_that_the_template_leaves_out_joins_the_question(with_template: WithTemplate) -> None:
    assert rendered(with_template, NO_SYSTEM, SYSTEM, QUESTION).endswith("[user]s\n\nq")


def test_a_system_text_that_the_template_leaves_out_precedes_a_first_answer(with_template: WithTemplate) -> None:
    assert rendered(with_template, NO_SYSTEM, SYSTEM, ANSWER, QUESTION).endswith("[user]s[assistant]a[user]q")


@pytest.mark.parametrize("template", [NO_SYSTEM, ALTERNATES])
def test_a_system_message_alone_becomes_a_question(with_template: WithTemplate, template: str) -> None:
    assert rendered(with_template, template, SYSTEM).endswith("[user]s")


def test_a_system_message_alone_precedes_an_empty_question_if_the_template_needs_one(
    with_template: WithTemplate,
) -> None:
    assert rendered(with_template, NEEDS_QUESTION, SYSTEM).endswith("[system]s[user]")


def test_a_system_text_is_moved_in_a_conversation_in_which_it_is_left_out(with_template: WithTemplate) -> None:
    tokenizer = with_template(LAST_SYSTEM)
    assert text_by(tokenizer, SYSTEM, QUESTION, CALL, RESULT, tools=TOOLS).count("[user]s\n\nq") == 1
    assert text_by(tokenizer, SYSTEM, QUESTION, ANSWER, NEXT).endswith("[user]q[assistant]as[user]n")


@pytest.mark.parametrize("template", [NO_LONE_RESULT, FORWARD_RESULTS], ids=["refused", "left out"])
@pytest.mark.parametrize(
    "messages",
    [(QUESTION, LONE), (QUESTION, ANSWER, LONE), (QUESTION, CALL, RESULT, LONE), (LONE, QUESTION)],
    ids=["question", "answer", "result", "first"],
)
def test_a_result_without_its_call_is_a_message_of_the_user(
    with_template: WithTemplate, template: str, messages: tuple[Message, ...]
) -> None:
    text = rendered(with_template, template, *messages, tools=TOOLS)
    assert "[user]<tool_response>\nlone\n</tool_response>" in text


def test_an_image_in_a_result_without_its_call_remains(with_template: WithTemplate) -> None:
    tokenizer = with_template(NO_LONE_RESULT)
    rewriting = next(known for known in tokenizer.history_format.rewritings if known.__name__ == "free_lone_results")
    (freed,) = rewriting([{"role": "tool", "content": [{"type": "image"}, {"type": "text", "text": "t"}]}])
    assert [part["type"] for part in freed["content"]] == ["text", "image", "text"]
    assert freed["content"][-1]["text"] == "t\n</tool_response>"


def test_a_blank_answer_stands_between_a_call_without_a_result_and_a_question(with_template: WithTemplate) -> None:
    text = rendered(with_template, MISTRAL, QUESTION, CALL, NEXT, tools=TOOLS)
    assert text.endswith('[user]q[assistant]weather({"city": "Rome"})[assistant] [user]n')


def test_an_answer_after_a_call_without_a_result_stays_after_it(with_template: WithTemplate) -> None:
    text = rendered(with_template, MISTRAL, QUESTION, CALL, ANSWER, NEXT, tools=TOOLS)
    assert text.endswith('[assistant]weather({"city": "Rome"})[assistant]a[user]n')


def test_a_text_beside_a_call_that_is_left_out_becomes_an_answer_before_it(with_template: WithTemplate) -> None:
    template = EACH + "[{{ m.role }}]{% if m.tool_calls %}" + CALLS + "{% else %}{{ m.content }}{% endif %}{% endfor %}"
    text = rendered(with_template, template, QUESTION, SAYING, RESULT, tools=TOOLS)
    assert text.endswith('[assistant]I look.[assistant]weather({"city": "Rome"})[tool]22')


def test_a_text_beside_a_call_is_a_turn_of_its_own_for_mistral(with_template: WithTemplate) -> None:
    text = rendered(with_template, MISTRAL, QUESTION, SAYING, RESULT, ANSWER, NEXT, tools=TOOLS)
    assert "[assistant]I look.[user][assistant]weather(" in text


def test_an_empty_answer_is_blank_if_the_template_refuses_it(with_template: WithTemplate) -> None:
    assert rendered(with_template, NO_EMPTY_ANSWER, QUESTION, said("assistant"), NEXT).endswith(
        "[user]q[assistant] [user]n"
    )


def test_joined_texts_are_one_part_for_templates_that_read_lists(with_template: WithTemplate) -> None:
    assert rendered(with_template, LISTS, SYSTEM, QUESTION) == "[user]s\n\nq"


def test_consecutive_calls_are_merged_with_their_texts_and_arguments(with_template: WithTemplate) -> None:
    template = (
        EACH + "{% if not loop.first and m.role == 'assistant' == messages[loop.index0 - 1].role %}" + RAISES + PRINTS
    )
    other = msgspec.structs.replace(SAYING, tool_calls=(ToolCall("fedcba321", "other", "{}"),))
    text = rendered(with_template, template, QUESTION, SAYING, other, RESULT, tools=TOOLS)
    assert '[assistant]I look.\n\nI look.weather({"city": "Rome"})other({})[tool]22' in text


def test_a_conversation_that_no_rewriting_mends_is_sent_as_it_is(with_template: WithTemplate) -> None:
    # As in Granite Guardian, which judges only the last message.
    assert rendered(with_template, "{{ messages[-1].content }}", SYSTEM, QUESTION, ANSWER, NEXT) == "n"


def test_a_template_without_a_place_for_calls_gets_lone_results_as_text(with_template: WithTemplate) -> None:
    assert "lone" in rendered(with_template, PLAIN, QUESTION, LONE)
