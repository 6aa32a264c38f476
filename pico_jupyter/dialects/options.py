"""How to generate: sampling, limits, drafts, and Ollama's `options`. Knows no message and no answer."""

from __future__ import annotations

from typing import Literal, NoReturn, TypeAlias

import msgspec

from pico_jupyter.dialects.fields import INT64_MAX, INT64_MIN, Fields, refuse_type
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import SamplingParams

OPENAI_FALLBACK = SamplingParams(
    temperature=1.0,
    top_p=1.0,
    top_k=0,
    min_p=0.0,
    repetition_penalty=1.0,
    repetition_context_size=20,
    presence_penalty=0.0,
    presence_context_size=20,
    frequency_penalty=0.0,
    frequency_context_size=20,
)
OLLAMA_FALLBACK = SamplingParams(
    temperature=0.8,
    top_p=0.9,
    top_k=40,
    min_p=0.0,
    repetition_penalty=1.0,
    repetition_context_size=64,
    presence_penalty=0.0,
    presence_context_size=64,
    frequency_penalty=0.0,
    frequency_context_size=64,
)

MAX_STOPS = 64
FLOAT32_MAX = 3.4028234663852886e38
# What repeat_last_n -1 (all of the context) means when the request does not say how long that is.
_WHOLE_CONTEXT = 2**31 - 1

_OptionKind: TypeAlias = Literal["integer", "boolean", "float32"]
OPTION_KINDS: dict[str, _OptionKind] = {
    "num_ctx": "integer",
    "num_batch": "integer",
    "num_gpu": "integer",
    "main_gpu": "integer",
    "use_mmap": "boolean",
    "num_thread": "integer",
    "draft_num_predict": "integer",
    "num_keep": "integer",
    "seed": "integer",
    "num_predict": "integer",
    "top_k": "integer",
    "top_p": "float32",
    "min_p": "float32",
    "typical_p": "float32",
    "repeat_last_n": "integer",
    "temperature": "float32",
    "repeat_penalty": "float32",
    "presence_penalty": "float32",
    "frequency_penalty": "float32",
}
# Sent by clients, without a meaning here and unknown to Ollama too by now.
RETIRED_OPTIONS = frozenset(
    {
        "embedding_only",
        "f16_kv",
        "logits_all",
        "low_vram",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "num_gqa",
        "numa",
        "penalize_newline",
        "tfs_z",
        "use_mlock",
        "vocab_only",
    }
)


class Options(msgspec.Struct, frozen=True):
    """Ollama's `options` in our words. None: not given. `max_tokens` -1 is as many as the context holds.

    `unknown` are the names that nobody knows: ignored, and worth a line in the log.
    """

    sampling: SamplingParams = SamplingParams()
    max_tokens: int | None = None
    max_context: int | None = None
    stop: tuple[str, ...] | None = None
    draft_tokens: int | None = None
    unknown: tuple[str, ...] = ()


def read_options(fields: Fields) -> Options:
    options = fields.fields("options")
    if options is None:
        return Options()
    values = {key: _read_option(options, key, kind) for key, kind in OPTION_KINDS.items() if key in options}
    known = {*OPTION_KINDS, *RETIRED_OPTIONS, "stop"}
    num_ctx = _whole(values.get("num_ctx"))
    num_predict = _whole(values.get("num_predict"))
    draft_num_predict = _whole(values.get("draft_num_predict"))
    max_context = num_ctx if num_ctx is not None and num_ctx > 0 else None
    return Options(
        sampling=_options_sampling(values, max_context),
        max_tokens=num_predict if num_predict is None else max(num_predict, -1),
        max_context=max_context,
        stop=_read_option_stop(options),
        draft_tokens=draft_num_predict if draft_num_predict is None else max(draft_num_predict, 0),
        unknown=tuple(key for key in options.values if key not in known),
    )


def read_sampling(fields: Fields, options: Options) -> SamplingParams:
    """The top-level sampling fields over those of `options`."""
    top_k = fields.integer("top_k", minimum=-1)
    given = {
        "temperature": fields.number("temperature", 0, 2),
        "top_p": fields.number("top_p", 0, 1),
        "top_k": top_k if top_k is None else max(top_k, 0),
        "min_p": fields.number("min_p", 0, 1),
        "seed": fields.integer("seed"),
        "repetition_penalty": _read_repetition_penalty(fields),
        "repetition_context_size": fields.integer("repetition_context_size", minimum=1),
        "presence_penalty": fields.number("presence_penalty", -2, 2),
        "presence_context_size": fields.integer("presence_context_size", minimum=1),
        "frequency_penalty": fields.number("frequency_penalty", -2, 2),
        "frequency_context_size": fields.integer("frequency_context_size", minimum=1),
        "logit_bias": _read_logit_bias(fields),
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    sampling: SamplingParams = msgspec.structs.replace(options.sampling, **chosen)
    if sampling.top_p == 0:
        # Nothing but the most likely token is left; samplers disagree on what a top_p of 0 is.
        return msgspec.structs.replace(sampling, temperature=0.0, top_p=1.0)
    return sampling


def read_max_tokens(fields: Fields, options: Options) -> int | None:
    """The limit on visible and reasoning tokens together; None: as many as the context holds."""
    max_tokens = fields.integer("max_tokens", minimum=-1)
    if max_tokens == 0:
        raise InvalidRequest("Invalid value for 'max_tokens': it must be at least 1.", param="max_tokens")
    max_completion_tokens = fields.integer("max_completion_tokens", minimum=1)
    given = (max_completion_tokens, max_tokens, options.max_tokens)
    limit = next((value for value in given if value is not None), -1)
    return None if limit == -1 else limit


def read_draft_model(fields: Fields) -> str | None:
    """The model that drafts; None for what the server is configured with, which mlx_lm.server calls default_model."""
    model = fields.string("draft_model")
    return None if model in ("", "default_model") else model


def read_draft_tokens(fields: Fields, options: Options) -> int | None:
    """How many tokens a step may draft; None for the engine's own choice, 0 for none."""
    draft_tokens = fields.integer("num_draft_tokens", minimum=0)
    return options.draft_tokens if draft_tokens is None else draft_tokens


def read_stop(fields: Fields, options: Options) -> tuple[str, ...]:
    """The stop strings: `stop`, else that of `options`; "" stops nothing and is dropped."""
    value = fields.get("stop")
    if value is None:
        return options.stop or ()
    param = fields.param("stop")
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        refuse_type(param, "a string or an array of strings", value)
    for i, item in enumerate(value):
        if not isinstance(item, str):
            refuse_type(f"{param}[{i}]", "a string", item)
    _check_stop_count(value, param)
    return tuple(item for item in value if item)


def _read_option(options: Fields, key: str, kind: _OptionKind) -> float | bool | None:
    value = options.get(key)
    if kind == "boolean":
        if not isinstance(value, bool):
            _refuse_option(options, key, "of type boolean")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse_option(options, key, f"of type {kind}")
    if kind == "float32" and not abs(value) <= FLOAT32_MAX:
        _refuse_option(options, key, "of type float32")
    if kind == "integer":
        value = int(value)
        if not INT64_MIN <= value <= INT64_MAX:
            _refuse_option(options, key, "of type integer")
    return value


def _options_sampling(values: dict[str, float | bool | None], max_context: int | None) -> SamplingParams:
    """Ollama refuses no number: what is out of range is moved to its edge. A repeat_last_n of 0 turns penalties off."""
    seed = _whole(values.get("seed"))
    top_k = _whole(values.get("top_k"))
    last_n = _whole(values.get("repeat_last_n"))
    context_size = last_n
    if last_n is not None and last_n <= 0:
        context_size = None if last_n == 0 else max_context or _WHOLE_CONTEXT
    return SamplingParams(
        temperature=_clamp(values.get("temperature"), 0.0, FLOAT32_MAX),
        top_p=_clamp(values.get("top_p"), 0.0, 1.0),
        min_p=_clamp(values.get("min_p"), 0.0, 1.0),
        top_k=None if top_k is None else max(top_k, 0),
        seed=None if seed == -1 else seed,
        repetition_context_size=context_size,
        presence_context_size=context_size,
        frequency_context_size=context_size,
        repetition_penalty=1.0 if last_n == 0 else _positive(values.get("repeat_penalty")),
        presence_penalty=0.0 if last_n == 0 else _number(values.get("presence_penalty")),
        frequency_penalty=0.0 if last_n == 0 else _number(values.get("frequency_penalty")),
    )


def _read_option_stop(options: Fields) -> tuple[str, ...] | None:
    value = options.get("stop")
    if value is None:
        return None
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        _refuse_option(options, "stop", "of type array")
    if not all(isinstance(item, str) for item in value):
        _refuse_option(options, "stop", "of an array of strings")
    _check_stop_count(value, options.param("stop"))
    return tuple(item for item in value if item)


def _check_stop_count(stops: list[object], param: str) -> None:
    if len(stops) > MAX_STOPS:
        raise InvalidRequest(
            f"'{param}' holds {len(stops)} strings; at most {MAX_STOPS} are supported.",
            param=param,
            code="invalid_value",
        )


def _read_repetition_penalty(fields: Fields) -> float | None:
    value = fields.number("repetition_penalty", 0, FLOAT32_MAX)
    if value == 0:
        raise InvalidRequest(
            "Invalid value for 'repetition_penalty': it must be greater than 0.",
            param=fields.param("repetition_penalty"),
            code="invalid_value",
        )
    return value


def _read_logit_bias(fields: Fields) -> dict[int, float] | None:
    biases = fields.fields("logit_bias")
    if biases is None:
        return None
    result: dict[int, float] = {}
    for key in biases.values:
        # 18 digits always fit into 64 bits.
        if not (key.isascii() and key.isdigit() and len(key) <= 18):
            _refuse_bias(fields, f"'{key[:64]}' is not a token id")
        value = biases.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not -100 <= value <= 100:
            _refuse_bias(fields, f"the bias of token {key} must be a number between -100 and 100")
        result[int(key)] = float(value)
    return result or None


def _refuse_bias(fields: Fields, reason: str) -> NoReturn:
    raise InvalidRequest(
        f"Invalid value for 'logit_bias': {reason}.", param=fields.param("logit_bias"), code="invalid_value"
    )


def _refuse_option(options: Fields, key: str, expected: str) -> NoReturn:
    raise InvalidRequest(f'option "{key}" must be {expected}', param=options.param(key), code="invalid_type")


def _whole(value: float | bool | None) -> int | None:
    return None if value is None else int(value)


def _number(value: float | bool | None) -> float | None:
    return None if value is None else float(value)


def _clamp(value: float | bool | None, minimum: float, maximum: float) -> float | None:
    return None if value is None else min(max(float(value), minimum), maximum)


def _positive(value: float | bool | None) -> float | None:
    # A penalty of 0 or less has no meaning as a divisor; Ollama's 1.0 is off.
    return None if value is None else (float(value) if value > 0 else 1.0)
