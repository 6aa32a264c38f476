"""The second request of a turn of Codex 0.171, recorded with `codex exec`, an MCP server and a call of its tool.

The texts are shortened, and the ids replaced.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pico_jupyter.dialects.responses_request import ResponsesCall
from pico_jupyter.types import ChatPrompt, TextPart
from tests.dialects.responses_samples import responses_call

RECORDING = Path(__file__).parent / "recordings/codex_0.171.json"


@pytest.fixture(scope="module")
def call() -> ResponsesCall:
    return responses_call(**json.loads(RECORDING.read_text()))


@pytest.fixture(scope="module")
def prompt(call: ResponsesCall) -> ChatPrompt:
    assert isinstance(call.request.prompt, ChatPrompt)
    return call.request.prompt


def test_the_answer_is_a_stream_that_is_not_stored(call: ResponsesCall) -> None:
    assert (call.stream, call.store, call.has_packed_reasoning) == (True, False, True)
    assert call.request.reasoning is None


def test_the_model_sees_all_tools_but_web_search(call: ResponsesCall, prompt: ChatPrompt) -> None:
    names = [tool["function"]["name"] for tool in json.loads(prompt.tools)]
    assert {"exec_command", "write_stdin", "mcp__calc__add", "multi_agent_v1__spawn_agent"} <= set(names)
    assert not any("web_search" in name for name in names)
    assert (call.tools.names["mcp__calc__add"].namespace, call.tools.names["mcp__calc__add"].name) == (
        "mcp__calc",
        "add",
    )


def test_the_instructions_are_the_system_message(prompt: ChatPrompt) -> None:
    assert [message.role for message in prompt.messages] == ["system", "user", "user", "assistant", "tool"]


def test_the_call_and_its_result_belong_together(prompt: ChatPrompt) -> None:
    *_, answer, result = prompt.messages
    [past] = answer.tool_calls
    assert (past.name, json.loads(past.arguments)) == ("mcp__calc__add", {"a": 2, "b": 3})
    assert (result.tool_call_id, result.name) == (past.id, "mcp__calc__add")
    assert result.content[-1] == TextPart("5")
