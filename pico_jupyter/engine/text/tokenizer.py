"""Tokenizer: text to token ids and back, the chat template, and the model's own markup. Knows no request and no model.

Loads from local files only, without remote code. After loading nothing changes but a cache of token bytes, so that a
Tokenizer may be used on the preparation threads and on the engine's thread at once.
"""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from mlx_lm import tokenizer_utils
from transformers import PreTrainedTokenizerBase

from pico_jupyter.engine.catalog.content_form import ContentForm, probe_content
from pico_jupyter.engine.text.decoding import TokenDecoder, token_decoder
from pico_jupyter.engine.text.markup import HARMONY_MARKERS, HARMONY_TAGS, TEXT_TAGS, Markup, ToolCallText
from pico_jupyter.errors import ModelLoadFailed, TemplateFailed

# What a template can raise: its own words, or Python's when it meets data that it does not expect.
TEMPLATE_FAILURES = (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
TOOL_PARSER_FAILURES = (TypeError, ValueError, LookupError, AttributeError, SyntaxError)

# Names that a request may not set: arguments of the renderer and of its callees, which are no template's variables.
_RENDERER_ARGUMENTS = inspect.signature(PreTrainedTokenizerBase.apply_chat_template).parameters
RESERVED_VARIABLES = (frozenset(_RENDERER_ARGUMENTS) | {"conversations", "messages"}) - {"documents"}


class Tokenizer:
    """A model's tokenizer. Token ids are those of the model's vocabulary."""

    def __init__(
        self,
        hf: Any,
        *,
        decoder: TokenDecoder,
        markup: Markup,
        eos_token_ids: frozenset[int],
        tool_parser: Callable[[str, Any], Any] | None,
    ) -> None:
        self._hf = hf
        self._decoder = decoder
        self._tool_parser = tool_parser
        self._bytes: dict[int, bytes] = {}
        # One encoding at a time: not every tokenizer class is safe to share. Decoding takes no lock.
        self._lock = threading.Lock()
        self.markup = markup
        self.eos_token_ids = eos_token_ids
        self.special_token_ids = _special_token_ids(hf)
        self.vocab_size: int = len(hf)

    def __repr__(self) -> str:
        return f"<Tokenizer [{self.vocab_size} tokens | {self._decoder.name}]>"

    @property
    def reasoning_open(self) -> str | None:
        """The tag that opens the model's reasoning, None where it has none."""
        return self.markup.reasoning_open

    @property
    def reasoning_close(self) -> str | None:
        """The tag that closes the model's reasoning, None where it has none."""
        return self.markup.reasoning_close

    @property
    def strips_leading_space(self) -> bool:
        """Whether the first token's leading space is the tokenizer's own and not the text's (sentencepiece)."""
        return self._decoder.strips_leading_space

    @property
    def has_template(self) -> bool:
        """Whether the model brings a chat template."""
        return bool(self._hf.chat_template)

    @cached_property
    def content_form(self) -> ContentForm:
        """How the chat template takes pictures and clips."""
        return probe_content(lambda messages: self.render(messages, (), {}))

    def special_words_in(self, text: str) -> list[str]:
        """The special tokens that a text holds, as they are written."""
        return [str(token) for token in self._hf.added_tokens_decoder.values() if str(token) in text]

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        """The token ids of a text. With `add_special_tokens`, BOS and EOS where the tokenizer has them."""
        with self._lock:
            ids: list[int] = self._hf.encode(text, add_special_tokens=add_special_tokens)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a sequence of tokens, without special tokens."""
        data = b"".join(self.token_bytes(i) for i in ids if i not in self.special_token_ids)
        text = data.decode("utf-8", "replace")
        return text[1:] if self.strips_leading_space and text.startswith(" ") else text

    def token_bytes(self, token_id: int) -> bytes:
        """The true bytes of a token, special or not; b"" for an id without a token (padding of the vocabulary)."""
        data = self._bytes.get(token_id)
        if data is None:
            data = self._bytes[token_id] = self._decoder.token_bytes(token_id)
        return data

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        variables: Mapping[str, Any],
        *,
        continue_final_message: bool = False,
    ) -> str:
        """The chat template's text for a conversation, sandboxed. Raises TemplateFailed.

        `variables` go to the template as they are; names that are not a template's to have are dropped.
        """
        if not self.has_template:
            raise TemplateFailed("chat template error: this model has no chat template; send a raw prompt")
        visible = {name: value for name, value in variables.items() if name not in RESERVED_VARIABLES}
        try:
            text: str = self._hf.apply_chat_template(
                [dict(message) for message in messages],
                tools=[dict(tool) for tool in tools] or None,
                add_generation_prompt=not continue_final_message,
                continue_final_message=continue_final_message,
                tokenize=False,
                **visible,
            )
        except TEMPLATE_FAILURES as error:
            raise TemplateFailed(f"chat template error: {error}") from error
        return text

    def parse_tool_calls(self, text: str, tools: Sequence[Mapping[str, Any]]) -> list[ToolCallText]:
        """The calls written between a tool-call opener and closer. Raises ValueError where there is none."""
        if self._tool_parser is None:
            raise ValueError("this model has no tool-call parser")
        try:
            parsed = self._tool_parser(text, list(tools))
            return [_tool_call(call) for call in (parsed if isinstance(parsed, list) else [parsed])]
        except TOOL_PARSER_FAILURES as error:
            raise ValueError("not a tool call") from error


def load_tokenizer(path: Path) -> Tokenizer:
    """Load the tokenizer of a model folder. Raises ModelLoadFailed."""
    try:
        loaded = tokenizer_utils.load(path, {"trust_remote_code": False, "local_files_only": True})
        eos_token_ids = _eos_token_ids(path, loaded.eos_token_id)
    except (OSError, ValueError, LookupError, TypeError, ImportError) as error:
        raise ModelLoadFailed(f"the tokenizer cannot be loaded: {error}") from error
    # mlx-lm's object decides enable_thinking by itself when it renders; the tokenizer inside it does not.
    hf = loaded.get_chat_template.__self__
    if not hf.chat_template:
        hf.chat_template = _read_json(path / "chat_template.json").get("chat_template")
    # Without its files transformers makes some tokenizers from nothing: they read every text as no token at all.
    if len(hf) <= len(hf.added_tokens_decoder):
        raise ModelLoadFailed("the tokenizer cannot be loaded: it has no vocabulary; is a file missing?")
    return Tokenizer(
        hf,
        decoder=token_decoder(hf),
        markup=_markup(loaded),
        eos_token_ids=eos_token_ids,
        tool_parser=loaded.tool_parser,
    )


def _special_token_ids(hf: Any) -> frozenset[int]:
    added = {int(i) for i, token in hf.added_tokens_decoder.items() if token.special}
    return frozenset(added | set(hf.all_special_ids))


def _eos_token_ids(path: Path, own: int | None) -> frozenset[int]:
    """Every token that ends an answer: generation_config.json, config.json and the tokenizer each name some."""
    config = _read_json(path / "config.json")
    sources = (own, _read_json(path / "generation_config.json"), config, config.get("text_config"))
    ids: set[int] = set()
    for source in sources:
        value = source.get("eos_token_id") if isinstance(source, dict) else source
        values = value if isinstance(value, list) else [value]
        ids.update(i for i in values if isinstance(i, int))
    return frozenset(ids)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}


def _markup(loaded: Any) -> Markup:
    opened, closed, markers = _reasoning_markup(loaded)
    return Markup(
        reasoning_open=opened,
        reasoning_close=closed,
        tool_open=loaded.tool_call_start,
        tool_close=loaded.tool_call_end or "",
        markers=(*loaded.structural_markers, *markers),
    )


def _reasoning_markup(loaded: Any) -> tuple[str | None, str | None, tuple[str, ...]]:
    if loaded.has_thinking:
        return loaded.think_start, loaded.think_end, ()
    vocabulary = loaded.get_vocab()
    if "<|channel|>" in vocabulary and "<|message|>" in vocabulary:
        return *HARMONY_TAGS, HARMONY_MARKERS
    template = str(loaded.chat_template or "")
    named = [tags for tags in TEXT_TAGS if tags[1] in template]
    return (*named[0], ()) if named else (None, None, ())


def _tool_call(call: Any) -> ToolCallText:
    name, arguments = call["name"], call.get("arguments", call.get("parameters", {}))
    if not isinstance(name, str) or not name:
        raise ValueError("a tool call without a name")
    if isinstance(arguments, str):
        return ToolCallText(name, arguments or "{}")
    return ToolCallText(name, json.dumps(arguments or {}, ensure_ascii=False))
