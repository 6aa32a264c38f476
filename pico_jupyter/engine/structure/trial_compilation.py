"""Tests in a child process whether a grammar compiles, if this may take long. The CPU time of the process is limited.

llguidance 1.9 has no time limit, and a thread that compiles cannot be stopped. A grammar of a hundred characters can
take hours, if a text must match several patterns at the same time. The process is then killed. Its vocabulary has only
bytes and special tokens, because the vocabulary of a model takes seconds to build.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any

import regex
from llguidance import LLTokenizer, TokenizerWrapper

from pico_jupyter.engine.structure.compile_thread import compile_on_thread
from pico_jupyter.engine.structure.grammar_check import NO_TEXT, compile_grammar

CPU_SECONDS = 2  # The limit of the process. Whole seconds of its start are not counted.
TOO_SLOW = "the schema or grammar takes too long to compile"
# Much more than CPU_SECONDS, because the computer may be busy.
_WALL_SECONDS = 30.0
_MEMORY_BYTES = 4 * 1024**3
# The parts of a grammar for which llguidance searches texts that match several patterns.
_MAY_BE_SLOW = regex.compile(r'[&~]|"(?:allOf|pattern|patternProperties|propertyNames)"')


def trial_error(grammar: str, special_tokens: dict[int, str]) -> str:
    """Return why a grammar cannot be used; "" if it can be used, or if it compiles quickly and is not tested."""
    if _MAY_BE_SLOW.search(grammar) is None:
        return ""
    command = [sys.executable, "-P", "-m", "pico_jupyter.engine.structure.trial_compilation"]
    given = json.dumps([grammar, [*special_tokens.items()]])
    try:
        trial = subprocess.run(command, input=given.encode(), capture_output=True, timeout=_WALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return TOO_SLOW
    if trial.returncode < 0:  # A signal: the process has exceeded a limit.
        return TOO_SLOW
    return trial.stdout.decode()


class _TrialVocabulary:
    """Bytes, special tokens with their ids, and an end token."""

    bos_token_id = None

    def __init__(self, special_tokens: list[tuple[int, str]]) -> None:
        self.eos_token_id = max([255, *(token_id for token_id, _ in special_tokens)]) + 1
        self.tokens = [*(bytes([value]) for value in range(256)), *[b""] * (self.eos_token_id - 255)]
        for token_id, text in [*special_tokens, (self.eos_token_id, "<end>")]:
            self.tokens[token_id] = text.encode()
        self.special_token_ids = [self.eos_token_id, *(token_id for token_id, _ in special_tokens)]

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


def _limit_resources() -> None:
    cpu_seconds = int(time.process_time()) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))


def main() -> None:
    """Read a grammar from stdin, compile it, and write its error to stdout."""
    given: list[Any] = json.load(sys.stdin)
    _limit_resources()
    vocabulary = LLTokenizer(TokenizerWrapper(_TrialVocabulary(given[1])))
    message = compile_on_thread(lambda: compile_grammar(given[0], vocabulary)[1], _WALL_SECONDS)
    # Not reported: whether the grammar allows a first token depends on the vocabulary.
    sys.stdout.write("" if message == NO_TEXT else message)


if __name__ == "__main__":
    main()
