"""Generates the reference pages from the code. Sphinx replaces `<!-- generated: NAME … -->` in a page by Markdown.

The Markdown contains the descriptions in the schemas, traits, metrics and parsers.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from call_examples import call_example
from prometheus_client import CollectorRegistry
from sphinx.application import Sphinx

from pico_jupyter import __version__
from pico_jupyter.chat_kernel.cell import MAGICS
from pico_jupyter.cli.main import _parser
from pico_jupyter.configuration import EngineConfiguration
from pico_jupyter.dialects import anthropic_answer_schema, anthropic_content, anthropic_errors, anthropic_request
from pico_jupyter.dialects.openapi import OPERATIONS, openapi_document
from pico_jupyter.engine.formats.call_formats import CALL_FORMATS
from pico_jupyter.engine.formats.infill_format import INFILL_FORMATS
from pico_jupyter.engine.formats.output_format import REASONING_FORMATS
from pico_jupyter.notebook.chat_options import describe_options
from pico_jupyter.notebook.commands import COMMANDS
from pico_jupyter.notebook.magics import ChatMagics
from pico_jupyter.server.events import SCHEMAS as EVENT_SCHEMAS
from pico_jupyter.server.extension import PicoJupyter
from pico_jupyter.server.metrics import ServerMetrics

Json: TypeAlias = dict[str, Any]

ROOT = Path(__file__).parents[2]
ANTHROPIC_MODULES = (anthropic_answer_schema, anthropic_content, anthropic_errors, anthropic_request)
PLACE = re.compile(r"^<!-- generated: (\w+)(?: (\w+))? -->$", re.MULTILINE)
DOCUMENT = openapi_document(base_url="/", version=__version__, authenticated=True)
SCHEMAS: Json = DOCUMENT["components"]["schemas"]


def endpoints(dialect: str) -> str:
    """Every endpoint of a dialect ("OpenAI", "Anthropic", "Ollama"), with all fields of its request and its answer."""
    served = [one for one in OPERATIONS if one.dialect == dialect or (dialect == "Anthropic" and one.anthropic)]
    paths = dict.fromkeys(operation.path for operation in served)
    parts = [_verb(verb, path, DOCUMENT["paths"][f"/{path}"][verb]) for path in paths for verb in _verbs(path)]
    return "\n\n".join(parts)


def objects(dialect: str) -> str:
    """Every object of a dialect to which another object or a stream refers, sorted by name."""
    names = sorted(name for name in _referred() if dialect_of(name) == dialect)
    return "\n\n".join(f"({_anchor(name)})=\n### {_title(name)}\n\n{_fields(name)}" for name in names)


def dialect_of(name: str) -> str:
    """The dialect whose page has the object `name`. Objects that several dialects share are on OpenAI's page."""
    if name.startswith("Ollama"):
        return "Ollama"
    is_anthropic = any(getattr(vars(one).get(name), "__module__", "") == one.__name__ for one in ANTHROPIC_MODULES)
    return "Anthropic" if is_anthropic else "OpenAI"


def traits(_: str) -> str:
    """Every setting `c.PicoJupyter.NAME`, of the server extension and of its engine."""
    rows = [
        (f"`{name}`", f"`{trait.default()!r}`", _one_line(trait.help)) for name, trait in sorted(_settings().items())
    ]
    return _table(("`c.PicoJupyter.`", "default", "what it does"), rows)


def _settings() -> dict[str, Any]:
    return {**EngineConfiguration.class_own_traits(config=True), **PicoJupyter.class_own_traits(config=True)}


def commands(_: str) -> str:
    """The help of `jupyter pico` and of each of its commands."""
    parser = _parser()
    parser.formatter_class = _wide
    parts = [f"```text\n{parser.format_help()}```"]
    [subparsers] = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for name, command in subparsers.choices.items():
        command.formatter_class = _wide
        parts.append(f"## jupyter pico {name}\n\n```text\n{command.format_help()}```")
    return "\n\n".join(parts)


def metrics(_: str) -> str:
    """Every metric, sorted by its name."""
    registry = CollectorRegistry()
    labels = {
        metric._name: metric._labelnames for metric in vars(ServerMetrics(registry)).values() if _is_metric(metric)
    }
    rows = []
    for family in sorted(registry.collect(), key=lambda family: family.name):
        name = family.name.removeprefix("pico_jupyter_") + ("_total" if family.type == "counter" else "")
        shown = ", ".join(f"`{label}`" for label in labels[family.name])
        rows.append((f"`{name}`", family.type, shown, family.documentation))
    return _table(("metric", "kind", "labels", "description"), rows)


def events(_: str) -> str:
    """Every event, with its fields."""
    parts = []
    for path in sorted(EVENT_SCHEMAS.glob("*.yaml")):
        schema = yaml.safe_load(path.read_text())
        rows = [(f"`{name}`", field["type"], field["description"]) for name, field in schema["properties"].items()]
        parts.append(f"`{schema['$id']}`: {_one_line(schema['description'])}\n\n{_table(('field', 'type', ''), rows)}")
    return "\n\n".join(parts)


def panel_settings(_: str) -> str:
    """Every setting of the chat panel."""
    return _lab_settings("panel")


def completion_settings(_: str) -> str:
    """Every setting of inline completion."""
    return _lab_settings("completion")


def _lab_settings(name: str) -> str:
    schema = json.loads((ROOT / f"labextension/schema/{name}.json").read_text())
    rows = [
        (f"`{name}`", _kind(setting), f"`{json.dumps(setting['default'])}`", setting["description"])
        for name, setting in schema["properties"].items()
    ]
    return _table(("setting", "type", "default", "what it does"), rows)


def chat_magic(_: str) -> str:
    """The description of %%chat and its options."""
    text, _, _ = (inspect.getdoc(ChatMagics.chat) or "").partition("\n\noptions:")
    return f"{text}\n\n```text\n{describe_options()}```"


def cell_magics(_: str) -> str:
    """The descriptions of %fix and %explain."""
    return "\n\n".join(inspect.getdoc(magic) or "" for magic in (ChatMagics.fix, ChatMagics.explain))


def pico_magic(_: str) -> str:
    """The commands of %pico."""
    rows = [(f"`%pico {command}`".replace(" `", "`"), what) for command, what in COMMANDS.items()]
    return _table(("command", "what it does"), rows)


def kernel_magics(_: str) -> str:
    """The magics of the chat kernel."""
    rows = [tuple(part.strip() for part in magic.split(":", 1)) for magic in MAGICS.values()]
    return _table(("magic", "what it does"), [(f"`{magic}`", what) for magic, what in rows])


def call_formats(_: str) -> str:
    """Every format of tool calls, with an example and the families that use it."""
    rows = [
        (call.title, _literal_text(call_example(call)), ", ".join(call.families or (call.title,)))
        for call in sorted(CALL_FORMATS, key=lambda call: call.title)
    ]
    return _table(("format", "a call", "families"), rows)


def reasoning_formats(_: str) -> str:
    """Every pair of tags around reasoning."""
    rows = [
        (_literal_text(tags.open), _literal_text(tags.close), ", ".join(tags.families))
        for tags in REASONING_FORMATS
        if tags.families
    ]
    return _table(("before reasoning", "after reasoning", "families"), rows)


def infill_formats(_: str) -> str:
    """Every format of prompts for the text between a prefix and a suffix."""
    rows = []
    for infill in INFILL_FORMATS:
        parts = [f"{infill.prefix}…", f"{infill.suffix}…"]
        text = "".join([*(reversed(parts) if infill.suffix_first else parts), infill.middle])
        rows.append((_literal_text(text), ", ".join(infill.families)))
    return _table(("prompt", "families"), rows)


GENERATORS: dict[str, Callable[[str], str]] = {
    generator.__name__: generator
    for generator in (
        endpoints,
        objects,
        traits,
        commands,
        metrics,
        events,
        panel_settings,
        completion_settings,
        chat_magic,
        cell_magics,
        pico_magic,
        kernel_magics,
        call_formats,
        reasoning_formats,
        infill_formats,
    )
}


def fill(text: str) -> str:
    """Return the text of a page with all placeholders replaced."""
    return PLACE.sub(lambda place: GENERATORS[place[1]](place[2] or ""), text)


def setup(app: Sphinx) -> Json:
    """Register the replacement with Sphinx."""
    app.connect("source-read", lambda _app, _page, source: source.__setitem__(0, fill(source[0])))
    return {"version": __version__, "parallel_read_safe": True, "parallel_write_safe": True}


def _verbs(path: str) -> list[str]:
    return [key for key in DOCUMENT["paths"][f"/{path}"] if key not in ("servers", "head")]


def _verb(verb: str, path: str, operation: Json) -> str:
    item = DOCUMENT["paths"][f"/{path}"]
    methods = "GET, HEAD" if verb == "get" and "head" in item else verb.upper()
    where = "`pico/" if "servers" in item else "`"
    parts = [f"## {methods} {where}{path}`", operation["summary"]]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body is not None:
        parts += [f"**Request**\n\n{_fields(name)}" for name in _names(body)]
    parts += [_answer(media_type, content) for media_type, content in _contents(operation)]
    parts.append(_statuses(operation))
    return "\n\n".join(parts)


def _contents(operation: Json) -> Iterable[tuple[str, Json]]:
    return operation["responses"].get("200", {}).get("content", {}).items()


def _answer(media_type: str, content: Json) -> str:
    schema = content["schema"]
    names = _names(schema)
    if "const" in schema:
        return f"**Answer** `{media_type}`: {schema['const']}"
    if media_type == "application/json":
        return f"**Answer** `{media_type}`\n\n" + (
            "\n\n".join(_fields(name) for name in names) or "An OpenAPI document."
        )
    links = " or ".join(_link(name) for name in dict.fromkeys(names))
    piece = "each event's data is" if media_type == "text/event-stream" else "each line is"
    return f"**Stream** `{media_type}`: {piece} {links}. {schema['description']}"


def _statuses(operation: Json) -> str:
    rows = [
        (f"`{status}`", response["description"])
        for status, response in operation["responses"].items()
        if status != "200"
    ]
    return "**Errors**\n\n" + _table(("status", "reason"), rows)


def _names(schema: object) -> list[str]:
    """The names of the schemas to which a schema refers, in the order of the references."""
    return re.findall(r"#/components/schemas/(\w+)", json.dumps(schema))


def _referred() -> set[str]:
    """The names of the schemas that links refer to."""
    operations = [verb for item in DOCUMENT["paths"].values() for verb in item.values() if isinstance(verb, dict)]
    contents = [content for operation in operations for content in _contents(operation)]
    streams = [content for media_type, content in contents if media_type != "application/json"]
    return set(_names([streams, SCHEMAS]))


def _fields(name: str) -> str:
    """A table of the fields of a schema, and a line that lists the ignored fields."""
    schema = SCHEMAS[name]
    required = schema.get("required", [])
    members = schema.get("properties", {}).items()
    rows = [
        (
            f"`{field}`" + (" (required)" if field in required else ""),
            _kind(member),
            _one_line(member.get("description", "")),
        )
        for field, member in members
        if not member.get("x-ignored")
    ]
    ignored = ", ".join(f"`{field}`" for field, member in members if member.get("x-ignored"))
    parts = [_one_line(schema.get("description", ""))]
    parts += [_table(("field", "type", "description"), rows)] if rows else []
    parts += [f"Accepted and ignored: {ignored}."] if ignored else []
    return "\n\n".join(parts)


def _kind(schema: Json) -> str:
    """A short description of a schema's type, for a table."""
    if "anyOf" in schema:
        options = [option for option in schema["anyOf"] if option not in ({"type": "null"}, {"enum": [""]})]
        kinds = [_kind(option) for option in options or schema["anyOf"][:1]]
        return " or ".join(dict.fromkeys(kinds))
    if "$ref" in schema:
        return _link(_names(schema)[0])
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    match schema.get("type"):
        case "array":
            return f"array of {_kind(schema.get('items', {}))}"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"object of {_kind(schema['additionalProperties'])}"
        case list(kinds):
            return " or ".join(kinds)
        case str(kind):
            return kind + _range(schema)
        case _:
            return "any"


def _range(schema: Json) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        return f" above {schema['exclusiveMinimum']}"
    if low is not None and high is not None and abs(high) < 10**6:
        return f" {low} to {high}"
    return f" from {low}" if low is not None and abs(low) < 10**6 else ""


def _link(name: str) -> str:
    return f"[{_title(name)}](#{_anchor(name)})"


def _title(name: str) -> str:
    return str(SCHEMAS[name]["title"])


def _anchor(name: str) -> str:
    return f"object-{name.lower()}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _literal_text(text: str) -> str:
    """Text as code that a table may contain, with marks for line breaks."""
    marked = text.replace("\n", "⏎")
    return f"``` {marked} ```" if "`" not in marked else f"```` {marked} ````"


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;")


def _is_metric(value: object) -> bool:
    return hasattr(value, "_labelnames")


def _wide(prog: str) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog, width=100)
