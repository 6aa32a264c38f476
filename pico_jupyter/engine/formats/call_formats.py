"""CallFormat: how the models of one family write tool calls. Each format is one declarative description.

The parser of answers and the table of families in the documentation are made from these descriptions. A format is
chosen by what a model's template and vocabulary show, never by the model's name (see `detect_call_format`).

A pattern is text with placeholders. A space in it stands for any whitespace, also none. `{name}` is the name of the
tool, `{key}` that of a parameter. `{id}` and `{type}` are read and ignored.
"""

from __future__ import annotations

from enum import Enum, auto
from functools import cached_property
from typing import Any

import msgspec
import regex

# Characters that the names of tools and parameters do not contain: those that open the next part of a call.
_FIELD = r"""[^\s<>{}\[\]()"'`|=,;]{1,256}"""
_PLACEHOLDER = regex.compile(r"\\\{(name|key|id|type)\\\}")


class Body(Enum):
    """How a call's name and arguments are written."""

    OBJECTS = auto()  # JSON objects that hold the name and the arguments, one, several or in a list
    JSON = auto()  # the name in a pattern, then the arguments as a JSON object
    PARAMETERS = auto()  # the name in a pattern, then each parameter between tags
    TAGS = auto()  # the name in a pattern, then a tag for each parameter, with tags for its items inside
    PYTHON = auto()  # calls in Python's syntax, alone or in a list
    UNQUOTED = auto()  # the name in a pattern, then an object with bare keys and special quotes for strings


class CallFormat(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One way to write tool calls.

    - `title` and `families`: the name in the documentation, and the families if they have other names.
    - `sections`: the texts before and after the calls of one answer. Without a section, each call stands alone.
    - `calls` and `call_closings`: the patterns that open one call, and the texts after it, which may be missing.
    - `parameter` and `parameter_closing`: the pattern before the value of a parameter, and the text after it.
    - `quote`: the text around strings in an unquoted object; the text before each tag in nested tags.
    - `guards`: patterns at the start of a call that ordinary text may resemble. It is recognized at the start of the
      answer only, and must name a tool of the request.
    - `evidence`: a template with this format contains one of these texts, or the vocabulary has one as a token.
    - `history_id`: the pattern of call ids that the template expects in past calls; "" for any id.
    """

    title: str
    body: Body
    families: tuple[str, ...] = ()
    sections: tuple[tuple[str, str], ...] = ()
    calls: tuple[str, ...] = ()
    call_closings: tuple[str, ...] = ()
    parameter: str = ""
    parameter_closing: str = ""
    quote: str = ""
    guards: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    history_id: str = ""

    @cached_property
    def call_patterns(self) -> tuple[Any, ...]:
        """The compiled patterns of `calls`."""
        return tuple(compile_pattern(pattern) for pattern in self.calls)

    @cached_property
    def parameter_pattern(self) -> Any:
        """The compiled pattern of `parameter`."""
        return compile_pattern(self.parameter)

    @cached_property
    def needles(self) -> tuple[str, ...]:
        """The texts in an answer at which a call may begin; none for a format with guards."""
        if self.guards:
            return ()
        starts = (pattern.partition("{")[0].rstrip() for pattern in self.calls)
        return tuple(dict.fromkeys(text for text in (*(opening for opening, _ in self.sections), *starts) if text))

    @cached_property
    def guard_patterns(self) -> tuple[Any, ...]:
        """The compiled patterns of `guards`."""
        return tuple(compile_pattern(pattern) for pattern in self.guards)


def compile_pattern(pattern: str) -> Any:
    """A pattern with placeholders as a regular expression."""
    text = regex.escape(pattern, special_only=True, literal_spaces=True).replace(" ", r"\s*")
    seen: set[str] = set()

    def field(match: Any) -> str:
        name = match[1]
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>{_FIELD})"

    return regex.compile(_PLACEHOLDER.sub(field, text))


JSON_IN_TAGS = CallFormat(
    title="JSON in tags",
    families=("Qwen2.5", "Qwen3", "QwQ", "Hermes", "SmolLM3", "Granite 4", "Cogito", "Reka Edge"),
    body=Body.OBJECTS,
    sections=(("<tool_call>", "</tool_call>"),),
    evidence=("<tool_call>",),
)
JSON_ALONE = CallFormat(
    title="JSON alone",
    families=("Llama 3.2",),
    body=Body.OBJECTS,
    guards=(
        '{ "name": "{name}"',
        '[ { "name": "{name}"',
        '{ "type": "function", "name": "{name}"',
        '{ "type": "function", "function": { "name": "{name}"',
        '{ "function": "{name}"',
    ),
    evidence=('"parameters": dictionary of argument name', "Available Tools:"),
)
# Qwen2.5-Coder writes this instead of its tags.
JSON_IN_FENCE = CallFormat(
    title="JSON in a code block",
    families=("Qwen2.5-Coder",),
    body=Body.OBJECTS,
    sections=(("```json", "```"),),
    guards=('```json { "name": "{name}"', '```json [ { "name": "{name}"'),
)
PYTHON_ALONE = CallFormat(
    title="Python alone", families=("Llama 3.2",), body=Body.PYTHON, guards=("[ {name}(",), evidence=("[func_name1(",)
)
# The first format that the evidence shows is used, so a format stands before those whose evidence is more general.
CALL_FORMATS = (
    CallFormat(
        title="DSML",
        families=("DeepSeek V3.2", "DeepSeek V4"),
        body=Body.PARAMETERS,
        sections=(
            ("<｜DSML｜function_calls>", "</｜DSML｜function_calls>"),
            ("<｜DSML｜tool_calls>", "</｜DSML｜tool_calls>"),
        ),
        calls=('<｜DSML｜invoke name="{name}">',),
        call_closings=("</｜DSML｜invoke>",),
        parameter='<｜DSML｜parameter name="{key}" string="{type}">',
        parameter_closing="</｜DSML｜parameter>",
        evidence=("｜DSML｜",),
    ),
    CallFormat(
        title="DeepSeek",
        families=("DeepSeek V3", "DeepSeek V3.1", "DeepSeek R1 and its distillations"),
        body=Body.JSON,
        sections=(("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),),
        calls=(
            "<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name} ```json",
            "<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>",
        ),
        call_closings=("```", "<｜tool▁call▁end｜>"),
        evidence=("<｜tool▁calls▁begin｜>",),
    ),
    CallFormat(
        title="Kimi K2",
        families=("Kimi K2", "Kimi K2 Thinking"),
        body=Body.JSON,
        sections=(("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),),
        calls=(
            "<|tool_call_begin|> functions.{name}:{id} <|tool_call_argument_begin|>",
            "<|tool_call_begin|> {name}:{id} <|tool_call_argument_begin|>",
        ),
        call_closings=("<|tool_call_end|>",),
        evidence=("<|tool_calls_section_begin|>",),
        history_id="functions.{name}:{index}",
    ),
    CallFormat(
        title="Kimi K3",
        body=Body.PARAMETERS,
        sections=(("<|open|>tools<|sep|>", "<|close|>tools<|sep|>"),),
        calls=('<|open|>call tool="{name}" index="{id}"<|sep|>',),
        call_closings=("<|close|>call<|sep|>",),
        parameter='<|open|>argument key="{key}" type="{type}"<|sep|>',
        parameter_closing="<|close|>argument<|sep|>",
        evidence=("<|open|>",),
    ),
    CallFormat(
        title="Gemma 4",
        body=Body.UNQUOTED,
        sections=(("<|tool_call>", "<tool_call|>"),),
        calls=("call:{name}",),
        quote='<|"|>',
        evidence=("<|tool_call>",),
    ),
    CallFormat(
        title="FunctionGemma",
        body=Body.UNQUOTED,
        sections=(("<start_function_call>", "<end_function_call>"),),
        calls=("call:{name}",),
        quote="<escape>",
        evidence=("<start_function_call>",),
    ),
    CallFormat(
        title="Mistral",
        families=("Mistral Nemo", "Mistral Small", "Devstral", "Magistral", "Ministral"),
        body=Body.JSON,
        sections=(("[TOOL_CALLS]", ""),),
        calls=("{name}[CALL_ID]{id}[ARGS]", "{name}[ARGS]", "{name}"),
        evidence=("[TOOL_CALLS]",),
        history_id="{nine}",
    ),
    CallFormat(
        title="MiniMax M3",
        body=Body.TAGS,
        sections=(("]<]minimax[>[<tool_call>", "]<]minimax[>[</tool_call>"),),
        calls=(']<]minimax[>[<invoke name="{name}">',),
        call_closings=("]<]minimax[>[</invoke>",),
        quote="]<]minimax[>[",
        evidence=("]<]minimax[>[",),
    ),
    CallFormat(
        title="MiniMax M2",
        body=Body.PARAMETERS,
        sections=(("<minimax:tool_call>", "</minimax:tool_call>"),),
        calls=('<invoke name="{name}">',),
        call_closings=("</invoke>",),
        parameter='<parameter name="{key}">',
        parameter_closing="</parameter>",
        evidence=("<minimax:tool_call>",),
    ),
    CallFormat(
        title="Muse",
        body=Body.PARAMETERS,
        sections=(("<atem:function_calls>", "</atem:function_calls>"),),
        calls=('<atem:invoke name="{name}">',),
        call_closings=("</atem:invoke>",),
        parameter='<atem:parameter name="{key}">',
        parameter_closing="</atem:parameter>",
        evidence=("<atem:",),
    ),
    CallFormat(
        title="Hunyuan 3",
        families=("Hy3",),
        body=Body.PARAMETERS,
        sections=(("<tool_calls:opensource>", "</tool_calls:opensource>"),),
        calls=("<tool_call:opensource>{name}<tool_sep:opensource>",),
        call_closings=("</tool_call:opensource>",),
        parameter="<arg_key:opensource>{key}</arg_key:opensource> <arg_value:opensource>",
        parameter_closing="</arg_value:opensource>",
        evidence=("<tool_call:opensource>", "'<tool_calls{}>'"),
    ),
    CallFormat(
        title="LongCat",
        body=Body.PARAMETERS,
        sections=(("<longcat_tool_call>", "</longcat_tool_call>"),),
        calls=("{name}",),
        parameter="<longcat_arg_key>{key}</longcat_arg_key> <longcat_arg_value>",
        parameter_closing="</longcat_arg_value>",
        evidence=("<longcat_tool_call>",),
    ),
    CallFormat(
        title="GLM",
        families=("GLM 4.5 to 4.7", "Ling 3", "Laguna"),
        body=Body.PARAMETERS,
        sections=(("<tool_call>", "</tool_call>"),),
        calls=("{name}",),
        parameter="<arg_key>{key}</arg_key> <arg_value>",
        parameter_closing="</arg_value>",
        evidence=("<arg_key>",),
    ),
    CallFormat(
        title="Seed",
        families=("Seed-OSS",),
        body=Body.PARAMETERS,
        sections=(("<seed:tool_call>", "</seed:tool_call>"),),
        calls=("<function={name}>",),
        call_closings=("</function>",),
        parameter="<parameter={key}>",
        parameter_closing="</parameter>",
        evidence=("<seed:tool_call>",),
    ),
    CallFormat(
        title="Functionary 3.1",
        body=Body.JSON,
        calls=("<function={name}>",),
        call_closings=("</function>",),
        evidence=("<function=example_function_name>{",),
    ),
    CallFormat(
        title="Qwen3-Coder",
        families=("Qwen3-Coder", "Qwen3.5 to Qwen3.8", "Nemotron 3", "Step 3.5"),
        body=Body.PARAMETERS,
        sections=(("<tool_call>", "</tool_call>"),),
        calls=("<function={name}>",),
        call_closings=("</function>",),
        parameter="<parameter={key}>",
        parameter_closing="</parameter>",
        evidence=("<function=",),
    ),
    CallFormat(
        title="MiniCPM 5",
        body=Body.PARAMETERS,
        calls=('<function name="{name}">',),
        call_closings=("</function>",),
        parameter='<param name="{key}">',
        parameter_closing="</param>",
        evidence=("<function name=",),
    ),
    CallFormat(
        title="Solar",
        families=("Solar Open",),
        body=Body.JSON,
        sections=(("<|tool_calls|>", "<|calls|>"),),
        calls=("<|tool_call:begin|>{id}<|tool_call:name|>{name}<|tool_call:args|>",),
        call_closings=("<|tool_call:end|>",),
        evidence=("<|tool_call:begin|>",),
    ),
    CallFormat(
        title="Command R7B",
        families=("Command R7B", "Command A"),
        body=Body.OBJECTS,
        sections=(("<|START_ACTION|>", "<|END_ACTION|>"),),
        evidence=("<|START_ACTION|>",),
    ),
    CallFormat(
        title="Command R+",
        body=Body.OBJECTS,
        sections=(
            ("Action:\n```json\n", "```"),
            ("Action: ```json\n", "```"),
        ),
        evidence=("Action:",),
    ),
    CallFormat(
        title="Nemotron 2",
        families=("Nemotron Nano 2",),
        body=Body.OBJECTS,
        sections=(("<TOOLCALL>", "</TOOLCALL>"),),
        evidence=("<TOOLCALL>",),
    ),
    CallFormat(
        title="Apertus",
        body=Body.OBJECTS,
        sections=(("<|tools_prefix|>", "<|tools_suffix|>"),),
        evidence=("<|tools_prefix|>",),
    ),
    CallFormat(
        title="LFM2",
        families=("LFM2", "LFM2.5"),
        body=Body.PYTHON,
        sections=(("<|tool_call_start|>", "<|tool_call_end|>"),),
        evidence=("<|tool_call_start|>",),
    ),
    CallFormat(
        title="Olmo 3",
        body=Body.PYTHON,
        sections=(("<function_calls>", "</function_calls>"),),
        evidence=("<function_calls>",),
    ),
    CallFormat(
        title="GigaChat 3",
        body=Body.OBJECTS,
        sections=(("<|message_sep|>\n\nfunction call<|role_sep|>\n", ""),),
        evidence=("'role': 'function call'",),
    ),
    CallFormat(
        title="GigaChat 3.1",
        body=Body.OBJECTS,
        sections=(("<|function_call|>", ""),),
        evidence=("<|function_call|>",),
    ),
    CallFormat(
        title="Firefunction",
        body=Body.OBJECTS,
        sections=(("functools", ""),),
        evidence=("functools[",),
    ),
    CallFormat(
        title="Granite 3 and Phi-4-mini",
        families=("Granite 3", "Phi-4-mini"),
        body=Body.OBJECTS,
        sections=(("<|tool_call|>", "<|/tool_call|>"),),
        evidence=("<|tool_call|>",),
    ),
    CallFormat(
        title="JSON list in tags",
        families=("Apriel",),
        body=Body.OBJECTS,
        sections=(("<tool_calls>", "</tool_calls>"),),
        evidence=("<tool_calls>",),
    ),
    JSON_IN_TAGS,
    CallFormat(
        title="Llama 3",
        families=("Llama 3.1", "Llama 3.3"),
        body=Body.OBJECTS,
        sections=(("<|python_tag|>", ""),),
        evidence=("<|python_tag|>",),
    ),
    CallFormat(
        title="Llama 4",
        body=Body.PYTHON,
        sections=(("<|python_start|>", "<|python_end|>"),),
        evidence=("<|python_start|>",),
    ),
    PYTHON_ALONE,
    JSON_ALONE,
    JSON_IN_FENCE,
)
