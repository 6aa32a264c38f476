"""Variables in prompts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.notebook.interpolation import interpolate, is_expression

VARIABLES = {
    "name": "Ada",
    "rows": [1, 2, 3],
    "ages": {"Ada": 36, "é": 1},
    "point": SimpleNamespace(x=SimpleNamespace(y=[7])),
    "größe": 5,
}


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("Hello {name}!", "Hello Ada!"),
        ("{rows}: {rows[0]} to {rows[-1]}, {rows[1:]}", "[1, 2, 3]: 1 to 3, [2, 3]"),
        ("{ages['Ada']} and {ages[name]} and {point.x.y[0]}", "36 and 36 and 7"),
        ("{größe}", "5"),
        ("the name is {{name}}, {{ name }}", "the name is {name}, {name}"),
        ('{"a": {"b": 1}} and {} and {{}} and { name }', '{"a": {"b": 1}} and {} and {{}} and { name }'),
        ("if (x) { return; }", "if (x) { return; }"),
        ("def f(x):\n    return {x for x in rows}", "def f(x):\n    return {x for x in rows}"),
    ],
)
def test_names_are_replaced_and_other_braces_are_kept(text: str, prompt: str) -> None:
    assert interpolate(text, VARIABLES) == prompt


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{absent}", r"\{absent\} is not defined: there is no such variable. Write \{\{absent\}\} for"),
        ("{rows[9]}", r"\{rows\[9\]\} cannot be read: IndexError"),
        ("{name.first}", r"\{name.first\} cannot be read: AttributeError"),
        ("{rows[len(rows)]}", "is more than a name, an attribute or an item"),
        ("{rows[1 1]}", "is not a valid expression"),
        ("{open}", "is not defined"),
    ],
)
def test_an_expression_that_cannot_be_read_is_named(text: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        interpolate(text, VARIABLES)


def test_a_name_or_item_is_an_expression() -> None:
    assert [word for word in ("fig", "a.b[0]", "a/b.png", "x y", "1") if is_expression(word)] == ["fig", "a.b[0]"]
