"""Chooses the files of a repository to download: weights in safetensors format, tokenizer, template and descriptions.

Programs, pickled weights and GGUF files are never chosen, so no code of a repository reaches this machine.
"""

from __future__ import annotations

import re
from typing import Any

from pico_jupyter.downloads.cache_layout import RepoFile
from pico_jupyter.errors import InvalidRequest

# Files at the top of the repository, additional chat templates, and the last layers of embedding models.
_WANTED = re.compile(
    r"(?!\.)[\w.-]+\.(?:safetensors|json|jinja|txt|model|tiktoken)|(?:README|LICENSE|LICENCE|COPYING|NOTICE)(?:\.\w+)?"
    r"|additional_chat_templates/(?!\.)[\w.-]+\.jinja|[0-9]+_(?:Pooling|Dense|Normalize)/(?:config\.json|model\.safetensors)"
)
_BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def choose_files(model: str, siblings: list[Any]) -> tuple[RepoFile, ...]:
    """Return the files to download, small ones first. `siblings` is that field of huggingface_hub's ModelInfo.

    Raises InvalidRequest if the repository has no weights in safetensors format.
    """
    chosen = [_repo_file(sibling) for sibling in siblings if _WANTED.fullmatch(sibling.rfilename)]
    weights = [file for file in chosen if file.path.endswith(".safetensors") and "/" not in file.path]
    if not weights:
        has_gguf = any(sibling.rfilename.endswith(".gguf") for sibling in siblings)
        found = "only GGUF files" if has_gguf else "no *.safetensors files"
        raise InvalidRequest(f"{model} has {found}, which MLX cannot load. Search for a version in MLX format.")
    # mlx-lm and mlx-vlm load model*.safetensors. Others are copies of the weights in another layout.
    loaded = [file for file in weights if file.path.startswith("model")] or weights
    others = [file for file in chosen if file not in weights]
    return tuple(
        sorted([*others, *loaded], key=lambda file: (file.path.endswith(".safetensors"), file.size, file.path))
    )


def _repo_file(sibling: Any) -> RepoFile:
    blob = sibling.lfs.sha256 if sibling.lfs is not None else sibling.blob_id
    if not isinstance(blob, str) or not _BLOB.fullmatch(blob) or not isinstance(sibling.size, int):
        raise InvalidRequest(f"the hub gives no checksum or no size for {sibling.rfilename}")
    return RepoFile(sibling.rfilename, blob, sibling.size)
