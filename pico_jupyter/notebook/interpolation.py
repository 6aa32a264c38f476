"""Replaces `{variable}` in a prompt: names, attributes and items of the user's variables, but no calls or operators."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from pico_jupyter.errors import InvalidRequest

EXPRESSION = r"[^\W\d]\w*(?:\.[^\W\d]\w*|\[[^\[\]{}\n]+\])*"
FIELD = re.compile(rf"\{{\{{\s*({EXPRESSION})\s*\}}\}}|\{{({EXPRESSION})\}}")
ALLOWED_NODES = (
    ast.Expression,
    ast.Name,
    ast.Load,
    ast.Attribute,
    ast.Subscript,
    ast.Constant,
    ast.Slice,
    ast.UnaryOp,
    ast.USub,
)


def interpolate(text: str, variables: Mapping[str, Any]) -> str:
    """Return `text` with `{name}`, `{name.attribute}` and `{name[index]}` replaced by their values.

    `{{name}}` becomes `{name}`. All other braces stay as they are. Raises InvalidRequest, which quotes the expression.
    """

    def replace(field: re.Match[str]) -> str:
        return str(evaluate(field[2], variables)) if field[2] else "{" + field[1] + "}"

    return FIELD.sub(replace, text)


def evaluate(expression: str, variables: Mapping[str, Any]) -> Any:
    """Return the value of a name, attribute or item. Raises InvalidRequest."""
    try:
        tree = ast.parse(expression, mode="eval")
    except SyntaxError:
        raise _refused(expression, "is not a valid expression") from None
    if not all(isinstance(node, ALLOWED_NODES) for node in ast.walk(tree)):
        raise _refused(expression, "is more than a name, an attribute or an item")
    try:
        return eval(compile(tree, "<prompt>", "eval"), {"__builtins__": {}}, dict(variables))
    except NameError:
        raise _refused(expression, "is not defined: there is no such variable") from None
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise _refused(expression, f"cannot be read: {type(error).__name__}: {error}") from None


def is_expression(text: str) -> bool:
    """Whether `text` has the form of a name, an attribute or an item."""
    return re.fullmatch(EXPRESSION, text) is not None


def _refused(expression: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"{{{expression}}} {why}. Write {{{{{expression}}}}} for literal braces.")
