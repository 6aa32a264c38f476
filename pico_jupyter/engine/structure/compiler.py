"""GrammarCompiler: compiles grammars for the tokens of one model, and caches the latest ones."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

import llguidance
import llguidance.hf

from pico_jupyter.engine.structure.compile_thread import compile_on_thread
from pico_jupyter.engine.structure.grammar import token_literal
from pico_jupyter.engine.structure.grammar_check import check_grammar, compile_grammar
from pico_jupyter.engine.structure.lark import json_expression
from pico_jupyter.engine.structure.schema_members import grammar_schema
from pico_jupyter.engine.structure.trial_compilation import TOO_SLOW, trial_error
from pico_jupyter.engine.text.tokenizer import Tokenizer
from pico_jupyter.errors import InvalidRequest

_CACHED_GRAMMARS = 64
# If a grammar allows only one text, llguidance 1.9 tokenizes this text. A text such as "<|im_end|>" then becomes the
# special token, which ends the answer.
_NO_FORCING = '%llguidance {"no_forcing": true}\n'


class GrammarCompiler:
    """Compiles grammars for `tokenizer`. Thread-safe.

    The vocabulary is prepared when the first grammar is compiled. This takes seconds for a large vocabulary.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._building = threading.Lock()
        self._lock = threading.Lock()
        self._compiled: OrderedDict[str, llguidance.LLMatcher] = OrderedDict()

    def __repr__(self) -> str:
        return f"<GrammarCompiler [{len(self._compiled)} grammars]>"

    @property
    def ll_tokenizer(self) -> Any:
        """The tokenizer, converted to an LLTokenizer of llguidance."""
        with self._building:
            return self._ll_tokenizer

    @cached_property
    def _ll_tokenizer(self) -> Any:
        return llguidance.hf.from_tokenizer(
            self._tokenizer.fast_tokenizer, eos_token=sorted(self._tokenizer.eos_token_ids)
        )

    def literal(self, text: str) -> str:
        """A text as a Lark expression, with the special tokens of the vocabulary in it."""
        return token_literal(self._tokenizer, self.ll_tokenizer)(text)

    def schema_error(self, schema: Mapping[str, Any]) -> str:
        """Why a JSON schema cannot be enforced; "" if it can."""
        grammar = f"start: {json_expression(grammar_schema(schema))}"
        if message := trial_error(grammar, self._special_tokens):
            return message
        return compile_on_thread(partial(check_grammar, grammar, self.ll_tokenizer))

    @cached_property
    def _special_tokens(self) -> dict[int, str]:
        """The texts of the special tokens that grammars can name."""
        ids = range(self._tokenizer.vocab_size)
        special = filter(self.ll_tokenizer.is_special_token, ids)
        return {token_id: self._tokenizer.token_bytes(token_id).decode("utf-8", "replace") for token_id in special}

    def _names_special_tokens(self, grammar: str) -> bool:
        tokens = self._tokenizer.added_token_ids(grammar).values()
        return not grammar.lstrip().startswith("{") and any(
            self.ll_tokenizer.is_special_token(token) for token in tokens
        )

    def matcher(self, grammar: str, param: str) -> llguidance.LLMatcher:
        """The matcher of a grammar, for callers to copy. Raises InvalidRequest, which names the field `param`,
        and QueueFull."""
        with self._lock:
            if compiled := self._compiled.get(grammar):
                self._compiled.move_to_end(grammar)
                return compiled
        written = f"{_NO_FORCING}{grammar}" if self._names_special_tokens(grammar) else grammar
        matcher = None
        try:
            if not (message := trial_error(written, self._special_tokens)):
                matcher, message = compile_on_thread(partial(compile_grammar, written, self.ll_tokenizer))
        except TimeoutError:
            message = TOO_SLOW
        if matcher is None:
            raise InvalidRequest(f"Invalid value for '{param}': {message}", param=param)
        with self._lock:
            self._compiled[grammar] = matcher
            if len(self._compiled) > _CACHED_GRAMMARS:
                self._compiled.popitem(last=False)
        return matcher
