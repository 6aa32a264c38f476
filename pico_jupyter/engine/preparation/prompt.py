"""render_prompt(): renders the prompt of a request with the chat template and tokenizes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, assert_never

import msgspec

from pico_jupyter.engine.backend import Media
from pico_jupyter.engine.formats.call_formats import CallFormat
from pico_jupyter.engine.formats.output_format import OutputFormat
from pico_jupyter.engine.memory.prefix_cache import common_length
from pico_jupyter.engine.preparation.call_ids import map_call_ids
from pico_jupyter.engine.preparation.chat_renderer import ChatRenderer, answer_call_formats
from pico_jupyter.engine.preparation.completion_prompt import end_tokens, tokenize_completion
from pico_jupyter.engine.preparation.media_preparation import MediaPart, MediaPreparation
from pico_jupyter.engine.preparation.template_messages import (
    merge_system_messages,
    shortened_conversations,
    system_text,
    text_of,
)
from pico_jupyter.engine.preparation.tokenized_text import TokenizedText, encode_pieces
from pico_jupyter.engine.structure.grammar_check import check_size
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
    CompletionPrompt,
    GenerationRequest,
    Message,
    ModelInfo,
    Prompt,
    RawPrompt,
    Structure,
    TextPart,
    VideoPart,
)

# In characters. A shorter system message gets no boundary.
LONG_SYSTEM = 256


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """A tokenized prompt that fits the context.

    - `tokens` are negative in the spans of `media`.
    - `max_tokens` is the limit of the request, or the rest of the context if that is less.
    - `reasoning`: the model may reason in this answer. `reasoning_started`: the prompt ends inside a reasoning block.
    - `tools` is the JSON array of the request, `calls` are the formats of tool calls in the answer.
    - `continuation`: the answer continues a given text.
    - `is_plain`: tags in the answer are text. `end_tokens` end the answer, besides the tokens that always do.
    - `boundaries` are ascending lengths in tokens at which later prompts will probably diverge from this one. Other
      conversations diverge after the system message, the next turn of this conversation at the last boundary. Without
      boundaries, the next turn probably begins with the whole prompt.
    """

    tokens: list[int]
    max_tokens: int
    reasoning: bool
    reasoning_started: bool
    tools: str = "[]"
    calls: tuple[CallFormat, ...] = ()
    continuation: bool = False
    is_plain: bool = False
    end_tokens: frozenset[int] = frozenset()
    boundaries: tuple[int, ...] = ()
    media: Media | None = None


def render_prompt(
    request: GenerationRequest,
    info: ModelInfo,
    tokenizer: Tokenizer,
    media_preparation: MediaPreparation | None = None,
    *,
    generic_tools: bool = True,
) -> RenderedPrompt:
    """Render a request's prompt with the model's chat template and tokenize it.

    A model with the capability "vision" needs `media_preparation`, which prepares images and videos. `generic_tools`:
    describe tools in the system message if the template has no place for them, instead of refusing them. Raises
    ReasoningUnsupported, MediaUnsupported, TemplateFailed, ContextLengthExceeded and InvalidRequest.
    """
    limit = min(info.context_length, request.max_context or info.context_length)
    rendered = tokenize_prompt(request, info, tokenizer, limit, media_preparation, generic_tools=generic_tools)
    is_chat, is_plain = isinstance(request.prompt, ChatPrompt), isinstance(request.prompt, CompletionPrompt)
    available = limit - len(rendered.tokens)
    if available < 1:
        length = str(len(rendered.tokens)) if rendered.is_complete else f"more than {limit}"
        large = _large_field(request, info, tokenizer, limit, media_preparation)
        reason = f"the prompt has {length} tokens, and the context holds {limit} with the answer"
        cause = f" (most of them are those of {large!r})" if large else ""
        raise ContextLengthExceeded(reason + cause, param=large or ("messages" if is_chat else "prompt"))
    output_format = OutputFormat() if is_plain else tokenizer.output_format
    started, closed = reasoning_at_end(rendered.end, output_format)
    started = started or _continues_reasoning(request.prompt, output_format)
    return RenderedPrompt(
        tokens=rendered.tokens,
        max_tokens=available if request.max_tokens is None else min(request.max_tokens, available),
        reasoning=started or (not closed and not is_plain and _may_reason(request, info)),
        reasoning_started=started,
        boundaries=_boundaries(request.prompt, rendered, tokenizer, strips_reasoning="thinking" in info.capabilities),
        media=rendered.media,
        **_answer_form(request.prompt, tokenizer),
    )


def _answer_form(prompt: Prompt, tokenizer: Tokenizer) -> dict[str, Any]:
    """The fields of RenderedPrompt that say how the answer is parsed."""
    match prompt:
        case ChatPrompt():
            calls = answer_call_formats(prompt, tokenizer)
            return {"tools": prompt.tools, "calls": calls, "continuation": prompt.continue_final_message}
        case RawPrompt():
            return {"continuation": True}
        case CompletionPrompt():
            return {"continuation": True, "is_plain": True, "end_tokens": end_tokens(prompt, tokenizer)}
        case _:
            assert_never(prompt)


def tokenize_prompt(
    request: GenerationRequest,
    info: ModelInfo,
    tokenizer: Tokenizer,
    limit: int,
    media_preparation: MediaPreparation | None,
    *,
    generic_tools: bool,
) -> TokenizedText:
    """The text and tokens of a prompt, as in render_prompt(). `limit` is the context; a longer prompt is no error."""
    _check_capabilities(request, info, generic_tools=generic_tools)
    match request.prompt:
        case ChatPrompt():
            return _render_chat(request, info, tokenizer, limit, media_preparation)
        case RawPrompt(text):
            return encode_pieces([text], (), tokenizer, limit)
        case CompletionPrompt() as prompt:
            return tokenize_completion(prompt, request.model or info.name, tokenizer, limit)
        case _:
            assert_never(request.prompt)


def media_of(prompt: Prompt) -> list[MediaPart]:
    """The images and videos of a prompt, in order."""
    return _media_in(prompt.messages) if isinstance(prompt, ChatPrompt) else []


def _media_in(messages: Sequence[Message]) -> list[MediaPart]:
    return [part for message in messages for part in message.content if not isinstance(part, TextPart)]


def _check_capabilities(request: GenerationRequest, info: ModelInfo, *, generic_tools: bool) -> None:
    """Raise an error if the request needs a capability that the model does not have."""
    name = request.model or info.name
    if request.reasoning_required and request.reasoning is not False and "thinking" not in info.capabilities:
        raise ReasoningUnsupported(f'"{name}" does not support thinking', param="think", model=name)
    if not isinstance(request.prompt, ChatPrompt):
        return
    for part in media_of(request.prompt):
        if "vision" not in info.capabilities:
            reason = (
                f"The request includes images, video or audio, but '{name}' cannot be loaded as a vision model. "
                "Choose a vision-capable model or remove the attachments."
            )
        elif isinstance(part, VideoPart) and "video" not in info.capabilities:
            reason = f"'{name}' accepts images but no video. Choose a video-capable model or remove the video."
        else:
            continue
        raise MediaUnsupported(reason, param=part.param, model=name)
    if request.prompt.tools != "[]" and not generic_tools and "tools" not in info.capabilities:
        raise InvalidRequest(f"{name} does not support tools", param="tools", model=name)


def _render_chat(
    request: GenerationRequest,
    info: ModelInfo,
    tokenizer: Tokenizer,
    limit: int,
    media_preparation: MediaPreparation | None,
) -> TokenizedText:
    prompt = request.prompt
    assert isinstance(prompt, ChatPrompt)
    _check_chat(prompt, tokenizer)
    messages = _with_system_switch(merge_system_messages(prompt.messages), request, info)
    messages = _with_structure(messages, request.structure)
    messages = map_call_ids(messages, _history_id(tokenizer))
    renderer = ChatRenderer(prompt, _template_variables(request, prompt, info), tokenizer, media_preparation)

    def render(kept: Sequence[Message]) -> TokenizedText:
        marked = renderer.render(kept)
        if media_preparation and (parts := _media_in(kept)):
            text = marked.replace(renderer.mark, " ")
            tokens, media = media_preparation.tokenize(text, parts)
            return TokenizedText(text, tokens, media=media)
        return encode_pieces(marked.split(renderer.mark), prompt.context, tokenizer, limit)

    rendered = render(messages)
    if len(rendered.tokens) < limit or not prompt.truncate:
        return rendered
    return _truncate(rendered, messages, limit, render)


def _large_field(
    request: GenerationRequest,
    info: ModelInfo,
    tokenizer: Tokenizer,
    limit: int,
    media_preparation: MediaPreparation | None,
) -> str:
    """The field of a schema or of tools without which the prompt takes at most half of the context; "" for none."""
    prompt = request.prompt
    if not isinstance(prompt, ChatPrompt):
        return ""
    fields = {
        request.structure.param if request.structure else "": msgspec.structs.replace(request, structure=None),
        "tools" if prompt.tools != "[]" else "": msgspec.structs.replace(
            request, prompt=msgspec.structs.replace(prompt, tools="[]")
        ),
    }
    for field, smaller in fields.items():
        with suppress(TemplateFailed):
            if field and len(_render_chat(smaller, info, tokenizer, limit, media_preparation).tokens) <= limit // 2:
                return field
    return ""


def _history_id(tokenizer: Tokenizer) -> str:
    return next((call.history_id for call in tokenizer.output_format.calls), "")


def _check_chat(prompt: ChatPrompt, tokenizer: Tokenizer) -> None:
    if not prompt.messages:
        raise InvalidRequest("there are no messages", param="messages")
    if prompt.continue_final_message and prompt.messages[-1].role != "assistant":
        raise InvalidRequest("only a message of the assistant can be continued", param="messages")
    if any(not 0 <= i < tokenizer.vocab_size for i in prompt.context):
        raise InvalidRequest("context contains ids that are not tokens of this model", param="context")
    if prompt.context and media_of(prompt):
        raise InvalidRequest("context cannot be continued with images or videos", param="context")


def _truncate(
    whole: TokenizedText,
    messages: Sequence[Message],
    limit: int,
    render: Callable[[Sequence[Message]], TokenizedText],
) -> TokenizedText:
    """Remove as few of the oldest turns as possible, by binary search. If nothing fits, returns the shortest prompt.

    Conversations that the template refuses are skipped.
    """
    candidates = list(shortened_conversations(messages))
    low, high, best = 0, len(candidates), whole
    while low < high:
        middle = (low + high) // 2
        try:
            candidate = render(candidates[middle])
        except TemplateFailed:
            del candidates[middle]
            high -= 1
            continue
        is_fitting = len(candidate.tokens) < limit
        low, high = (low, middle) if is_fitting else (middle + 1, high)
        if is_fitting or len(best.tokens) >= limit:
            best = candidate
    return best


def _template_variables(request: GenerationRequest, prompt: ChatPrompt, info: ModelInfo) -> dict[str, Any]:
    """The template's variables other than messages and tools. A switch that the request does not set is undefined."""
    variables: dict[str, Any] = json.loads(prompt.template_kwargs)
    switch = info.reasoning_switch
    return variables | (switch.variables(request.reasoning, request.reasoning_effort) if switch else {})


def _with_system_switch(messages: list[Message], request: GenerationRequest, info: ModelInfo) -> list[Message]:
    """The messages with the text that switches reasoning in the system message, for models that read it there."""
    switch = info.reasoning_switch
    if switch is None or request.reasoning is None or not switch.system_off:
        return messages
    text = switch.system_on if request.reasoning else switch.system_off
    return merge_system_messages([*messages, Message("system", (TextPart(text),))])


def _with_structure(messages: list[Message], structure: Structure | None) -> list[Message]:
    """The messages with the structure of the answer in the system message. Without it, small models write nonsense."""
    if structure and (message := check_size(structure.value)):
        raise InvalidRequest(f"Invalid value for '{structure.param}': {message}", param=structure.param)
    match structure:
        case Structure(kind="json_object"):
            text = "Answer with a JSON object only."
        case Structure(kind="json_schema", value=schema):
            text = f"Answer only with JSON that matches this JSON schema:\n{schema}"
        case Structure(kind="choice", value=choices):
            text = f"Answer only with one of these texts: {choices}"
        case _:
            return messages
    return merge_system_messages([*messages, Message("system", (TextPart(text),))])


def _boundaries(
    prompt: Prompt, rendered: TokenizedText, tokenizer: Tokenizer, *, strips_reasoning: bool
) -> tuple[int, ...]:
    """The lengths, in tokens, at which other prompts will probably diverge from this prompt, in ascending order.

    Other conversations diverge after a long system message. The next turn of this conversation contains the whole
    prompt, or diverges after the last message if the template removes reasoning from past answers (`strips_reasoning`).
    """
    if not isinstance(prompt, ChatPrompt) or prompt.continue_final_message:
        return ()
    ends: list[int] = []
    system = system_text(prompt.messages).strip()
    start = rendered.text.find(system)
    if len(system) >= LONG_SYSTEM and start >= 0:
        before = tokenizer.encode(rendered.text[: start + len(system)], add_special_tokens=False)
        ends.append(common_length(rendered.tokens, [*prompt.context, *before]))
    continuation_start = len(rendered.tokens) - 1  # The first decode step computes the last token.
    last = text_of(prompt.messages[-1].content).strip()
    end = rendered.text.rfind(last) + len(last)
    if strips_reasoning and last and end >= len(last) and isinstance(prompt.messages[-1].content[-1], TextPart):
        after = tokenizer.encode(rendered.text[end:], add_special_tokens=False)
        continuation_start = len(rendered.tokens) - len(after)
        ends.append(continuation_start)
    if not any(ends):
        return ()
    return tuple(sorted({length for length in (*ends, continuation_start) if length > 0}))


def reasoning_at_end(text: str, output_format: OutputFormat) -> tuple[bool, bool]:
    """Whether a prompt ends with the opening tag of reasoning, and whether it ends with the closing tag.

    Tags elsewhere do not count, because a user may have written them.
    """
    opened, closed = output_format.reasoning_open, output_format.reasoning_close
    if not opened or not closed:
        return False, False
    end = text.rstrip()
    return end.endswith(opened.rstrip()), end.endswith(closed.rstrip())


def _continues_reasoning(prompt: Prompt, output_format: OutputFormat) -> bool:
    """Whether the request continues a message that ends inside its reasoning."""
    if not isinstance(prompt, ChatPrompt) or not prompt.continue_final_message:
        return False
    opened, closed = output_format.reasoning_open, output_format.reasoning_close
    content = text_of(prompt.messages[-1].content)
    return bool(opened and closed and content.lstrip().startswith(opened) and closed not in content)


def _may_reason(request: GenerationRequest, info: ModelInfo) -> bool:
    if "thinking" not in info.capabilities:
        return False
    switch = info.reasoning_switch
    if request.reasoning is None or switch is None or switch.off is None:
        return info.reasoning_default
    return request.reasoning
