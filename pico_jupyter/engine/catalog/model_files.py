"""read_model(): reads the properties of a model from the files of its folder. Loads no weights."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import operator
import os
import re
import stat
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import msgspec

from pico_jupyter.engine.catalog.architectures import ModelLibrary, architecture_context, has_model_type
from pico_jupyter.engine.catalog.embedding_files import EmbeddingRecipe, embedding_context, read_recipe
from pico_jupyter.engine.catalog.generation_config import model_defaults
from pico_jupyter.engine.catalog.history_format import SPECIAL_TOKENS
from pico_jupyter.engine.catalog.template_features import TemplateFeatures
from pico_jupyter.engine.catalog.template_process import TemplateProcess
from pico_jupyter.engine.catalog.weights import BrokenModel, ModelWeights, NotALanguageModel
from pico_jupyter.engine.formats.infill_format import detect_infill_format
from pico_jupyter.template_switch import TemplateSwitch
from pico_jupyter.types import Capability, ModelInfo

# The folder of further chat templates. Each file has the name of its template.
ADDITIONAL_TEMPLATES = "additional_chat_templates"
# Models whose template is a Python function of mlx-lm, by the `chat_template_type` of their tokenizer_config.json.
PYTHON_TEMPLATES = {
    "deepseek_v32": TemplateFeatures(
        tools=True,
        reasoning_switch=TemplateSwitch({"enable_thinking": True}, {"enable_thinking": False}),
        reasoning_default=True,
    )
}
UNKNOWN_LICENSE = "unknown license"
LICENSE_LIMIT = 32_768
# Characters at the beginning of tokenizer.json in which the added tokens are searched.
ADDED_TOKENS_LIMIT = 1 << 20
# Larger files are not hashed whole, but in samples of SAMPLE_SIZE bytes.
WHOLE_FILE_LIMIT = 16 << 20
SAMPLE_SIZE = 1 << 16
DIGEST_SUFFIXES = (".safetensors", ".json", ".jinja", ".model", ".txt")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "tekken.json")
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
HEADS_KEYS = ("num_attention_heads", "num_key_value_heads", "n_head", "n_heads", "num_heads")
EXPERTS_KEYS = ("num_experts", "num_local_experts", "n_routed_experts")
# The smallest and largest accepted numbers. A model outside these ranges can block the engine while it is built.
SHAPE_RANGES = (
    (DEPTH_KEYS, 0, 10_000),
    (HEADS_KEYS, 1, 100_000),
    (EXPERTS_KEYS, 0, 100_000),
    (WIDTH_KEYS, 1, 1_000_000),
)
# In tokens. The context of a model whose files and architecture specify none, such as Mamba.
DEFAULT_CONTEXT = 8192
# transformers writes a number above this for a tokenizer without a limit.
NO_LIMIT = 10**9

Source = Literal["builtin", "folder", "hub"]
Files = Mapping[str, os.stat_result]


def list_files(folder: Path) -> Files:
    """The status of each regular file in a folder, by name. Follows links. Skips hidden files and broken links."""
    files: dict[str, os.stat_result] = {}
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=operator.attrgetter("name")):
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode) and not entry.name.startswith("."):
                files[entry.name] = status
    return files


def read_model(
    folder: Path,
    files: Files,
    process: TemplateProcess,
    *,
    name: str,
    repo: str,
    source: Source,
    generic_tools: bool = False,
) -> ModelInfo:
    """Describe the model in `folder`.

    `files` is the result of list_files(). `process` tests the chat templates. `name`, `repo` ("" for none) and `source`
    are copied to the result. With `generic_tools`, each model with a chat template has the capability "tools" (see
    EngineOptions). Raises BrokenModel, NotALanguageModel and OSError.
    """
    config = _read_object(folder, files, "config.json")
    recipe = _check_kind(folder, files, config)
    for part in (config, _text_config(config), _object(config.get("vision_config"))):
        _check_shapes(part)
    weights = _read_weights(folder, files)
    tokenizer_config = _read_object(folder, files, "tokenizer_config.json", required=False)
    templates = _read_templates(folder, files, tokenizer_config)
    added_tokens = _added_tokens(folder, files, tokenizer_config)
    features = TemplateFeatures() if recipe else _template_features(process, templates, tokenizer_config, added_tokens)
    quantization = _object(config.get("quantization")) or _object(config.get("quantization_config"))
    text_config = _text_config(config)
    defaults = model_defaults(_read_object(folder, files, "generation_config.json", required=False))
    context_length = _context_length(config, text_config, tokenizer_config)
    return ModelInfo(
        name=name,
        path=str(folder),
        repo=repo,
        source=source,
        size=sum(status.st_size for status in files.values()),
        weights_size=weights.nbytes,
        float32_size=weights.float32_nbytes,
        modified=max(status.st_mtime for status in files.values()),
        digest=_digest(folder, files, weights.headers),
        family=str(config["model_type"]),
        parameter_count=weights.count_parameters(quantization),
        quantization=weights.quantization_name(quantization),
        context_length=embedding_context(config, recipe, context_length) if recipe else context_length,
        embedding_length=recipe.dimensions if recipe else (_first_count(WIDTH_KEYS, text_config, config) or 0),
        block_count=_first_count(DEPTH_KEYS, text_config, config) or 0,
        capabilities=_capabilities(
            config,
            files,
            features,
            tools=features.tools or (generic_tools and templates["default"] != ""),
            insert=detect_infill_format(added_tokens) is not None,
        )
        if recipe is None
        else ("embedding",),
        reasoning_switch=features.reasoning_switch,
        reasoning_default=features.reasoning_default,
        parameters=defaults.sampling,
        stop=defaults.stop,
        ignored=defaults.ignored,
        template=templates["default"],
        license=_license(folder, files),
    )


def _read_object(folder: Path, files: Files, file: str, *, required: bool = True) -> Mapping[str, object]:
    if file not in files:
        if required:
            raise BrokenModel(f"{file} is missing")
        return {}
    try:
        value = _decode((folder / file).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BrokenModel(f"{file} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise BrokenModel(f"{file} is not a JSON object")
    return value


def _decode(data: bytes) -> object:
    """Decode JSON, also with NaN and Infinity, which Python writes: Nemotron-H has them in its config.json."""
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        return json.loads(data)


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text_config(config: Mapping[str, object]) -> Mapping[str, object]:
    nested = (_object(config.get(key)) for key in ("text_config", "llm_config", "language_config"))
    return next((found for found in nested if found), config)


def _check_kind(folder: Path, files: Files, config: Mapping[str, object]) -> EmbeddingRecipe | None:
    """Return the recipe of an embedding model, and None for a model that generates text.

    Raises BrokenModel if the model cannot be run, and NotALanguageModel for a model of another kind.
    """
    if not isinstance(config.get("model_type"), str):
        raise BrokenModel("config.json has no model_type")
    if config.get("model_file") is not None:
        raise BrokenModel("it needs its own Python code (model_file), which is never run")
    recipe = read_recipe(folder, config)
    if recipe is None:
        _check_architecture(config)
        _check_library(config, files)
    return recipe


def _check_architecture(config: Mapping[str, object]) -> None:
    """Raise NotALanguageModel if the model does not generate text."""
    if config.get("is_encoder_decoder") is True:
        raise NotALanguageModel("an encoder-decoder model")
    architectures = config.get("architectures") or []
    names = [str(name) for name in architectures] if isinstance(architectures, list) else []
    if any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names):
        return
    is_composite = _text_config(config) is not config or "vision_config" in config
    if is_composite and (not names or any("ForConditionalGeneration" in name for name in names)):
        return
    if not names and _first_count(DEPTH_KEYS, config) and _first_count(("vocab_size",), config):
        return
    raise NotALanguageModel(", ".join(names) or "an unknown architecture")


def _check_library(config: Mapping[str, object], files: Files) -> None:
    """Raise BrokenModel if the installed library has no module for the model_type."""
    library: ModelLibrary = "mlx_vlm" if _has_vision(config, files) else "mlx_lm"
    model_type = str(config["model_type"])
    if not has_model_type(library, model_type):
        package = library.replace("_", "-")
        raise BrokenModel(f"{package} {version(package)} does not support the model_type {model_type[:100]!r}")


def _check_shapes(config: Mapping[str, object]) -> None:
    """Raise BrokenModel if a number of the config is outside its range. Lists are not checked."""
    for keys, smallest, largest in SHAPE_RANGES:
        for key in keys:
            value = config.get(key)
            if isinstance(value, int | float) and not smallest <= value <= largest:
                raise BrokenModel(f"config.json: {key} must be from {smallest} to {largest}, not {value}")


def _weight_files(files: Files) -> list[str]:
    """The files that mlx-lm and mlx-vlm load: model*.safetensors, or without such files all safetensors files."""
    safetensors = [file for file in files if file.endswith(".safetensors")]
    return [file for file in safetensors if file.startswith("model")] or safetensors


def _read_weights(folder: Path, files: Files) -> ModelWeights:
    names = _weight_files(files)
    if not names:
        gguf = " (GGUF files are not supported)" if any(file.endswith(".gguf") for file in files) else ""
        raise BrokenModel(f"there are no *.safetensors files{gguf}")
    index = _read_object(folder, files, "model.safetensors.index.json", required=False)
    missing = sorted({str(file) for file in _object(index.get("weight_map")).values()} - files.keys())
    if missing:
        raise BrokenModel(f"{missing[0]} is missing")
    if not any(file in files for file in TOKENIZER_FILES):
        raise BrokenModel("there is no tokenizer")
    weights = ModelWeights()
    for name in names:
        weights.add_file(folder / name, files[name].st_size)
    return weights


def _digest(folder: Path, files: Files, headers: Mapping[str, bytes]) -> str:
    """The SHA-256 of the files' names, sizes and contents. Of a large file, only the header and three samples."""
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
            for offset in (0, status.st_size // 2, status.st_size - SAMPLE_SIZE):
                file.seek(offset)
                digest.update(file.read(SAMPLE_SIZE))
    return digest.hexdigest()


def _first_count(keys: tuple[str, ...], *configs: Mapping[str, object]) -> int | None:
    """The first positive number below NO_LIMIT that is found in the configs under one of `keys`."""
    for config in configs:
        for key in keys:
            value = config.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < NO_LIMIT:
                return int(value)
    return None


def _context_length(
    config: Mapping[str, object], text_config: Mapping[str, object], tokenizer_config: Mapping[str, object]
) -> int:
    """The context length from the model's files, else that of its architecture, else DEFAULT_CONTEXT."""
    return (
        _first_count(CONTEXT_KEYS, text_config, config)
        or _first_count(("model_max_length",), tokenizer_config)
        or architecture_context(str(text_config.get("model_type", "")), str(config["model_type"]))
        or DEFAULT_CONTEXT
    )


def _read_templates(folder: Path, files: Files, tokenizer_config: Mapping[str, object]) -> Mapping[str, str]:
    """The chat templates by name, from the files that transformers reads. "default" is used without tools.

    A template named "tool_use" is used with tools. Without any template the text of "default" is empty.
    """
    named: dict[str, str] = {}
    template = _read_object(folder, files, "chat_template.json", required=False).get("chat_template")
    template = tokenizer_config.get("chat_template") if template is None else template
    if isinstance(template, list):
        template = {str(_object(item).get("name")): _object(item).get("template") for item in template}
    if isinstance(template, dict):
        named = {name: text for name, text in template.items() if isinstance(text, str)}
    elif isinstance(template, str):
        named["default"] = template
    if "chat_template.jinja" in files:
        named = {"default": _read_text(folder / "chat_template.jinja")}
        for path in sorted((folder / ADDITIONAL_TEMPLATES).glob("*.jinja")):
            named[path.stem] = _read_text(path)
    return {"default": next(iter(named.values()), "")} | named


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenModel(f"{path.name} cannot be read: {error}") from error


def _template_features(
    process: TemplateProcess,
    templates: Mapping[str, str],
    tokenizer_config: Mapping[str, object],
    added_tokens: frozenset[str],
) -> TemplateFeatures:
    if not templates["default"] and (known := PYTHON_TEMPLATES.get(str(tokenizer_config.get("chat_template_type")))):
        return known
    special_tokens: dict[str, str] = {}
    for key in SPECIAL_TOKENS:
        token = tokenizer_config.get(key)
        token = token.get("content") if isinstance(token, dict) else token
        special_tokens[key] = token if isinstance(token, str) else ""
    texts = {name: text for name, text in templates.items() if text and name in ("default", "tool_use")}
    features = {name: process.detect(text, special_tokens, added_tokens) for name, text in texts.items()}
    return dataclasses.replace(
        features.get("default", TemplateFeatures()), tools=any(found.tools for found in features.values())
    )


def _added_tokens(folder: Path, files: Files, tokenizer_config: Mapping[str, object]) -> frozenset[str]:
    """The texts of the added tokens, from tokenizer_config.json, else from the beginning of tokenizer.json."""
    decoder = _object(tokenizer_config.get("added_tokens_decoder"))
    if not decoder and "tokenizer.json" in files:
        with (folder / "tokenizer.json").open(encoding="utf-8", errors="replace") as file:
            beginning = file.read(ADDED_TOKENS_LIMIT)
        found = re.search(r'"added_tokens"\s*:\s*(\[.*?\}\s*\])', beginning, re.DOTALL)
        try:
            tokens = msgspec.json.decode(found[1]) if found else []
        except msgspec.DecodeError:
            tokens = []
        return frozenset(str(_object(token).get("content")) for token in tokens)
    return frozenset(str(_object(token).get("content")) for token in decoder.values())


def _has_vision(config: Mapping[str, object], files: Files) -> bool:
    return "vision_config" in config and any(file in files for file in IMAGE_PROCESSOR_FILES)


def _capabilities(
    config: Mapping[str, object], files: Files, features: TemplateFeatures, *, tools: bool, insert: bool
) -> tuple[Capability, ...]:
    vision = _has_vision(config, files)
    has_video_token = any(config.get(key) is not None for key in ("video_token_id", "video_token_index"))
    supported: dict[Capability, bool] = {
        "completion": True,
        "thinking": features.reasoning_switch is not None,
        "tools": tools,
        "vision": vision,
        "video": vision and (has_video_token or "video_preprocessor_config.json" in files),
        "insert": insert,
    }
    return tuple(capability for capability, is_supported in supported.items() if is_supported)


def _license(folder: Path, files: Files) -> str:
    """The text of a license file, else the license that the front matter of README.md names, else UNKNOWN_LICENSE."""
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
