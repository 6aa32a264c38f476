"""Searches the Hugging Face hub, and describes a model from its small files and the headers of its weights.

A model is described by the catalog's own code, so the panel shows the same before and after the download. Runs in a
child process.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from huggingface_hub import HfApi, constants, get_session, hf_hub_url
from huggingface_hub import ModelInfo as HubInfo
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]  # imported lazily

from pico_jupyter.download_reports import HubModel
from pico_jupyter.downloads.cache_layout import RepoFile
from pico_jupyter.downloads.file_transfer import open_range
from pico_jupyter.downloads.repo_files import choose_files
from pico_jupyter.engine.catalog.model_files import list_files, read_model
from pico_jupyter.engine.catalog.template_process import TemplateProcess
from pico_jupyter.engine.catalog.weights import BrokenModel, NotALanguageModel
from pico_jupyter.errors import PicoError
from pico_jupyter.sizes import parameter_count
from pico_jupyter.types import ModelInfo

TIMEOUT = 20.0
# The estimate of a model's memory includes a KV cache for this many tokens.
CONTEXT_TOKENS = 8192
# Bytes that are read of a larger file. The catalog needs only its beginning.
BEGINNING = 1 << 20
HEADER_BEGINNING = 1 << 17
HEADER_LIMIT = 100 << 20
SAFETENSORS = ".safetensors"
# The fields of a model that a search requests from the hub.
_SEARCH_FIELDS = ["downloads", "gated", "tags", "pipeline_tag"]
_BITS = re.compile(r"(?<![a-z0-9])(\d{1,2})-?bits?(?![a-z])|(mxfp4|mxfp8|nvfp4|bf16|fp16|fp32)", re.IGNORECASE)
_PARAMETERS = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)
_VISION = ("image-text-to-text", "video-text-to-text", "any-to-any")


def search_hub(words: str, limit: int) -> list[HubModel]:
    """Find models in MLX format, those of mlx-community first. Raises errors of huggingface_hub and its HTTP client."""
    query: dict[str, Any] = {"filter": "mlx", "sort": "downloads", "limit": limit, "expand": _SEARCH_FIELDS}
    if words:
        query["search"] = words
    headers = build_hf_headers(library_name="pico_jupyter")
    # HfApi.list_models() is not used. It waits for minutes if the hub limits the number of requests.
    response = get_session().get(f"{constants.ENDPOINT}/api/models", params=query, headers=headers, timeout=TIMEOUT)
    hf_raise_for_status(response)
    models = [_found_model(HubInfo(**found)) for found in response.json()]  # type: ignore[no-untyped-call]  # untyped in huggingface_hub
    return sorted(models, key=lambda model: not model.model.startswith("mlx-community/"))


def describe_hub_model(model: str) -> HubModel:
    """Describe a model exactly. Raises PicoError, and errors of huggingface_hub and its HTTP client."""
    info = HfApi().model_info(model, files_metadata=True, timeout=TIMEOUT)
    known = _found_model(info)
    try:
        files = choose_files(model, info.siblings or [])
    except PicoError as error:
        return msgspec.structs.replace(known, problem=error.message)
    known = msgspec.structs.replace(known, disk_bytes=sum({file.blob: file.size for file in files}.values()))
    with tempfile.TemporaryDirectory(prefix="pico_jupyter-") as temporary:
        folder = Path(temporary)
        for file in files:
            _write_beginning(model, str(info.sha), file, folder)
        try:
            described = read_downloaded(folder, model)
        except NotALanguageModel as error:
            return msgspec.structs.replace(known, problem=f"not a language model ({error})")
        except BrokenModel as error:
            return msgspec.structs.replace(known, problem=str(error))
        config = msgspec.json.decode((folder / "config.json").read_bytes())
    return msgspec.structs.replace(
        known,
        capabilities=list(described.capabilities),
        memory_bytes=described.weights_size + cache_bytes(config, described),
        parameters=parameter_count(described.parameter_count),
        quantization=described.quantization,
    )


def read_downloaded(folder: Path, model: str) -> ModelInfo:
    """Describe the model in a folder as the catalog does by default. Raises BrokenModel and NotALanguageModel."""
    with closing(TemplateProcess()) as process:
        return read_model(folder, list_files(folder), process, name=model, repo=model, source="hub", generic_tools=True)


def cache_bytes(config: dict[str, Any], info: ModelInfo) -> int:
    """Estimate the bytes of a KV cache in 16 bits for CONTEXT_TOKENS, or for the model's context if it is shorter."""
    nested = (config.get(key) for key in ("text_config", "llm_config", "language_config"))
    text = next((part for part in nested if isinstance(part, dict)), config)
    heads = _number(text, "num_attention_heads") or 1
    kv_heads = _number(text, "num_key_value_heads") or heads
    head_size = _number(text, "head_dim") or info.embedding_length // heads
    return 2 * 2 * info.block_count * kv_heads * head_size * min(CONTEXT_TOKENS, info.context_length)


def _number(config: dict[str, Any], key: str) -> int:
    value = config.get(key)
    return value if isinstance(value, int) and 0 < value < 10**6 else 0


def _found_model(info: HubInfo) -> HubModel:
    """Describe a model from its entry in the hub's list. Often only the name has the numbers of parameters and bits."""
    name = str(info.id)
    title = name.partition("/")[2] or name
    tags = [str(tag) for tag in info.tags or []]
    bits, size = _BITS.search(title), _PARAMETERS.search(title)
    return HubModel(
        model=name,
        title=title,
        license=next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), None),
        capabilities=["completion", "vision"] if info.pipeline_tag in _VISION else None,
        parameters=f"{size[1]}{size[2].upper()}" if size else None,
        quantization=(f"{bits[1]}bit" if bits[1] else bits[2].lower()) if bits else None,
        gated=bool(info.gated) if info.gated is not None else None,
        downloads=info.downloads,
    )


def _write_beginning(model: str, commit: str, file: RepoFile, folder: Path) -> None:
    """Write the beginning of a file, and extend it to its real size. The rest uses no space on the disk."""
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    pieces = (
        _header(model, commit, file) if file.path.endswith(SAFETENSORS) else _range(model, commit, file, 0, BEGINNING)
    )
    with path.open("wb") as output:
        for piece in pieces:
            output.write(piece)
        output.truncate(file.size)


def _header(model: str, commit: str, file: RepoFile) -> Iterator[bytes]:
    """The header of a safetensors file: eight bytes with its length, and the header itself."""
    beginning = b"".join(_range(model, commit, file, 0, HEADER_BEGINNING))
    end = 8 + int.from_bytes(beginning[:8], "little")
    yield beginning[:end]
    if len(beginning) < end <= min(file.size, HEADER_LIMIT):
        yield from _range(model, commit, file, len(beginning), end)


def _range(model: str, commit: str, file: RepoFile, start: int, end: int) -> Iterator[bytes]:
    """The bytes of a file from `start` to `end`, exclusive. The hub may send more; the rest is not read."""
    missing = min(end, file.size) - start
    if missing <= 0:
        return
    with open_range(hf_hub_url(model, file.path, revision=commit), start, start + missing - 1) as response:
        for piece in response.iter_raw():
            yield piece[:missing]
            missing -= len(piece)
            if missing <= 0:
                return
