"""Answers conversations with mlx-lm alone, as a reference for the answers of the server.

Usage: python -m tests.real.mlx_lm_answers FOLDER MAX_TOKENS. Reads a JSON array of conversations from standard input,
and writes their greedy answers to standard output, as a JSON array of strings.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_lm

from pico_jupyter.engine.memory.device import is_on_cpu


def main() -> None:
    """Load the model in the precision in which the server computes, and answer."""
    model, tokenizer = mlx_lm.load(str(Path(sys.argv[1])))
    if is_on_cpu():
        model.set_dtype(mx.float32)

    def answer(messages: list[dict[str, Any]]) -> str:
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
        return str(mlx_lm.generate(model, tokenizer, prompt, max_tokens=int(sys.argv[2])))

    json.dump([answer(messages) for messages in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
