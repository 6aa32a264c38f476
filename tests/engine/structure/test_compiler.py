"""GrammarCompiler with hostile grammars and the built-in model's tokenizer."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pico_jupyter.engine.structure.compile_thread import compile_on_thread
from pico_jupyter.engine.structure.compiler import GrammarCompiler
from pico_jupyter.engine.text.tokenizer import load_tokenizer
from pico_jupyter.errors import InvalidRequest, QueueFull

# More rules than fit on a stack of 8 MB, which ended the process.
_MANY = 6000
CHAIN = "\n".join(["start: r0", *(f"r{i}: r{i + 1}" for i in range(_MANY)), f'r{_MANY}: "a"'])
REFERENCES = {
    "$ref": "#/$defs/a0",
    "$defs": {
        **{f"a{i}": {"$ref": f"#/$defs/a{i + 1}"} for i in range(_MANY)},
        f"a{_MANY}": {"type": "integer"},
    },
}


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    return GrammarCompiler(load_tokenizer(Path("pico_jupyter/builtin/pico-tiny")))


@pytest.mark.parametrize("grammar", [CHAIN, f"start: %json {json.dumps(REFERENCES)}"], ids=["rules", "references"])
def test_a_long_chain_of_rules_does_not_overflow_the_stack(compiler: GrammarCompiler, grammar: str) -> None:
    assert not compiler.matcher(grammar, "x").deep_copy().is_error()


def test_an_object_may_have_thousands_of_optional_members(compiler: GrammarCompiler) -> None:
    schema = {"type": "object", "properties": {f"k{i}": {"type": "integer"} for i in range(2000)}}
    matcher = compiler.matcher(f"start: %json {json.dumps(schema)}", "x").deep_copy()
    text = compiler.ll_tokenizer.tokenize_str('{"k1999": 1}')
    assert matcher.try_consume_tokens(text) == len(text)


@pytest.mark.parametrize(
    ("grammar", "message"),
    [
        ("start: start", "no text matches the schema or grammar"),
        ('start: %json {"$ref": "#"}', "no text matches the schema or grammar"),
        (
            "start: A\nA: " + " & ".join(f"/(?s:.*)w{i}(?s:.*)/" for i in range(14)),
            "the schema or grammar is too large",
        ),
    ],
    ids=["rule", "reference", "intersection"],
)
def test_a_grammar_that_has_no_first_token_is_refused(compiler: GrammarCompiler, grammar: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=f"Invalid value for 'format': {message}"):
        compiler.matcher(grammar, "format")


def test_a_grammar_that_would_take_hours_is_refused_and_holds_up_no_other(compiler: GrammarCompiler) -> None:
    slow_patterns = [" & ".join(f"/(?s:.*)a(?s:.){{{n * i}}}(?s:.*)/" for i in range(1, 30)) for n in (7, 8)]
    with ThreadPoolExecutor(3) as pool:
        slow = [pool.submit(compiler.matcher, f"start: T\nT: {text}", "guided_grammar") for text in slow_patterns]
        assert pool.submit(compiler.matcher, 'start: "a"', "x").result()
        for one in slow:
            with pytest.raises(
                InvalidRequest, match="'guided_grammar': the schema or grammar takes too long to compile"
            ):
                one.result()


def test_a_pattern_is_compiled_and_explained_as_without_the_trial(compiler: GrammarCompiler) -> None:
    good, bad = ({"type": "object", "properties": {"a": {"pattern": text}}} for text in ("^a+$", "(?=a)b"))
    assert not compiler.matcher(f"start: %json {json.dumps(good)}", "x").deep_copy().is_error()
    with pytest.raises(InvalidRequest, match=r"the keyword 'pattern' has a look-around.*\(at #/properties/a\)"):
        compiler.matcher(f"start: %json {json.dumps(bad)}", "x")


def test_a_compilation_has_a_limit_on_its_time_and_keeps_its_slot_until_it_ends() -> None:
    release = threading.Event()
    for _ in range(2):
        with pytest.raises(TimeoutError):
            compile_on_thread(release.wait, seconds=0.01)
    with pytest.raises(QueueFull):
        compile_on_thread(lambda: True, seconds=0.01)
    release.set()
    assert compile_on_thread(lambda: True)


def test_the_errors_of_a_compilation_reach_the_caller() -> None:
    def fail() -> Any:
        raise ValueError("no grammar")

    with pytest.raises(ValueError, match="no grammar"):
        compile_on_thread(fail)


def test_the_error_of_a_schema_concerns_only_what_remains_after_it_is_rewritten(compiler: GrammarCompiler) -> None:
    assert compiler.schema_error({"type": "integer", "not": {"enum": [5]}}) == ""
    assert "'uniqueItems'" in compiler.schema_error({"not": {"const": 1}, "uniqueItems": True})
