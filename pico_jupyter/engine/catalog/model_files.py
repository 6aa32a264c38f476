"""One model folder read into a ModelInfo: everything from its files, nothing from its name. Loads no weights."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

import jinja2
import msgspec

from pico_jupyter.engine.catalog.template_facts import TemplateFacts, read_template
from pico_jupyter.types import Capability, ModelInfo, SamplingParams

UNKNOWN_LICENSE = "unknown license"
LICENSE_LIMIT = 32_768
WHOLE_FILE_LIMIT = 16 << 20
SAMPLE = 1 << 16
HEADER_LIMIT = 100 << 20
DIGEST_SUFFIXES = (".safetensors", ".json", ".jinja", ".model", ".txt")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "tekken.json")
EMBEDDING_FILES = ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json")
IMAGE_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json", "image_processor_config.json")
CONTEXT_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_sequence_length",
    "max_seq_len",
    "seq_length",
    "n_ctx",
    "model_max_length",
)
WIDTH_KEYS = ("hidden_size", "n_embd", "d_model", "model_dim", "dim")
DEPTH_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_transformer_layers")
DTYPE_NAMES = {"F64": "f64", "F32": "f32", "F16": "f16", "BF16": "bf16", "F8_E4M3": "fp8", "F8_E5M2": "fp8"}
# Of positions and masks, which loaders leave out.
COUNTING_DTYPES = frozenset({"I64", "I32", "BOOL"})
# transformers writes this where a tokenizer has no limit.
NO_LIMIT = 10**9

Source = Literal["builtin", "folder", "hub"]
Files = Mapping[str, os.stat_result]


class BrokenModel(Exception):
    """The folder is meant to be a model and cannot be used; the text says why."""


class NotALanguageModel(Exception):
    """The folder is a model of another kind (embeddings, speech, pictures); the text says which."""


class Tensor(msgspec.Struct):
    """An entry in the header of a safetensors file. `data_offsets` are bytes from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


@dataclass(slots=True)
class _Weights:
    tensors: dict[str, Tensor]
    headers: dict[str, bytes]

    @property
    def size(self) -> int:
        return sum(tensor.data_offsets[1] - tensor.data_offsets[0] for tensor in self.tensors.values())

    @property
    def float32_size(self) -> int:
        """Bytes in float32; 0 where they are not floats of 16 bits, or are so already."""
        dtypes = {tensor.dtype for tensor in self.tensors.values()} - COUNTING_DTYPES
        if not dtypes & {"F16", "BF16"} or not dtypes <= {"F16", "BF16", "F32"}:
            return 0
        return sum(4 * prod(tensor.shape) for tensor in self.tensors.values() if tensor.dtype not in COUNTING_DTYPES)


def list_files(folder: Path) -> Files:
    """The regular files of a folder with their sizes and times; links are followed, dangling ones left out."""
    files: dict[str, os.stat_result] = {}
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode) and not entry.name.startswith("."):
                files[entry.name] = status
    return files


def read_model(folder: Path, files: Files, *, name: str, repo: str, source: Source) -> ModelInfo:
    """The facts about the model in `folder`. Raises BrokenModel or NotALanguageModel."""
    config = _read_object(folder, files, "config.json")
    _check_kind(config, files)
    weights = _read_weights(folder, files)
    tokenizer_config = _read_object(folder, files, "tokenizer_config.json", required=False)
    template = _read_template_text(folder, files, tokenizer_config)
    facts = _template_facts(template, tokenizer_config)
    text_config = _text_config(config)
    generation = _read_object(folder, files, "generation_config.json", required=False)
    return ModelInfo(
        name=name,
        path=str(folder),
        repo=repo,
        source=source,
        size=sum(status.st_size for status in files.values()),
        weights_size=weights.size,
        float32_size=weights.float32_size,
        modified=max(status.st_mtime for status in files.values()),
        digest=_digest(folder, files, weights.headers),
        family=str(config["model_type"]),
        parameter_count=_parameter_count(weights.tensors, _quantization(config)),
        quantization=_quantization_name(weights.tensors, _quantization(config)),
        context_length=_context_length(config, text_config, tokenizer_config),
        embedding_length=_first_count(WIDTH_KEYS, text_config, config) or 0,
        block_count=_first_count(DEPTH_KEYS, text_config, config) or 0,
        capabilities=_capabilities(config, files, facts),
        reasoning_switch=facts.switch,
        reasoning_default=facts.default,
        parameters=_sampling(generation),
        stop=_stop(generation),
        template=template,
        license=_license(folder, files),
    )


def _read_object(folder: Path, files: Files, file: str, *, required: bool = True) -> Mapping[str, object]:
    if file not in files:
        if required:
            raise BrokenModel(f"{file} is missing")
        return {}
    try:
        value = msgspec.json.decode((folder / file).read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BrokenModel(f"{file} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise BrokenModel(f"{file} is not a JSON object")
    return value


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text_config(config: Mapping[str, object]) -> Mapping[str, object]:
    nested = (_object(config.get(key)) for key in ("text_config", "llm_config", "language_config"))
    return next((found for found in nested if found), config)


def _check_kind(config: Mapping[str, object], files: Files) -> None:
    """Refuse what does not write text. Decoders that were made into embedding models say so with their own files."""
    if not isinstance(config.get("model_type"), str):
        raise BrokenModel("config.json names no model_type")
    if config.get("model_file") is not None:
        raise BrokenModel("it brings Python code of its own (model_file), which is never run")
    if any(file in files for file in EMBEDDING_FILES):
        raise NotALanguageModel("an embedding model")
    if config.get("is_encoder_decoder") is True:
        raise NotALanguageModel("an encoder-decoder model")
    architectures = config.get("architectures") or []
    names = [str(name) for name in architectures] if isinstance(architectures, list) else []
    if any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names):
        return
    nested = _text_config(config) is not config or "vision_config" in config
    if nested and (not names or any("ForConditionalGeneration" in name for name in names)):
        return
    if not names and _first_count(DEPTH_KEYS, config) and _first_count(("vocab_size",), config):
        return
    raise NotALanguageModel(", ".join(names) or "an unknown architecture")


def _weight_files(files: Files) -> list[str]:
    """The files that loaders read: model*.safetensors, or every one where none is called so."""
    safetensors = [file for file in files if file.endswith(".safetensors")]
    return [file for file in safetensors if file.startswith("model")] or safetensors


def _read_weights(folder: Path, files: Files) -> _Weights:
    names = _weight_files(files)
    if not names:
        raise BrokenModel("there are no *.safetensors files")
    index = _read_object(folder, files, "model.safetensors.index.json", required=False)
    missing = sorted({str(file) for file in _object(index.get("weight_map")).values()} - files.keys())
    if missing:
        raise BrokenModel(f"{missing[0]} is missing")
    if not any(file in files for file in TOKENIZER_FILES):
        raise BrokenModel("there is no tokenizer")
    weights = _Weights({}, {})
    for name in names:
        header = _read_header(folder / name, files[name].st_size)
        weights.headers[name] = header
        weights.tensors.update(_tensors(name, header, files[name].st_size))
    return weights


def _read_header(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= min(size - 8, HEADER_LIMIT):
                raise BrokenModel(f"{path.name} is not a whole safetensors file")
            return file.read(length)
    except OSError as error:
        raise BrokenModel(f"{path.name} cannot be read: {error}") from error


def _tensors(name: str, header: bytes, size: int) -> dict[str, Tensor]:
    try:
        entries = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        entries.pop("__metadata__", None)
        tensors = {key: msgspec.json.decode(entry, type=Tensor) for key, entry in entries.items()}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BrokenModel(f"the header of {name} cannot be read: {error}") from error
    end = max((tensor.data_offsets[1] for tensor in tensors.values()), default=0)
    if 8 + len(header) + end > size:
        raise BrokenModel(f"{name} is cut off: {size} bytes of {8 + len(header) + end}")
    return tensors


def _digest(folder: Path, files: Files, headers: Mapping[str, bytes]) -> str:
    """sha256 over names, sizes and contents; of a big file its header and three samples instead of all of it."""
    digest = hashlib.sha256()
    for name, status in files.items():
        if not name.endswith(DIGEST_SUFFIXES):
            continue
        digest.update(f"{name}\0{status.st_size}\0".encode())
        digest.update(headers.get(name, b""))
        with (folder / name).open("rb") as file:
            if status.st_size <= WHOLE_FILE_LIMIT:
                digest.update(file.read())
                continue
            for offset in (0, status.st_size // 2, status.st_size - SAMPLE):
                file.seek(offset)
                digest.update(file.read(SAMPLE))
    return digest.hexdigest()


def _quantization(config: Mapping[str, object]) -> Mapping[str, object]:
    return _object(config.get("quantization")) or _object(config.get("quantization_config"))


def _bits(quantization: Mapping[str, object], layer: str = "") -> int:
    bits = _object(quantization.get(layer)).get("bits", quantization.get("bits"))
    return bits if isinstance(bits, int) and not isinstance(bits, bool) and 0 < bits <= 32 else 0


def _parameter_count(tensors: Mapping[str, Tensor], quantization: Mapping[str, object]) -> int:
    """Weights as the model was made: packed integers count as what they hold, their scales and biases not at all."""
    packed = {key.removesuffix(".scales") for key in tensors if key.endswith(".scales")}
    packed = {layer for layer in packed if f"{layer}.weight" in tensors}
    total = 0
    for key, tensor in tensors.items():
        layer, _, kind = key.rpartition(".")
        if layer in packed and kind in ("scales", "biases"):
            continue
        bits = _bits(quantization, layer) if layer in packed and kind == "weight" and tensor.dtype == "U32" else 0
        total += prod(tensor.shape) * 32 // bits if bits else prod(tensor.shape)
    return total


def _quantization_name(tensors: Mapping[str, Tensor], quantization: Mapping[str, object]) -> str:
    mode = quantization.get("mode")
    if isinstance(mode, str) and mode != "affine":
        return mode
    if bits := _bits(quantization):
        return f"{bits}bit"
    sizes: Counter[str] = Counter()
    for tensor in tensors.values():
        sizes[tensor.dtype] += tensor.data_offsets[1] - tensor.data_offsets[0]
    dtype = sizes.most_common(1)[0][0] if sizes else "unknown"
    return DTYPE_NAMES.get(dtype, dtype.lower())


def _first_count(keys: tuple[str, ...], *configs: Mapping[str, object]) -> int | None:
    for config in configs:
        for key in keys:
            value = config.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < NO_LIMIT:
                return int(value)
    return None


def _context_length(
    config: Mapping[str, object], text_config: Mapping[str, object], tokenizer_config: Mapping[str, object]
) -> int:
    found = _first_count(CONTEXT_KEYS, text_config, config) or _first_count(("model_max_length",), tokenizer_config)
    if found is None:
        raise BrokenModel("neither config.json nor tokenizer_config.json tells the context length")
    return found


def _read_template_text(folder: Path, files: Files, tokenizer_config: Mapping[str, object]) -> str:
    """The chat template in the order in which transformers looks for it."""
    if "chat_template.jinja" in files:
        try:
            return (folder / "chat_template.jinja").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BrokenModel(f"chat_template.jinja cannot be read: {error}") from error
    own_file = _read_object(folder, files, "chat_template.json", required=False)
    template = own_file.get("chat_template", tokenizer_config.get("chat_template"))
    if isinstance(template, list):
        named = {str(_object(item).get("name")): _object(item).get("template") for item in template}
        template = named.get("default", next(iter(named.values()), ""))
    return template if isinstance(template, str) else ""


def _template_facts(template: str, tokenizer_config: Mapping[str, object]) -> TemplateFacts:
    special_tokens: dict[str, str] = {}
    for key in ("bos_token", "eos_token", "pad_token", "unk_token"):
        token = tokenizer_config.get(key)
        token = token.get("content") if isinstance(token, dict) else token
        special_tokens[key] = token if isinstance(token, str) else ""
    try:
        return read_template(template, special_tokens)
    except jinja2.TemplateSyntaxError as error:
        raise BrokenModel(f"the chat template does not parse: {error}") from error


def _capabilities(config: Mapping[str, object], files: Files, facts: TemplateFacts) -> tuple[Capability, ...]:
    sees = "vision_config" in config and any(file in files for file in IMAGE_PROCESSOR_FILES)
    video_keys = ("video_token_id", "video_token_index")
    has_place = any(config.get(key) is not None for key in video_keys)
    films = sees and (has_place or "video_preprocessor_config.json" in files)
    found: list[tuple[Capability, bool]] = [
        ("completion", True),
        ("thinking", facts.thinking),
        ("tools", facts.tools),
        ("vision", sees),
        ("video", films),
    ]
    return tuple(capability for capability, there in found if there)


def _sampling(generation: Mapping[str, object]) -> SamplingParams:
    """The model's own sampling defaults. An explicit `do_sample: false` means greedy, whatever else is written."""

    def number(key: str) -> float | None:
        value = generation.get(key)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    top_k = number("top_k")
    return SamplingParams(
        temperature=0.0 if generation.get("do_sample") is False else number("temperature"),
        top_p=number("top_p"),
        top_k=None if top_k is None else int(top_k),
        min_p=number("min_p"),
        repetition_penalty=number("repetition_penalty"),
        presence_penalty=number("presence_penalty"),
        frequency_penalty=number("frequency_penalty"),
    )


def _stop(generation: Mapping[str, object]) -> tuple[str, ...]:
    stop = generation.get("stop_strings")
    if isinstance(stop, str):
        stop = [stop]
    return tuple(text for text in stop if isinstance(text, str) and text) if isinstance(stop, list) else ()


def _license(folder: Path, files: Files) -> str:
    """The text of a licence file, else what the model card's front matter names, else words that say so."""
    for file in files:
        if file.upper().split(".")[0] in ("LICENSE", "LICENCE", "COPYING"):
            text = (folder / file).read_text(encoding="utf-8", errors="replace")[:LICENSE_LIMIT].strip()
            if text:
                return text
    if "README.md" in files:
        card = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
        front_matter = re.match(r"\A---\r?\n(.*?)\r?\n---", card, re.DOTALL)
        for key in ("license_name", "license"):
            line = re.search(rf"^{key}:[ \t]*(\S.*)$", front_matter[1], re.MULTILINE) if front_matter else None
            if line:
                return line[1].strip().strip("'\"")
    return UNKNOWN_LICENSE
