"""SandboxedTemplate: compiles and renders a chat template for tests of it, in jinja2's sandbox.

The sandbox limits neither time nor memory. So the catalog runs these tests in a separate process, see TemplateProcess.
"""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Mapping
from typing import Any

import jinja2
import jinja2.compiler
import jinja2.ext
import jinja2.nodes
import jinja2.parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pico_jupyter.engine.catalog.weights import BrokenModel

# A template may raise jinja2's errors, and Python's errors for unexpected data. RuntimeError includes RecursionError.
TEMPLATE_FAILURES = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    MemoryError,
)
# Characters of a template, and of the text of one rendering.
SIZE_LIMIT = 1 << 20
# The clock of a template is fixed, so that two renderings differ by their variables only.
DATE = datetime.datetime(2026, 1, 1)
LIMIT_EXCEEDED = "the chat template takes too long or creates too much text"


class _GenerationBlock(jinja2.ext.Extension):
    """Renders `{% generation %}` blocks as their body. Training code marks the assistant's tokens with them."""

    tags = {"generation"}  # noqa: RUF012  jinja2's Extension declares it as a plain set

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _VariableCollector(jinja2.compiler.CodeGenerator):
    """Generates the code of a template and collects the variables that it reads. jinja2.meta does only the latter."""

    def __init__(self) -> None:
        super().__init__(_environment(), None, None, optimized=False)
        self.variables: set[str] = set()

    def enter_frame(self, frame: jinja2.compiler.Frame) -> None:
        super().enter_frame(frame)
        names = {name for action, name in frame.symbols.loads.values() if name and action == "resolve"}
        self.variables |= names - self.environment.globals.keys()


class SandboxedTemplate:
    """A chat template. `variables` are the names that it reads. Raises BrokenModel if it cannot be compiled."""

    def __init__(self, text: str) -> None:
        try:
            generator = _VariableCollector()
            generator.visit(_environment().parse(text))
            code = compile(generator.stream.getvalue(), "<template>", "exec")  # type: ignore[attr-defined]  # a StringIO
            self._template = jinja2.Template.from_code(_environment(), code, _environment().globals)
        except MemoryError as error:
            raise BrokenModel(LIMIT_EXCEEDED) from error
        except jinja2.TemplateSyntaxError as error:
            raise BrokenModel(f"the chat template cannot be parsed: {error}") from error
        except (SyntaxError, *TEMPLATE_FAILURES) as error:
            raise BrokenModel(f"the chat template cannot be compiled: {type(error).__name__}: {error}") from error
        self.variables = frozenset(generator.variables)

    def render(self, variables: Mapping[str, Any]) -> str | None:
        """The text of the template; None if the template fails. Raises BrokenModel if it creates too much text."""
        try:
            text = self._template.render(variables)
        except MemoryError as error:
            raise BrokenModel(LIMIT_EXCEEDED) from error
        except TEMPLATE_FAILURES:
            return None
        if len(text) > SIZE_LIMIT:
            raise BrokenModel(LIMIT_EXCEEDED)
        return text


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _tojson(value: object, ensure_ascii: bool = False, indent: int | None = None, **_: object) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


@functools.lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = DATE.strftime
    return environment
