"""`jupyter pico list`, `show` and `ps`: print models as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from pico_jupyter.sizes import about, parameter_count
from pico_jupyter.sources.server_address import ServerAddress
from pico_jupyter.sources.server_source import get_json
from pico_jupyter.types import ModelInfo

FOREVER_YEAR = 2200  # api/ps reports a later year for a model that stays loaded without limit.


def print_models(models: Iterable[ModelInfo]) -> None:
    """Print one line per model."""
    rows = [
        (
            info.name,
            about(info.size),
            info.quantization,
            parameter_count(info.parameter_count),
            ", ".join(info.capabilities),
            info.source,
        )
        for info in models
    ]
    print_table(("NAME", "SIZE", "WEIGHTS", "PARAMETERS", "CAPABILITIES", "SOURCE"), rows)


def show_model(info: ModelInfo) -> None:
    """Print one line per property."""
    sampling = {name: getattr(info.parameters, name) for name in info.parameters.__struct_fields__}
    properties = {
        "name": info.name,
        "repository": info.repo or "-",
        "folder": info.path,
        "family": info.family,
        "parameters": parameter_count(info.parameter_count),
        "weights": info.quantization,
        "size": about(info.size),
        "context": f"{info.context_length} tokens",
        "layers": str(info.block_count),
        "width": str(info.embedding_length),
        "capabilities": ", ".join(info.capabilities),
        "reasoning": _reasoning(info),
        "sampling": ", ".join(f"{name} {value}" for name, value in sampling.items() if value is not None) or "-",
        "modified": f"{datetime.fromtimestamp(info.modified, UTC):%Y-%m-%d %H:%M} UTC",
        "digest": info.digest,
        "license": info.license.partition("\n")[0] or "-",
    }
    for name, value in properties.items():
        print(f"{name:<14}{value}")


def print_resident(server: ServerAddress | None) -> None:
    """Print one line per loaded model of `server`, or that there is no server. Raises PicoError."""
    if server is None:
        print("no Jupyter server with pico_jupyter is running")
        return
    rows = [
        (model["name"], about(model["size"]), f"{model['context_length']}", _until(model["expires_at"]))
        for model in get_json(server, "pico/api/ps")["models"]
    ]
    print_table(("NAME", "SIZE", "CONTEXT", "UNTIL"), rows)


def _reasoning(info: ModelInfo) -> str:
    if info.reasoning_switch and info.reasoning_switch.off is not None:
        return f"switchable, {'on' if info.reasoning_default else 'off'} by default"
    return "always on" if "thinking" in info.capabilities else "none"


def _until(timestamp: str) -> str:
    expires = datetime.fromisoformat(timestamp.replace("Z", "+00:00"))
    if expires.year > FOREVER_YEAR:
        return "no limit"
    seconds = max(0, round((expires - datetime.now(UTC)).total_seconds()))
    return f"{seconds // 60} min {seconds % 60} s from now"


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below their headings, in columns."""
    lines = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
