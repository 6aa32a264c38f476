"""GrammarCompiler: compiles grammars for the tokens of one model, and caches the latest ones."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import cached_property
from typing import Any

import llguidance
import llguidance.hf

from pico_jupyter.engine.structure.grammar import check_grammar, token_literal
from pico_jupyter.engine.structure.grammar_check import PARSER_LIMITS
from pico_jupyter.engine.text.tokenizer import Tokenizer
from pico_jupyter.errors import InvalidRequest

_CACHED_GRAMMARS = 64


class GrammarCompiler:
    """Compiles grammars for `tokenizer`. Thread-safe.

    Nothing is computed before the first grammar, which takes seconds if the vocabulary is large.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self._compiled: OrderedDict[str, llguidance.LLMatcher] = OrderedDict()

    def __repr__(self) -> str:
        return f"<GrammarCompiler [{len(self._compiled)} grammars]>"

    @cached_property
    def ll_tokenizer(self) -> Any:
        """llguidance's form of the tokenizer."""
        return llguidance.hf.from_tokenizer(
            self._tokenizer.fast_tokenizer, eos_token=sorted(self._tokenizer.eos_token_ids)
        )

    def literal(self, text: str) -> str:
        """A text as a Lark expression, with the special tokens of the vocabulary in it."""
        return token_literal(self._tokenizer, self.ll_tokenizer)(text)

    def matcher(self, grammar: str, param: str) -> llguidance.LLMatcher:
        """The matcher of a grammar, for callers to copy. Raises InvalidRequest, which names the field `param`."""
        with self._lock:
            if grammar not in self._compiled:
                if message := check_grammar(grammar, self.ll_tokenizer):
                    raise InvalidRequest(f"Invalid value for '{param}': {message}", param=param)
                self._compiled[grammar] = llguidance.LLMatcher(
                    self.ll_tokenizer, grammar, log_level=0, limits=PARSER_LIMITS
                )
                if len(self._compiled) > _CACHED_GRAMMARS:
                    self._compiled.popitem(last=False)
            self._compiled.move_to_end(grammar)
            return self._compiled[grammar]
