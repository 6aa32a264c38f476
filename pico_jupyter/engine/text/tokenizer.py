"""Tokenizer: encodes and decodes text and renders the chat template for one model.

A tokenizer is loaded from local files only and runs no code from the model folder. After loading, only the cache of
token bytes changes. So the preparation threads and the engine thread may use one tokenizer at the same time.
"""

from __future__ import annotations

import copy
import datetime
import inspect
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import regex
from jinja2 import UndefinedError
from mlx_lm import tokenizer_utils
from transformers import PreTrainedTokenizerBase

from pico_jupyter.engine.catalog.content_format import ContentFormat, detect_content_format
from pico_jupyter.engine.catalog.history_format import (
    SPECIAL_TOKENS,
    HistoryFormat,
    detect_history_format,
    required_variables,
)
from pico_jupyter.engine.catalog.template_sandbox import TEMPLATE_FAILURES
from pico_jupyter.engine.formats.infill_format import InfillFormat, detect_infill_format
from pico_jupyter.engine.formats.output_format import OutputFormat, detect_output_format
from pico_jupyter.engine.text.time_limit import call_with_time_limit
from pico_jupyter.engine.text.token_decoder import TokenDecoder, token_decoder
from pico_jupyter.errors import InvalidRequest, ModelLoadFailed, TemplateFailed

# Template variables that a request cannot set, because they are arguments of the renderer.
_RENDERER_ARGUMENTS = inspect.signature(PreTrainedTokenizerBase.apply_chat_template).parameters
RESERVED_VARIABLES = (frozenset(_RENDERER_ARGUMENTS) | {"conversations", "messages"}) - {"documents"}

# Half of a UTF-16 pair. A template can print one with an escape, and tokenizers raise TypeError for it.
_SURROGATE = regex.compile("[\\ud800-\\udfff]")

# Seconds for one rendering. Most take a few milliseconds.
RENDERING_SECONDS = 10.0

# Encoded together with a continuation, as the text before it. No continuation begins with whitespace.
_BEFORE_CONTINUATION = "\n"


class Tokenizer:
    """A model's tokenizer, its chat template and its output format.

    `has_template`: the model has a chat template. `output_format` names the tags in the model's output,
    `eos_token_ids` the tokens that end an answer, `special_token_ids` the tokens without visible text. `vocab_size` is
    the number of tokens.
    """

    def __init__(
        self,
        hf: Any,
        *,
        decoder: TokenDecoder,
        output_format: OutputFormat,
        eos_token_ids: frozenset[int],
        render: Callable[..., Any] | None = None,
    ) -> None:
        self._hf = hf
        # The renderer of a chat template: the tokenizer's own, or a function of mlx-lm.
        self._render = render or partial(hf.apply_chat_template, tokenize=False)
        self.has_template = bool(render or hf.chat_template)
        self._decoder = decoder
        self._bytes: dict[int, bytes] = {}
        # Some tokenizer classes cannot encode in two threads at once. Decoding needs no lock.
        self._lock = threading.Lock()
        self.output_format = output_format
        self.eos_token_ids = eos_token_ids
        self.special_token_ids = _special_token_ids(hf)
        self.vocab_size: int = len(hf)

    def __repr__(self) -> str:
        return f"<Tokenizer [{self.vocab_size} tokens | {self._decoder.name}]>"

    @property
    def fast_tokenizer(self) -> Any:
        """The tokenizer of transformers, whose backend is the tokenizers library."""
        return self._hf

    @property
    def strips_leading_space(self) -> bool:
        """Whether decoding removes the space that encoding adds before a text (sentencepiece)."""
        return self._decoder.strips_leading_space

    @cached_property
    def content_format(self) -> ContentFormat:
        """The form that the chat template expects for the content of a message."""
        return detect_content_format(lambda messages: self.render(messages, (), {}))

    @cached_property
    def history_format(self) -> HistoryFormat:
        """The forms that the chat template expects for tools, past calls and past reasoning."""
        return detect_history_format(self.render, accepts_strings=self.content_format.accepts_strings)

    @cached_property
    def control_tokens(self) -> frozenset[str]:
        """The tokens that structure a prompt: special tokens, and added tokens that are in the template or are tags.

        Except for tags, tokens without a letter (such as a run of line breaks) and words are ordinary text.
        """
        template, tags = str(self._hf.chat_template), self.output_format.tags
        added = self._hf.added_tokens_decoder.values()
        texts = {str(token) for token in added if token.special or str(token) in template or str(token) in tags}
        return frozenset(
            text for text in texts if text in tags or (regex.search(r"\p{L}", text) and not text.isalnum())
        )

    @cached_property
    def infill_format(self) -> InfillFormat | None:
        """The tokens for the text between a prefix and a suffix; None for a model without them."""
        return detect_infill_format({str(token) for token in self._hf.added_tokens_decoder.values()})

    @cached_property
    def first_tokens(self) -> list[int]:
        """The token that begins a text (BOS), in a list, or an empty list if the tokenizer adds none."""
        return self.encode("", add_special_tokens=True)[:1]

    @cached_property
    def plain(self) -> Tokenizer:
        """This tokenizer for answers that are plain text: without tags of reasoning, calls and messages."""
        plain = copy.copy(self)
        plain.output_format = OutputFormat()
        return plain

    def added_tokens_in(self, text: str) -> list[str]:
        """The added tokens that occur in `text`."""
        return [str(token) for token in self._hf.added_tokens_decoder.values() if str(token) in text]

    def added_token_ids(self, text: str) -> dict[str, int]:
        """The added tokens that occur in `text`, with their ids."""
        return {str(token): int(i) for i, token in self._hf.added_tokens_decoder.items() if str(token) in text}

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        """The token ids of a text. With `add_special_tokens`, the tokenizer adds its BOS and EOS, if it has them."""
        with self._lock:
            ids: list[int] = self._hf.encode(text, add_special_tokens=add_special_tokens)
        return ids

    def encode_continuation(self, text: str) -> list[int]:
        """The token ids of a text that follows other text: without the space that sentencepiece adds at the start."""
        if not self.strips_leading_space:
            return self.encode(text, add_special_tokens=False)
        before = self.encode(_BEFORE_CONTINUATION, add_special_tokens=False)
        tokens = self.encode(_BEFORE_CONTINUATION + text, add_special_tokens=False)
        if tokens[: len(before)] == before:
            return tokens[len(before) :]
        return self.encode(text, add_special_tokens=False)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens. Special tokens are left out, and invalid UTF-8 becomes U+FFFD."""
        data = b"".join(self.token_bytes(i) for i in ids if i not in self.special_token_ids)
        text = data.decode("utf-8", "replace")
        return text[1:] if self.strips_leading_space and text.startswith(" ") else text

    def decode_all(self, ids: Sequence[int]) -> str:
        """The text of tokens, special ones included. Invalid UTF-8 becomes U+FFFD."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The exact bytes of a token, special or not; b"" for an id without a token (padding of the vocabulary)."""
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
        """Render a conversation with the chat template, in jinja2's sandbox.

        `messages` and `tools` are dicts in the form that chat templates expect. `variables` are further variables of
        the template; names that the renderer reserves are ignored. With `continue_final_message` the text ends inside
        the last message. Lone surrogates become U+FFFD. Raises TemplateFailed, and InvalidRequest if the template
        takes too long, for which no other form of the conversation is tried.
        """
        if not self.has_template:
            raise TemplateFailed("chat template error: this model has no chat template; send a raw prompt")
        visible = {name: value for name, value in variables.items() if name not in RESERVED_VARIABLES}

        def apply(tools: list[dict[str, Any]] | None, required: Mapping[str, Any]) -> str:
            text: str = self._render(
                [dict(message) for message in messages],
                tools=tools,
                add_generation_prompt=not continue_final_message,
                continue_final_message=continue_final_message,
                **{**required, **visible},
            )
            text = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
            return _with_last_space(text, messages[-1].get("content")) if continue_final_message else text

        attempts: list[tuple[list[dict[str, Any]] | None, Mapping[str, Any]]] = [
            ([dict(tool) for tool in tools] or None, {})
        ]
        if not tools:
            # A template that is only for tool use requires a list.
            attempts += [([], {}), ([], self._required_variables())]
        failure: Exception | None = None
        for attempt in attempts:
            try:
                return call_with_time_limit(partial(apply, *attempt), RENDERING_SECONDS)
            except TEMPLATE_FAILURES as error:
                failure = error
            except TimeoutError:
                raise InvalidRequest("chat template error: the chat template takes too long") from None
        raise _template_failed(failure) from failure

    def _required_variables(self) -> dict[str, str]:
        """The variables that some templates need in every conversation, and the special tokens that the model lacks."""
        absent = {name: "" for name in SPECIAL_TOKENS if getattr(self._hf, name, None) is None}
        return absent | required_variables(datetime.date.today())


def _with_last_space(text: str, content: Any) -> str:
    """The text of a prompt, with the whitespace at the end of the continued `content` if the template removes it."""
    parts = content if isinstance(content, list) else [{"text": content}]
    continued = str(parts[-1].get("text") or "") if parts else ""
    written = continued.strip()
    return text + continued[len(continued.rstrip()) :] if written and text.endswith(written) else text


def _template_failed(error: Exception | None) -> TemplateFailed:
    variable = regex.fullmatch(r"'(\w+)' is undefined", str(error)) if isinstance(error, UndefinedError) else None
    if variable:
        text = f"the chat template needs the variable {variable[1]!r}, which chat_template_kwargs can set"
        return TemplateFailed(f"chat template error: {text}")
    return TemplateFailed(f"chat template error: {error}")


def load_tokenizer(path: Path) -> Tokenizer:
    """Load the tokenizer of the model folder `path`. Raises ModelLoadFailed."""
    try:
        wrapper = tokenizer_utils.load(path, {"trust_remote_code": False, "local_files_only": True})
        eos_token_ids = _eos_token_ids(path, wrapper.eos_token_id)
    except Exception as error:  # tokenizers raises a plain Exception for a file that it cannot use
        raise ModelLoadFailed(f"the tokenizer cannot be loaded: {error}") from error
    # mlx-lm's wrapper sets enable_thinking when it renders. The tokenizer inside the wrapper does not, so it is used.
    hf = wrapper.get_chat_template.__self__
    if not hf.chat_template:
        hf.chat_template = _read_json(path / "chat_template.json").get("chat_template")
    if isinstance(hf.chat_template, dict) and "default" not in hf.chat_template:
        hf.chat_template["default"] = next(iter(hf.chat_template.values()), "")
    templates = hf.chat_template.values() if isinstance(hf.chat_template, dict) else (hf.chat_template or "",)
    # transformers creates some tokenizers even without files. These have only added tokens and encode each text as [].
    if len(hf) <= len(hf.added_tokens_decoder):
        raise ModelLoadFailed("the tokenizer cannot be loaded: it has no vocabulary; a file may be missing")
    return Tokenizer(
        hf,
        decoder=token_decoder(hf),
        output_format=detect_output_format(
            "\n".join(templates), {str(token) for token in hf.added_tokens_decoder.values()}
        ),
        eos_token_ids=eos_token_ids,
        render=wrapper._chat_template,
    )


def _special_token_ids(hf: Any) -> frozenset[int]:
    added = {int(i) for i, token in hf.added_tokens_decoder.items() if token.special}
    return frozenset(added | set(hf.all_special_ids))


def _eos_token_ids(path: Path, tokenizer_eos: int | None) -> frozenset[int]:
    """The tokens that end an answer, from generation_config.json, config.json and the tokenizer together."""
    config = _read_json(path / "config.json")
    sources = (tokenizer_eos, _read_json(path / "generation_config.json"), config, config.get("text_config"))
    ids: set[int] = set()
    for source in sources:
        value = source.get("eos_token_id") if isinstance(source, dict) else source
        values = value if isinstance(value, list) else [value]
        ids.update(i for i in values if isinstance(i, int) and not isinstance(i, bool) and i >= 0)
    return frozenset(ids)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}
