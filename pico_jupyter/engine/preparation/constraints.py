"""new_constraint(): builds the constraint of a row from a request.

The constraint consists of a limit on reasoning, and of the grammar of the answer or of its tool calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import llguidance

from pico_jupyter.engine.preparation.prompt import RenderedPrompt
from pico_jupyter.engine.preparation.template_messages import text_of
from pico_jupyter.engine.structure.compiler import GrammarCompiler
from pico_jupyter.engine.structure.constraint import ReasoningGate, RowConstraint, Trigger
from pico_jupyter.engine.structure.grammar import NotForcible, answer_grammar, call_grammar, message_call_grammar
from pico_jupyter.engine.structure.tool_arguments import tool_schema
from pico_jupyter.engine.text.tokenizer import Tokenizer
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import ChatPrompt, GenerationRequest

# Whitespace that is allowed between reasoning and answer, if it is one token.
_SPACINGS = ("\n", "\n\n")
_FINAL_HEADER = "<|channel|>final<|message|>"


def new_constraint(
    request: GenerationRequest, prompt: RenderedPrompt, tokenizer: Tokenizer, compiler: GrammarCompiler
) -> RowConstraint | None:
    """The constraint of one choice of a request; None if nothing limits the choice. Raises InvalidRequest."""
    grammar, param = _grammar(request, prompt, tokenizer, compiler)
    trigger = None if grammar else _trigger(request, prompt, tokenizer, compiler)
    has_limit = request.max_reasoning_tokens is not None and prompt.reasoning
    if not grammar and trigger is None and not has_limit:
        return None
    matcher = _matcher(grammar, param, _callable_tools(request, prompt), compiler) if grammar else None
    begun = _after_begun_text(matcher, request, compiler) if matcher else None
    return RowConstraint(
        vocab_size=compiler.ll_tokenizer.vocab_size,
        token_bytes=tokenizer.token_bytes,
        eos_tokens=sorted(tokenizer.eos_token_ids),
        matcher=begun or matcher,
        gate=_gate(request, prompt, tokenizer) if prompt.reasoning and begun is None else None,
        trigger=trigger,
    )


def _grammar(
    request: GenerationRequest, prompt: RenderedPrompt, tokenizer: Tokenizer, compiler: GrammarCompiler
) -> tuple[str, str]:
    """The grammar of the whole answer ("" without one), and the request field to which it belongs."""
    calls = ""
    tools = _callable_tools(request, prompt)
    structure = request.structure
    if tools and (request.tool_choice.required or structure):
        calls = _calls(request, prompt, tools, tokenizer, compiler)
    if request.tool_choice.required or structure is None:
        return calls, "tool_choice"
    if calls and structure.kind == "grammar":
        raise InvalidRequest(f"{structure.param} cannot be a grammar if there are tools", param=structure.param)
    messages = tokenizer.output_format.messages
    answer = answer_grammar(structure, _FINAL_HEADER if messages else "", compiler.literal)
    return (_either(answer, calls) if calls else answer), structure.param


def _either(one: str, other: str) -> str:
    """The union of two grammars. Rules that both contain are written once."""
    lines = [
        *one.replace("start:", "first_start:", 1).splitlines(),
        *other.replace("start:", "second_start:", 1).splitlines(),
    ]
    return "\n".join(("start: first_start | second_start", *dict.fromkeys(lines), ""))


def _calls(
    request: GenerationRequest,
    prompt: RenderedPrompt,
    tools: Sequence[Mapping[str, Any]],
    tokenizer: Tokenizer,
    compiler: GrammarCompiler,
) -> str:
    """The grammar of one or more calls. Raises InvalidRequest if this model's format of calls cannot be forced."""
    several = request.tool_choice.parallel
    messages = tokenizer.output_format.messages
    try:
        if messages:
            return message_call_grammar(messages, tools, compiler.literal, several=several, opened=False)
        return call_grammar(prompt.calls[0], tools, compiler.literal, several=several, opened=False)
    except NotForcible as error:
        raise InvalidRequest(str(error), param="tool_choice") from error


def _callable_tools(request: GenerationRequest, prompt: RenderedPrompt) -> list[dict[str, Any]]:
    names = request.tool_choice.names
    tools: list[dict[str, Any]] = json.loads(prompt.tools)
    return [tool for tool in tools if not names or tool["function"]["name"] in names]


def _trigger(
    request: GenerationRequest, prompt: RenderedPrompt, tokenizer: Tokenizer, compiler: GrammarCompiler
) -> Trigger | None:
    """The grammar that begins when the model opens a call; None if the arguments of calls are not limited.

    Calls in formats without an opening text are not limited.
    """
    choice = request.tool_choice
    tools = _callable_tools(request, prompt)
    if not tools or (choice.parallel and not choice.strict):
        return None
    call_format = next((call for call in prompt.calls if call.needles), None)
    if call_format is None or tokenizer.output_format.messages:
        return None
    limited = [tool if tool["function"]["name"] in choice.strict else _without_schema(tool) for tool in tools]
    try:
        grammar = call_grammar(call_format, limited, compiler.literal, several=False, opened=True)
    except NotForcible:
        return None
    matcher = _matcher(grammar, "tools", limited, compiler)
    return Trigger({needle.encode(): matcher for needle in call_format.needles[:1]}, once=not choice.parallel)


def _matcher(
    grammar: str, param: str, tools: Sequence[Mapping[str, Any]], compiler: GrammarCompiler
) -> llguidance.LLMatcher:
    """The matcher of a grammar. An error names the tool whose schema is the cause, or else `param`."""
    try:
        return compiler.matcher(grammar, param)
    except InvalidRequest as error:
        for tool in map(tool_schema, tools):
            if message := compiler.schema_error(tool.schema):
                text = f"Invalid value for 'tools': in the parameters of '{tool.name}', {message}"
                raise InvalidRequest(text, param="tools") from error
        raise


def _after_begun_text(
    matcher: llguidance.LLMatcher, request: GenerationRequest, compiler: GrammarCompiler
) -> llguidance.LLMatcher | None:
    """The matcher after the text that the request continues; None if the grammar does not allow this text."""
    prompt = request.prompt
    if not isinstance(prompt, ChatPrompt) or not prompt.continue_final_message:
        return None
    tokens = compiler.ll_tokenizer.tokenize_str(text_of(prompt.messages[-1].content))
    begun = matcher.deep_copy()
    return begun if tokens and begun.try_consume_tokens(tokens) == len(tokens) else None


def _without_schema(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {**tool, "function": {**tool["function"], "parameters": {"type": "object"}}}


def _gate(request: GenerationRequest, prompt: RenderedPrompt, tokenizer: Tokenizer) -> ReasoningGate | None:
    output_format = tokenizer.output_format
    opened, closed = output_format.reasoning_open, output_format.reasoning_close
    if not opened or not closed:
        return None

    def encode(text: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode(text, add_special_tokens=False))

    openings = [encode(needle) for call in prompt.calls for needle in call.needles]
    spacings = [encode(text) for text in _SPACINGS]
    return ReasoningGate(
        opening=encode(opened),
        closing=closed.encode(),
        closing_tokens=encode(closed),
        started=prompt.reasoning_started,
        limit=request.max_reasoning_tokens,
        forbidden=tuple(tokens[0] for tokens in openings if len(tokens) == 1),
        spacing=tuple(tokens[0] for tokens in spacings if len(tokens) == 1),
    )
