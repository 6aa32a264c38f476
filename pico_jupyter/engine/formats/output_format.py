"""OutputFormat: how one model marks reasoning, tool calls and messages in its output.

The tokenizer and the chat template of a model determine its format, never its name.
"""

from __future__ import annotations

from collections.abc import Container

import msgspec

from pico_jupyter.engine.formats.call_formats import (
    CALL_FORMATS,
    JSON_ALONE,
    JSON_IN_FENCE,
    JSON_IN_TAGS,
    PYTHON_ALONE,
    Body,
    CallFormat,
)


class ReasoningFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The tags around reasoning.

    - `families`: the names of the model families in the documentation.
    - `markers`: structural texts without content. They are removed from the answer.
    - `evidence`: a model uses the tags if its template contains all of these texts (by default, the closing tag), or if
      its vocabulary has both tags as tokens.
    - `anywhere`: reasoning may begin in the middle of an answer, because the tags are special tokens.
    """

    open: str
    close: str
    markers: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    anywhere: bool = False
    families: tuple[str, ...] = ()


class MessageFormat(msgspec.Struct, frozen=True, kw_only=True):
    """Answers of several messages, each with a header that names its channel or its recipient.

    - `starts` and `header_end`: a header extends from one of the starts to its end.
    - `ends`: the texts after a message.
    - `recipient`: the regular expression of the recipient in a header. `readers` are the recipients that are not tools.
    - `has_arguments`: a message to a tool holds the arguments of a call. Otherwise calls are in the text.
    - `call_headers`: the patterns of the header of a call, as the model writes them after `starts[0]`.
    - `call_end`: the text that the model writes after the arguments of a call.
    """

    starts: tuple[str, ...]
    header_end: str
    ends: tuple[str, ...] = ()
    recipient: str = r"to=([^\s<]+)"
    readers: tuple[str, ...] = ("user", "assistant")
    has_arguments: bool = True
    call_headers: tuple[str, ...] = ()
    call_end: str = ""


class OutputFormat(msgspec.Struct, frozen=True):
    """How one model marks the parts of its output.

    The tags are None for a model without reasoning. `calls` are the formats of tool calls, each tried in order.
    """

    reasoning_open: str | None = None
    reasoning_close: str | None = None
    calls: tuple[CallFormat, ...] = ()
    markers: tuple[str, ...] = ()
    reasoning_anywhere: bool = False
    messages: MessageFormat | None = None

    @property
    def tags(self) -> frozenset[str]:
        """The texts that mark reasoning and tool calls in an answer."""
        sections = (text for call in self.calls for section in call.sections for text in section)
        quotes = (call.quote for call in self.calls)
        tags = (self.reasoning_open, self.reasoning_close, *self.markers, *sections, *quotes)
        return frozenset(tag for tag in tags if tag)


HARMONY = MessageFormat(
    starts=("<|start|>assistant", "<|channel|>"),
    header_end="<|message|>",
    ends=("<|end|>", "<|call|>", "<|return|>"),
    call_headers=(
        "<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>",
        " to=functions.{name}<|channel|>commentary <|constrain|>json<|message|>",
        "<|channel|>commentary to=functions.{name}<|message|>",
    ),
    call_end="<|call|>",
)
MUSE = MessageFormat(
    starts=("<|start|>assistant",), header_end="<|message|>", ends=("<|eom|>", "<|eot|>"), has_arguments=False
)
FUNCTIONARY = MessageFormat(
    starts=(">>>",),
    header_end="\n",
    recipient=r"^(?:>>>)?(.+)$",
    readers=("all",),
    call_headers=("{name}\n",),
)
THINK = ReasoningFormat(
    families=("Qwen3", "DeepSeek", "GLM", "MiniMax M2", "Olmo 3", "and most others"), open="<think>", close="</think>"
)
REASONING_FORMATS = (
    ReasoningFormat(
        families=("Gemma 4",), open="<|channel>thought", close="<channel|>", markers=("<channel|>",), anywhere=True
    ),
    ReasoningFormat(
        families=("Command R7B", "Command A"),
        open="<|START_THINKING|>",
        close="<|END_THINKING|>",
        markers=("<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>"),
        anywhere=True,
    ),
    ReasoningFormat(
        families=("Kimi K3",),
        open="<|open|>think<|sep|>",
        close="<|close|>think<|sep|>",
        markers=("<|open|>response<|sep|>", "<|close|>response<|sep|>", "<|close|>message<|sep|>"),
        evidence=("<|open|>",),
    ),
    ReasoningFormat(
        families=("Solar Open",),
        open="<|think|>",
        close="<|end|>",
        markers=("<|begin|>assistant", "<|content|>"),
        evidence=("<|begin|>", "<|think|>", "<|content|>"),
    ),
    ReasoningFormat(
        families=("Apriel",),
        open="Here are my reasoning steps:",
        close="[BEGIN FINAL RESPONSE]",
        markers=("[END FINAL RESPONSE]",),
    ),
    ReasoningFormat(families=("Magistral", "Ministral"), open="[THINK]", close="[/THINK]", anywhere=True),
    ReasoningFormat(families=("Seed-OSS",), open="<seed:think>", close="</seed:think>"),
    ReasoningFormat(families=("MiniMax M3",), open="<mm:think>", close="</mm:think>"),
    ReasoningFormat(
        families=("Hy3",), open="<think:opensource>", close="</think:opensource>", evidence=("'<think{}>'",)
    ),
    ReasoningFormat(families=("LongCat",), open="<longcat_think>", close="</longcat_think>"),
    ReasoningFormat(open="<|think:begin|>", close="<|think:end|>"),
    ReasoningFormat(families=("Apertus",), open="<|inner_prefix|>", close="<|inner_suffix|>"),
    ReasoningFormat(families=("EXAONE Deep",), open="<thought>", close="</thought>"),
    ReasoningFormat(open="<thinking>", close="</thinking>"),
    ReasoningFormat(
        families=("Granite 3",),
        open="<think>",
        close="</think>",
        markers=("<response>", "</response>"),
        evidence=("<response>",),
    ),
    THINK,
)


def detect_output_format(template: str, tokens: Container[str]) -> OutputFormat:
    """Detect the format of a model from its chat template and its vocabulary.

    `tokens` are the added tokens of the vocabulary. By default, reasoning is expected between <think> and </think>,
    because many models reason like this although their template does not contain the tags.
    """
    calls = detect_call_formats(template, tokens)
    if "<|channel|>" in template or ("<|channel|>" in tokens and "<|message|>" in tokens):
        return OutputFormat("<|channel|>analysis<|message|>", "<|end|>", messages=HARMONY)
    if "<|eom|>" in template and "<|message|>" in template:
        return OutputFormat(" to=self<|message|>", "<|eom|>", calls, messages=MUSE)
    if ">>>" in template:
        return OutputFormat(messages=FUNCTIONARY)
    reasoning = detect_reasoning(template, tokens) or THINK
    return OutputFormat(
        reasoning.open, reasoning.close, calls, reasoning.markers, reasoning_anywhere=reasoning.anywhere
    )


def names_reasoning(template: str) -> bool:
    """Whether a template contains tags that only models with reasoning use. <think> occurs in other templates too."""
    if "<|channel|>" in template or ("<｜Assistant｜>" in template and "</think>" in template):
        return True
    reasoning = detect_reasoning(template, ())
    return reasoning is not None and reasoning.anywhere


def detect_reasoning(template: str, tokens: Container[str]) -> ReasoningFormat | None:
    """The format whose evidence is in the template, or else the one whose tags are in the vocabulary."""
    for reasoning in REASONING_FORMATS:
        if all(text in template for text in reasoning.evidence or (reasoning.close,)):
            return reasoning
    for reasoning in REASONING_FORMATS:
        if all(text in tokens for text in (reasoning.open.removesuffix("thought"), reasoning.close)):
            return reasoning
    return None


def detect_call_formats(template: str, tokens: Container[str]) -> tuple[CallFormat, ...]:
    """Detect the formats of calls from the template or the vocabulary.

    Small models often write the JSON of a call without tags or in a code block. These formats are included if calls
    contain JSON.
    """
    found = next((call for call in CALL_FORMATS if any(text in template for text in call.evidence)), None)
    found = found or next(
        (call for call in CALL_FORMATS if any(text in tokens for text in call.evidence)), JSON_IN_TAGS
    )
    if found.title.startswith("Llama") or found.guards:
        return tuple(dict.fromkeys((found, PYTHON_ALONE, JSON_ALONE, JSON_IN_FENCE)))
    return (found, JSON_ALONE, JSON_IN_FENCE) if found.body in (Body.OBJECTS, Body.JSON) else (found,)
