"""ModelDefaults: the settings in generation_config.json, for requests that do not set them."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pico_jupyter.types import SamplingParams

# The smallest and largest accepted values. A top_k of -1 means 0.
RANGES = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "top_k": (-1, 1_000_000_000),
    "min_p": (0, 1),
    "repetition_penalty": (0.01, 100),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}


@dataclass(frozen=True, slots=True)
class ModelDefaults:
    """`stop` are the stop strings. `ignored` says for each unusable value why it is ignored."""

    sampling: SamplingParams
    stop: tuple[str, ...]
    ignored: tuple[str, ...]


def model_defaults(generation: Mapping[str, object]) -> ModelDefaults:
    """The defaults in the content of generation_config.json. `do_sample: false` means greedy at any temperature."""
    given = {key: generation[key] for key in RANGES if generation.get(key) is not None}
    values: dict[str, Any] = {key: value for key, value in given.items() if _is_usable(key, value)}
    if "top_k" in values:
        values["top_k"] = max(0, int(values["top_k"]))
    if generation.get("do_sample") is False:
        values["temperature"] = 0.0
    ignored = [_reason(key, value) for key, value in given.items() if key not in values]
    stop = generation.get("stop_strings") or []
    texts = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else [None]
    if not all(isinstance(text, str) for text in texts):
        ignored.append(f"generation_config.json: stop_strings must be texts, not {reprlib.repr(stop)}; it is ignored")
        texts = []
    return ModelDefaults(SamplingParams(**values), tuple(text for text in texts if text), tuple(ignored))


def _is_usable(key: str, value: object) -> bool:
    smallest, largest = RANGES[key]
    if not isinstance(value, int | float) or isinstance(value, bool) or not smallest <= value <= largest:
        return False
    return key != "top_k" or value == int(value)


def _reason(key: str, value: object) -> str:
    smallest, largest = RANGES[key]
    kind = "a whole number" if key == "top_k" else "a number"
    text = f"{key} must be {kind} from {smallest} to {largest}, not {reprlib.repr(value)}"
    return f"generation_config.json: {text}; it is ignored"
