"""render_prompt: from a request to the tokens that the model reads. Knows no backend; runs on a preparation thread."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, assert_never

from pico_jupyter.engine.backend import Media
from pico_jupyter.engine.catalog.content_form import Content
from pico_jupyter.engine.memory.prefix_cache import common_length
from pico_jupyter.engine.preparation.viewing import MediaPart, Viewing
from pico_jupyter.engine.text.tokenizer import Tokenizer
from pico_jupyter.errors import (
    ContextLengthExceeded,
    InvalidRequest,
    MediaUnsupported,
    ReasoningUnsupported,
    TemplateFailed,
)
from pico_jupyter.types import (
    ChatPrompt,
    GenerationRequest,
    Message,
    ModelInfo,
    Part,
    Prompt,
    RawPrompt,
    TextPart,
    VideoPart,
)

PARAGRAPH = "\n\n"
# A text beyond this many characters is counted piece by piece before it is encoded whole: 30 MB in one go take minutes
# and gigabytes, only to be refused.
LARGE_TEXT = 64 * 1024
# A system message of fewer characters is not worth a boundary of its own.
LONG_SYSTEM = 256


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """A prompt that fits.

    `tokens` are negative in the places of `media`. `max_tokens` is what the request asks for, clamped to the room left.
    `reasoning`: the model may reason in this answer; `reasoning_started`: the prompt ends inside a reasoning block.
    `tools` is the JSON array given to the template. `continuation`: the answer goes on in the middle of a text. Other
    prompts probably leave this one after so many tokens as `boundaries` say, rising: other conversations at the end of
    the system message, this one's next turn at the last boundary, or at the end where there is none.
    """

    tokens: list[int]
    max_tokens: int
    reasoning: bool
    reasoning_started: bool
    tools: str = "[]"
    continuation: bool = False
    boundaries: tuple[int, ...] = ()
    media: Media | None = None


@dataclass(frozen=True, slots=True)
class _Rendering:
    """`whole`: the tokens are all there; else they are the beginning's, and too many already."""

    text: str
    tokens: list[int]
    whole: bool = True
    media: Media | None = None


def render_prompt(
    request: GenerationRequest, info: ModelInfo, tokenizer: Tokenizer, viewing: Viewing | None = None
) -> RenderedPrompt:
    """Render and tokenize a request's prompt. For models that see, `viewing` looks at its media.

    Raises ReasoningUnsupported, MediaUnsupported, TemplateFailed, ContextLengthExceeded, InvalidRequest.
    """
    name = request.model or info.name
    can_reason = "thinking" in info.capabilities
    if request.reasoning_required and request.reasoning is not False and not can_reason:
        raise ReasoningUnsupported(f'"{name}" does not support thinking', param="think", model=name)
    limit = min(info.context_length, request.max_context or info.context_length)
    match request.prompt:
        case ChatPrompt() as prompt:
            _refuse_media(prompt, info, name)
            if prompt.tools != "[]" and "tools" not in info.capabilities:
                raise InvalidRequest(f"{name} does not support tools", param="tools", model=name)
            rendering = _render_chat(request, prompt, tokenizer, limit, viewing)
            tools, continuation, param = prompt.tools, prompt.continue_final_message, "messages"
        case RawPrompt(text):
            rendering = _encode(text, (), tokenizer, limit)
            tools, continuation, param = "[]", True, "prompt"
        case _:
            assert_never(request.prompt)
    room = limit - len(rendering.tokens)
    if room < 1:
        length = str(len(rendering.tokens)) if rendering.whole else f"more than {limit}"
        raise ContextLengthExceeded(
            f"the prompt has {length} tokens, and the context holds {limit} with the answer", param=param
        )
    started, closed = reasoning_at_end(rendering.text, tokenizer.reasoning_open, tokenizer.reasoning_close)
    started = started or _is_left_open(request.prompt, tokenizer)
    return RenderedPrompt(
        tokens=rendering.tokens,
        max_tokens=room if request.max_tokens is None else min(request.max_tokens, room),
        reasoning=started or (not closed and _may_reason(request, info)),
        reasoning_started=started,
        tools=tools,
        continuation=continuation,
        boundaries=_boundaries(request.prompt, rendering, tokenizer, strips_reasoning=can_reason),
        media=rendering.media,
    )


def _boundaries(
    prompt: Prompt, rendering: _Rendering, tokenizer: Tokenizer, *, strips_reasoning: bool
) -> tuple[int, ...]:
    """How many tokens there are up to the ends of the system message's and of the last message's content.

    Where no reasoning is stripped from past answers, the next turn begins with all of this prompt and its answer, and
    the last boundary is the prompt's own end.
    """
    if isinstance(prompt, RawPrompt) or prompt.continue_final_message:
        return ()
    ends: list[int] = []
    system = PARAGRAPH.join(_text(message.content) for message in prompt.messages if message.role == "system").strip()
    start = rendering.text.find(system)
    if len(system) >= LONG_SYSTEM and start >= 0:
        before = tokenizer.encode(rendering.text[: start + len(system)], add_special_tokens=False)
        ends.append(common_length(rendering.tokens, [*prompt.context, *before]))
    turn = len(rendering.tokens) - 1
    last = _text(prompt.messages[-1].content).strip()
    end = rendering.text.rfind(last) + len(last)
    if strips_reasoning and last and end >= len(last) and isinstance(prompt.messages[-1].content[-1], TextPart):
        behind = tokenizer.encode(rendering.text[end:], add_special_tokens=False)
        turn = len(rendering.tokens) - len(behind)
        ends.append(turn)
    return tuple(sorted({end for end in (*ends, turn) if end > 0})) if any(ends) else ()


def reasoning_at_end(text: str, opened: str | None, closed: str | None) -> tuple[bool, bool]:
    """Whether a prompt ends inside a reasoning block, and whether it ends behind one that it has closed.

    A tag further inside counts for nothing: it may be a user's word.
    """
    if not opened or not closed:
        return False, False
    end = text.rstrip()
    return end.endswith(opened.rstrip()), end.endswith(closed.rstrip())


def _is_left_open(prompt: Prompt, tokenizer: Tokenizer) -> bool:
    """Whether the message to continue is still reasoning."""
    if isinstance(prompt, RawPrompt) or not prompt.continue_final_message:
        return False
    opened, closed = tokenizer.reasoning_open, tokenizer.reasoning_close
    content = _text(prompt.messages[-1].content)
    return bool(opened and closed and content.lstrip().startswith(opened) and closed not in content)


def _may_reason(request: GenerationRequest, info: ModelInfo) -> bool:
    if "thinking" not in info.capabilities:
        return False
    if request.reasoning is None or not info.reasoning_switch:
        return info.reasoning_default
    return request.reasoning


def media_of(prompt: Prompt) -> list[MediaPart]:
    """The pictures and clips of a prompt, in their order."""
    return [] if isinstance(prompt, RawPrompt) else _media(prompt.messages)


def _media(messages: Sequence[Message]) -> list[MediaPart]:
    return [part for message in messages for part in message.content if not isinstance(part, TextPart)]


def _refuse_media(prompt: ChatPrompt, info: ModelInfo, name: str) -> None:
    for part in media_of(prompt):
        if "vision" not in info.capabilities:
            refusal = (
                f"The request includes images, video or audio, but '{name}' cannot be loaded as a vision model. "
                "Choose a vision-capable model or remove the attachments."
            )
        elif isinstance(part, VideoPart) and "video" not in info.capabilities:
            refusal = f"'{name}' takes pictures and no video. Choose a video-capable model or remove the clip."
        else:
            continue
        raise MediaUnsupported(refusal, param=part.param, model=name)


def _render_chat(
    request: GenerationRequest, prompt: ChatPrompt, tokenizer: Tokenizer, limit: int, viewing: Viewing | None
) -> _Rendering:
    if not prompt.messages:
        raise InvalidRequest("there are no messages", param="messages")
    if prompt.continue_final_message and prompt.messages[-1].role != "assistant":
        raise InvalidRequest("only a message of the assistant can be continued", param="messages")
    if any(not 0 <= i < tokenizer.vocab_size for i in prompt.context):
        raise InvalidRequest("context holds ids that are no tokens of this model", param="context")
    if prompt.context and media_of(prompt):
        raise InvalidRequest("context cannot be continued with pictures", param="context")
    messages = _leading_system(prompt.messages)
    variables = _variables(request, prompt)
    tools = json.loads(viewing.harmless_text(prompt.tools) if viewing else prompt.tools)
    if viewing:
        messages = [viewing.harmless(message) for message in messages]

    def render(kept: Sequence[Message]) -> _Rendering:
        turns = [*_turns(kept, tokenizer, viewing.content if viewing else _text)]
        text = _render_turns(turns, tools, variables, prompt.continue_final_message, tokenizer)
        if viewing and (media := _media(kept)):
            viewed = viewing.view(text, media)
            return _Rendering(text, viewed.tokens, media=viewed.media)
        return _encode(text, prompt.context, tokenizer, limit)

    whole = render(messages)
    if len(whole.tokens) < limit or not prompt.truncate:
        return whole
    # The more turns go, the shorter the prompt: look for the first cut that fits by halving.
    cuts = list(_cuts(messages))
    low, high, best = 0, len(cuts), whole
    while low < high:
        middle = (low + high) // 2
        candidate = render(cuts[middle])
        if len(candidate.tokens) < limit:
            high, best = middle, candidate
        else:
            low, best = middle + 1, best if len(best.tokens) < limit else candidate
    return best


def _encode(text: str, context: Sequence[int], tokenizer: Tokenizer, limit: int) -> _Rendering:
    """A text's tokens behind those of `context`. Of a text far longer than `limit` only the beginning is encoded."""
    beginning = [*context]
    if len(text) > LARGE_TEXT:
        for start in range(0, len(text), LARGE_TEXT):
            beginning += tokenizer.encode(text[start : start + LARGE_TEXT], add_special_tokens=False)
            # Where a text is cut it may take a token more: to be a little above `limit` proves nothing.
            if len(beginning) > 2 * limit:
                return _Rendering(text, beginning, whole=False)
    return _Rendering(text, [*context, *tokenizer.encode(text, add_special_tokens=False)])


def _cuts(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """The conversation without its oldest turns, longest first: system message, then from some user message on."""
    system = [message for message in messages if message.role == "system"]
    others = [message for message in messages if message.role != "system"]
    for start in range(1, len(others)):
        if others[start].role == "user" or start == len(others) - 1:
            yield [*system, *others[start:]]


def _leading_system(messages: Sequence[Message]) -> list[Message]:
    """Several system messages become one, in front."""
    system = [_text(message.content) for message in messages if message.role == "system"]
    if not system:
        return list(messages)
    merged = Message("system", (TextPart(PARAGRAPH.join(system)),))
    return [merged, *(message for message in messages if message.role != "system")]


def _variables(request: GenerationRequest, prompt: ChatPrompt) -> dict[str, Any]:
    """What the template is told besides the messages. A switch that is not given is a variable that is not defined."""
    variables: dict[str, Any] = json.loads(prompt.template_kwargs)
    if request.reasoning is not None:
        variables |= {"enable_thinking": request.reasoning, "thinking": request.reasoning}
    if request.reasoning_effort is not None:
        variables["reasoning_effort"] = request.reasoning_effort
    return variables


def _render_turns(
    turns: Sequence[dict[str, Any]],
    tools: Sequence[dict[str, Any]],
    variables: dict[str, Any],
    continue_final_message: bool,
    tokenizer: Tokenizer,
) -> str:
    def render(turns: Sequence[dict[str, Any]]) -> str:
        return tokenizer.render(turns, tools, variables, continue_final_message=continue_final_message)

    try:
        return render(turns)
    except TemplateFailed:
        merged = merge_turns(turns)
        if len(merged) == len(turns):
            raise
        return render(merged)


def _turns(
    messages: Sequence[Message], tokenizer: Tokenizer, content_of: Callable[[Sequence[Part]], Content]
) -> Iterator[dict[str, Any]]:
    """Messages as chat templates know them."""
    names: dict[str, str] = {}
    for message in messages:
        names |= {call.id: call.name for call in message.tool_calls}
        reasoning, content = _split_reasoning(message, tokenizer)
        turn: dict[str, Any] = {"role": message.role, "content": content_of(content)}
        if reasoning is not None:
            turn["reasoning_content"] = reasoning
        if message.tool_calls:
            turn["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": _arguments(call.arguments)},
                }
                for call in message.tool_calls
            ]
        if message.tool_call_id is not None:
            turn["tool_call_id"] = message.tool_call_id
        name = message.name or (names.get(message.tool_call_id or "") if message.role == "tool" else None)
        if name is not None:
            turn["name"] = name
        yield turn


def _split_reasoning(message: Message, tokenizer: Tokenizer) -> tuple[str | None, Sequence[Part]]:
    """A message's reasoning and content; clients that show reasoning inline send it back at the content's head."""
    opened, closed = tokenizer.reasoning_open, tokenizer.reasoning_close
    if message.role != "assistant" or message.reasoning is not None or not opened or not closed:
        return message.reasoning, message.content
    head, tag, rest = _text(message.content).partition(closed)
    if not tag or not head.lstrip().startswith(opened):
        return None, message.content
    return head.lstrip().removeprefix(opened).strip(), (TextPart(rest.lstrip()),)


def merge_turns(turns: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Consecutive turns of one role as one, for templates that insist on alternation. Tool results stay apart."""
    merged: list[dict[str, Any]] = []
    for role, group in groupby(turns, key=lambda turn: str(turn["role"])):
        same = list(group)
        if role == "tool" or len(same) == 1:
            merged.extend(same)
            continue
        turn: dict[str, Any] = {"role": role, "content": _joined([t["content"] for t in same if t["content"]])}
        if reasoning := [t["reasoning_content"] for t in same if t.get("reasoning_content")]:
            turn["reasoning_content"] = PARAGRAPH.join(reasoning)
        if calls := [call for t in same for call in t.get("tool_calls", ())]:
            turn["tool_calls"] = calls
        merged.append(turn)
    return merged


def _joined(contents: Sequence[Content]) -> Content:
    """Several contents as one, a paragraph each."""
    texts = [content for content in contents if isinstance(content, str)]
    if len(texts) == len(contents):
        return PARAGRAPH.join(texts)
    joined: list[dict[str, str]] = []
    for content in contents:
        joined += [{"type": "text", "text": PARAGRAPH}] if joined else []
        joined += [{"type": "text", "text": content}] if isinstance(content, str) else content
    return joined


def _arguments(text: str) -> Any:
    """A tool call's arguments as an object; agents replay malformed ones, which stay text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict) else text


def _text(parts: Sequence[Part]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextPart))
