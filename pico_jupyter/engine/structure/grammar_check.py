"""check_grammar(): explains why a grammar cannot be used. Names the keyword of the schema and its JSON pointer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import regex
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from pico_jupyter.engine.structure.lark import json_expression, move_references

# The longest text of a grammar, in bytes of UTF-8.
MAX_GRAMMAR_BYTES = 256 * 1024
# The limits of llguidance's parser, in checks and in matchers, so that a grammar that passes the check also runs.
# A schema with thousands of optional members exceeds the default limits.
PARSER_LIMITS = LLParserLimits(verbose_errors=False, max_items_in_row=20_000, step_max_items=200_000)
NO_TEXT = "no text matches the schema or grammar, or it refers to itself only"
# The search for the part of a schema that fails compiles at most this number of bytes.
_MAX_SEARCHED_BYTES = 8 * 1024 * 1024
_SCHEMAS_BY_NAME = ("properties", "patternProperties", "$defs", "definitions")
_SCHEMA_KEYWORDS = ("items", "additionalProperties", "prefixItems", "anyOf", "oneOf", "allOf")
_UNIMPLEMENTED = regex.compile(r"Unimplemented keys: (\[.*\])")
_TOO_LARGE = regex.compile(r"too (?:big|complex)|schema too large|fuel|limit", regex.IGNORECASE)
_MESSAGES = (
    (regex.compile(r"Unknown format: (.*)"), "the format {!r} is not supported"),
    (
        regex.compile(r"(oneOf) constraints are not supported"),
        "the keyword {!r} is supported only if its options differ",
    ),
    (regex.compile(r"Unsatisfiable schema: (.*)"), "no value matches the schema: {}"),
    (regex.compile(r"Pointer '(.*)' does not exist"), "the reference '#{}' does not exist"),
    (regex.compile(r"Resource '(.*?)'"), "the reference {!r} leads out of the schema"),
    (regex.compile(r"(look-?around|backreference)"), "the keyword 'pattern' has a {}, which is not supported"),
    (
        regex.compile(r"(?:integer|float) range: (?:min=None, )?(min|max)=Some\((?=-?[0-9.]+(?:e|[0-9]{18}))"),
        "the keyword '{}imum' has a number that is too large",
    ),
    (
        regex.compile(r"^min/maxProperties only()"),
        "the keywords 'minProperties' and 'maxProperties' are supported only if all declared members are required",
    ),
    (
        regex.compile(r"patternProperty regexes (.*) are (?:not )?disjoint"),
        "the keyword 'patternProperties' needs patterns that never match the same name, unlike {}",
    ),
    (
        regex.compile(r"(circular) references with sibling keys"),
        "the keyword '$ref' is not supported in a {} reference with other keywords beside it",
    ),
    (regex.compile(r"(Unable to determine) if regex is empty"), "its patterns are too complex together"),
)


def compile_grammar(grammar: str, ll_tokenizer: LLTokenizer) -> tuple[LLMatcher | None, str]:
    """The matcher of a grammar, or why the grammar cannot be used."""
    if message := check_size(grammar):
        return None, message
    matcher = LLMatcher(ll_tokenizer, grammar, log_level=0, limits=PARSER_LIMITS)
    if matcher.is_error() and (message := check_grammar(grammar, ll_tokenizer)):
        return None, message
    trial = matcher.deep_copy()
    trial.compute_bitmask()
    if not trial.is_error():
        return matcher, ""
    error = _first_line(trial.get_error())
    if "NoExtension" in error:
        return None, NO_TEXT
    return None, f"the schema or grammar is too large: {error}"


def check_size(text: str) -> str:
    """The message for a schema or grammar that is too long; "" for others."""
    size = len(text.encode("utf-8", "replace"))
    if size <= MAX_GRAMMAR_BYTES:
        return ""
    return f"the schema or grammar has {size // 1024} kB; the limit is {MAX_GRAMMAR_BYTES // 1024} kB"


def check_grammar(grammar: str, ll_tokenizer: LLTokenizer) -> str:
    """Why a grammar cannot be used, in plain words; "" if it can.

    The message names the keyword of a JSON schema that is not supported, and the JSON pointer of its place.
    """
    if message := check_size(grammar):
        return message
    error = _compile_error(grammar, ll_tokenizer)
    if not error:
        return ""
    if _TOO_LARGE.search(error):
        return f"the schema or grammar is too large: {error}"
    for schema in _schemas_in(grammar):
        if _error_of(schema, ll_tokenizer):
            return _explain(*_deepest_error(schema, ll_tokenizer))
    return _explain(error, "", {})


def _compile_error(grammar: str, ll_tokenizer: LLTokenizer) -> str:
    """llguidance's error without its position and its copy of the grammar; "" without an error."""
    failed, messages = LLMatcher.validate_grammar_with_warnings(grammar, ll_tokenizer, limits=PARSER_LIMITS)
    if not failed:
        return ""
    return _first_line(messages[0])


def _first_line(error: str) -> str:
    text = regex.sub(r"^at \d+\(\d+\): ", "", error)
    return regex.split(r"\n +\d+ \| |\nError parsing|\n  while processing |\n+$", text)[0].removeprefix(
        "failed to compile JSON schema: "
    )


def _error_of(schema: Any, ll_tokenizer: LLTokenizer) -> str:
    return _compile_error(f"start: {json_expression(schema)}", ll_tokenizer)


def _schemas_in(grammar: str) -> Iterator[Any]:
    """The JSON schemas in a grammar."""
    decoder = json.JSONDecoder()
    for match in regex.finditer(r"%json (?=\{)", grammar):
        try:
            yield decoder.raw_decode(grammar, match.end())[0]
        except ValueError:
            continue


def _deepest_error(schema: dict[str, Any], ll_tokenizer: LLTokenizer) -> tuple[str, str, Any]:
    """The error of a schema, and the pointer and content of the innermost part that fails by itself with this error."""
    error = _error_of(schema, ll_tokenizer)
    document = {"$defs": {"root": move_references(schema, "#/$defs/root")}}
    size = len(json.dumps(document))
    pointer, part, left = "", schema, _MAX_SEARCHED_BYTES
    while True:
        for name, child in _parts(part):
            left -= size
            if left < 0:
                return error, pointer, part
            candidate = {**document, "$ref": f"#/$defs/root{pointer}{name}"}
            if _error_of(candidate, ll_tokenizer).replace("/$defs/root", "") == error:
                pointer, part = pointer + name, child
                break
        else:
            return error, pointer, part


def _parts(schema: Any) -> Iterator[tuple[str, Any]]:
    """The schemas inside a schema, with their JSON pointers."""
    if not isinstance(schema, Mapping):
        return
    for keyword in _SCHEMAS_BY_NAME:
        for name, child in (schema.get(keyword) or {}).items() if isinstance(schema.get(keyword), Mapping) else ():
            yield f"/{keyword}/{name.replace('~', '~0').replace('/', '~1')}", child
    for keyword in _SCHEMA_KEYWORDS:
        child = schema.get(keyword)
        if isinstance(child, list):
            yield from ((f"/{keyword}/{index}", item) for index, item in enumerate(child))
        elif isinstance(child, Mapping):
            yield f"/{keyword}", child


def _explain(error: str, pointer: str, part: Any) -> str:
    """The message of an error at the place `pointer` of a schema."""
    if match := _UNIMPLEMENTED.search(error):
        keywords = [name for name in json.loads(match[1]) if not part or name in part]
        if not keywords:
            return f"the keyword {json.loads(match[1])[0]!r} is not supported"
        return f"the keyword {keywords[0]!r} is not supported (at #{pointer}/{keywords[0]})"
    place = f" (at #{pointer})" if part else ""
    for pattern, message in _MESSAGES:
        if match := pattern.search(error):
            text = message.format(match[1]) + place
            return text if part else text.replace("keyword 'pattern'", "regular expression")
    return " ".join(error.split()) + place
