"""The conversations that `jupyter pico doctor MODEL` renders. Each contains words that the prompt must contain too."""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from pico_jupyter.types import ChatPrompt, ImagePart, Message, ModelInfo, Part, TextPart, ToolCall

# Words that occur in no template.
FIRST, SECOND, THIRD, SYSTEM, REASONING = "qzjfirst", "qzjsecond", "qzjthird", "qzjsystem", "qzjreasoning"
TOOL, ARGUMENT, RESULT, OTHER_ARGUMENT, OTHER_RESULT = "qzj_tool", "qzjargument", "qzjresult", "qzjpaper", "qzjstone"
TOOLS = json.dumps(
    [
        {
            "type": "function",
            "function": {
                "name": TOOL,
                "description": "Look up a word.",
                "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
            },
        }
    ]
)
# The form of call ids of pico_jupyter, and one that another program wrote into a conversation.
OWN_ID, OWN_OTHER_ID, FOREIGN_ID = "call_0123456789abcdef01234567", "call_76543210fedcba9876543210", "toolu_01 A/B:7"
IMAGE_SIDE = 64


@dataclass(frozen=True, slots=True)
class SampleConversation:
    """A conversation with the words that its prompt must contain.

    `needs` is the capability without which the conversation is not rendered: "tools", "thinking" or "" for none.
    `reasoning` is the switch of the request. `optional` is a word that templates may leave out.
    """

    name: str
    prompt: ChatPrompt
    words: tuple[str, ...]
    needs: str = ""
    reasoning: bool | None = None
    optional: str = ""


def sample_conversations(info: ModelInfo) -> list[SampleConversation]:
    """The twelve conversations for a model. A vision model gets an image among the parts of a message."""
    return [*_plain_conversations(info), *_tool_conversations(), *_reasoning_conversations()]


def _plain_conversations(info: ModelInfo) -> list[SampleConversation]:
    system = Message("system", (TextPart(SYSTEM),))
    turns = (_user(FIRST), _assistant(SECOND), _user(THIRD))
    parts: tuple[Part, ...] = (TextPart(f"{FIRST} "), *_image(info), TextPart(SECOND))
    return [
        SampleConversation("plain", ChatPrompt((_user(FIRST),)), (FIRST,)),
        SampleConversation("system", ChatPrompt((system, _user(FIRST))), (SYSTEM, FIRST)),
        SampleConversation("turns", ChatPrompt(turns), (FIRST, SECOND, THIRD)),
        SampleConversation("two users", ChatPrompt((_user(FIRST), _user(SECOND))), (FIRST, SECOND)),
        SampleConversation("parts", ChatPrompt((Message("user", parts),)), (FIRST, SECOND)),
    ]


def _tool_conversations() -> list[SampleConversation]:
    call, result = _calls((OWN_ID, ARGUMENT)), _result(OWN_ID, RESULT)
    two_calls = _calls((OWN_ID, ARGUMENT), (OWN_OTHER_ID, OTHER_ARGUMENT))
    two = (_user(FIRST), two_calls, _result(OWN_ID, RESULT), _result(OWN_OTHER_ID, OTHER_RESULT))
    foreign = (_user(FIRST), _calls((FOREIGN_ID, ARGUMENT)), _result(FOREIGN_ID, RESULT))
    words = (TOOL, FIRST, ARGUMENT, RESULT)
    return [
        SampleConversation("tools", ChatPrompt((_user(FIRST),), TOOLS), (TOOL, FIRST), "tools"),
        SampleConversation("call", ChatPrompt((_user(FIRST), call, result), TOOLS), words, "tools"),
        SampleConversation("two calls", ChatPrompt(two, TOOLS), (*words, OTHER_ARGUMENT, OTHER_RESULT), "tools"),
        SampleConversation("foreign id", ChatPrompt(foreign, TOOLS), words, "tools"),
    ]


def _reasoning_conversations() -> list[SampleConversation]:
    past = (_user(FIRST), Message("assistant", (TextPart(SECOND),), reasoning=REASONING), _user(THIRD))
    question = ChatPrompt((_user(FIRST),))
    words = (FIRST, SECOND, THIRD)
    return [
        SampleConversation("reasoned", ChatPrompt(past), words, "thinking", optional=REASONING),
        SampleConversation("on", question, (FIRST,), "thinking", reasoning=True),
        SampleConversation("off", question, (FIRST,), "thinking", reasoning=False),
    ]


def _user(text: str) -> Message:
    return Message("user", (TextPart(text),))


def _assistant(text: str) -> Message:
    return Message("assistant", (TextPart(text),))


def _calls(*calls: tuple[str, str]) -> Message:
    made = tuple(ToolCall(call_id, TOOL, json.dumps({"word": word})) for call_id, word in calls)
    return Message("assistant", tool_calls=made)


def _result(call_id: str, text: str) -> Message:
    return Message("tool", (TextPart(text),), tool_call_id=call_id)


def _image(info: ModelInfo) -> tuple[ImagePart, ...]:
    if "vision" not in info.capabilities:
        return ()
    file = BytesIO()
    Image.new("RGB", (IMAGE_SIDE, IMAGE_SIDE), "red").save(file, "PNG")
    return (ImagePart("messages[0].content[1]", file.getvalue()),)
