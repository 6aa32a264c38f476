"""Writes model folders for tests. The safetensors files have valid headers, and all weights are zero."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "model_type": "qwen3",
    "architectures": ["Qwen3ForCausalLM"],
    "max_position_embeddings": 4096,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "vocab_size": 16,
}
TENSORS: dict[str, tuple[str, list[int]]] = {"model.embed_tokens.weight": ("BF16", [16, 8])}
SWITCH_TEMPLATE = (
    "{% for m in messages %}{{ m.content }}{% endfor %}"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
)
ITEM_BYTES = {"BF16": 2, "F16": 2, "F32": 4, "U32": 4, "U8": 1, "I64": 8, "F8_E4M3": 1}


def write_safetensors(path: Path, tensors: dict[str, tuple[str, list[int]]]) -> None:
    """Write a safetensors file of zeros."""
    header: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    offset = 0
    for name, (dtype, shape) in tensors.items():
        end = offset + prod(shape) * ITEM_BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(offset))


def write_model(
    folder: Path,
    *,
    tensors: dict[str, tuple[str, list[int]]] | None = None,
    template: str = "{{ messages[0].content }}",
    tokenizer_config: dict[str, Any] | None = None,
    generation: dict[str, Any] | None = None,
    files: dict[str, str] | None = None,
    **config: Any,
) -> Path:
    """Write a model folder. `config` updates CONFIG; None removes a key."""
    folder.mkdir(parents=True, exist_ok=True)
    merged = {key: value for key, value in {**CONFIG, **config}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(merged))
    write_safetensors(folder / "model.safetensors", TENSORS if tensors is None else tensors)
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": template, "eos_token": "<end>"} if tokenizer_config is None else tokenizer_config)
    )
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    for name, text in (files or {}).items():
        (folder / name).write_text(text)
    return folder


def write_hub_model(cache: Path, repo: str, revision: str = "abc123", **model: Any) -> Path:
    """Write a model into a Hugging Face cache: blobs, a snapshot of links to them, and refs/main."""
    root = cache / f"models--{repo.replace('/', '--')}"
    plain = write_model(cache / "plain", **model)
    snapshot = root / "snapshots" / revision
    snapshot.mkdir(parents=True, exist_ok=True)
    (root / "blobs").mkdir(exist_ok=True)
    for file in sorted(plain.iterdir()):
        blob = root / "blobs" / f"{revision}-{file.name}"
        file.rename(blob)
        (snapshot / file.name).symlink_to(blob)
    plain.rmdir()
    (root / "refs").mkdir(exist_ok=True)
    (root / "refs" / "main").write_text(revision)
    return snapshot
