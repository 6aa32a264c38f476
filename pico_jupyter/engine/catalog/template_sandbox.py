"""LimitedTemplate: compiles a chat template and renders it for detection, within limits of time and size.

The files of a model are not trusted. A template that exceeds a limit raises BrokenModel.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.nodes
import jinja2.parser
import jinja2.runtime
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pico_jupyter.engine.catalog.weights import BrokenModel

# A template may raise jinja2's errors, and Python's errors for unexpected data.
TEMPLATE_FAILURES = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
)
# Seconds of processor time for all renderings of one template together.
TIME_LIMIT = 2.0
# Characters of a template and of each text that it creates, and items of each list.
SIZE_LIMIT = 1 << 20
# Bits of the numbers that a template computes.
NUMBER_LIMIT = 1 << 14
# Filters and methods whose arguments can be widths, or whose result can be much longer than their arguments.
GROWING_FILTERS = ("batch", "center", "format", "indent", "join", "replace", "round", "slice", "tojson", "wordwrap")
GROWING_METHODS = ("center", "expandtabs", "format", "format_map", "join", "ljust", "replace", "rjust", "zfill")


class _LimitExceeded(BaseException):
    """Ends the rendering. Not an Exception, because jinja2 ignores exceptions while it folds constants."""


class _GenerationBlock(jinja2.ext.Extension):
    """Renders `{% generation %}` blocks as their body. Training code marks the assistant's tokens with them."""

    tags = {"generation"}  # noqa: RUF012  jinja2's Extension declares it as a plain set

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _LimitedEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox that refuses operations with results above the size limit before they start."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        _check_operation(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: jinja2.runtime.Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        method = getattr(obj, "__wrapped__", obj)  # jinja2 wraps str.format
        text = getattr(method, "__self__", None)
        if isinstance(text, str) and method.__name__ in GROWING_METHODS:
            _check_arguments(method.__name__, text, (*args, *kwargs.values()))
        return super().call(context, obj, *args, **kwargs)

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """Join the texts that a template, a macro or a block yields."""
        size, texts = 0, []
        for text in parts:
            size += len(text)
            _check_size(size)
            texts.append(text)
        return "".join(texts)


class LimitedTemplate:
    """A chat template. `variables` are the names that it reads.

    Raises BrokenModel if it exceeds a limit or cannot be compiled, and jinja2.TemplateSyntaxError.
    """

    def __init__(self, text: str) -> None:
        self._seconds = TIME_LIMIT
        try:
            with self._limits():
                _check_size(len(text))
                self.variables = jinja2.meta.find_undeclared_variables(_environment().parse(text))
                self._template = _environment().from_string(text)
        except jinja2.TemplateSyntaxError:
            raise
        except (SyntaxError, *TEMPLATE_FAILURES) as error:
            raise BrokenModel(f"the chat template cannot be compiled: {type(error).__name__}: {error}") from error

    def render(self, variables: Mapping[str, Any]) -> str | None:
        """The text of the template; None if the template fails. Raises BrokenModel if it exceeds a limit."""
        try:
            with self._limits():
                return self._template.render(variables)
        except TEMPLATE_FAILURES:
            return None

    @contextmanager
    def _limits(self) -> Iterator[None]:
        """Trace this thread, and stop it when the time of the template is used up."""
        start = time.thread_time()
        previous = sys.gettrace()
        sys.settrace(_tracer(start + self._seconds))
        try:
            yield
        except _LimitExceeded:
            raise BrokenModel("the chat template takes too long or creates too much text") from None
        except SystemError as error:  # CPython 3.11 raises it in place of RecursionError while it traces
            raise RecursionError("maximum recursion depth exceeded") from error
        finally:
            sys.settrace(previous)
            self._seconds -= time.thread_time() - start


def _tracer(deadline: float) -> Callable[..., Any]:
    """A trace function that checks the deadline at each call, and at each line of the template's own code."""

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        if time.thread_time() > deadline:
            raise _LimitExceeded
        if event == "call" and frame.f_code in _JOINS:  # the operator ~ cannot be intercepted
            _check_size(sum(len(part) for part in frame.f_locals["seq"] if isinstance(part, str)))
        return trace if frame.f_code.co_filename == "<template>" else None

    return trace


_JOINS = (jinja2.runtime.str_join.__code__, jinja2.runtime.markup_join.__code__)


def _check_size(size: int) -> None:
    if size > SIZE_LIMIT:
        raise _LimitExceeded


def _check_operation(operator: str, left: Any, right: Any) -> None:
    if operator == "%" and isinstance(left, str):
        _check_arguments("format", left, right if isinstance(right, tuple) else (right,))
    elif isinstance(left, int) and isinstance(right, int):
        bits = {"*": left.bit_length() + right.bit_length(), "**": left.bit_length() * max(right, 0)}
        if bits.get(operator, 0) > NUMBER_LIMIT:
            raise _LimitExceeded
    elif operator == "*":
        repeated, times = (right, left) if isinstance(left, int) else (left, right)
        if hasattr(repeated, "__len__") and isinstance(times, int):
            _check_size(len(repeated) * times)
    elif operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
        _check_size(len(left) + len(right))


def _check_arguments(name: str, text: Any, arguments: Iterable[Any]) -> None:
    """Check a filter or a method of `text` whose result can be much longer than its arguments."""
    size = len(text) if hasattr(text, "__len__") else 1
    for argument in arguments:
        if isinstance(argument, int) and name != "format":
            _check_size(abs(argument))
        elif isinstance(argument, str):
            _check_size(max(size, 1) * len(argument))
        elif isinstance(argument, list | tuple):
            _check_size(sum(len(item) + size for item in argument if isinstance(item, str)))
    if name.startswith("format"):
        widths = [int(digits[:20]) for digits in re.findall(r"\d+", text)] if isinstance(text, str) else []
        _check_size(max(widths, default=0))
        if isinstance(text, str) and re.search(r"[*]|:[^}]*\{", text):  # the width is an argument
            _check_size(max((abs(value) for value in arguments if isinstance(value, int)), default=0))


def _limited(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    skipped = int(hasattr(function, "jinja_pass_arg"))

    @functools.wraps(function)
    def check_and_call(*args: Any, **kwargs: Any) -> Any:
        value, *arguments = args[skipped:]
        _check_arguments(name, value, (*arguments, *kwargs.values()))
        return function(*args, **kwargs)

    return check_and_call


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _tojson(value: object, ensure_ascii: bool = False, indent: int | None = None, **_: object) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


@functools.lru_cache(maxsize=1)
def _environment() -> _LimitedEnvironment:
    environment = _LimitedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    environment.filters |= {name: _limited(name, environment.filters[name]) for name in GROWING_FILTERS}
    environment.globals["raise_exception"] = _raise_exception
    # The clock is fixed, so that two renderings differ by their variables only.
    environment.globals["strftime_now"] = datetime.datetime(2026, 1, 1).strftime
    return environment
