"""What the installed libraries know about a model_type: whether they can load it, and its default context length."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

CONTEXT_ATTRIBUTES = ("max_position_embeddings", "n_positions", "seq_length", "max_seq_len")

ModelLibrary = Literal["mlx_lm", "mlx_vlm"]


def has_model_type(library: ModelLibrary, model_type: str) -> bool:
    """Whether a library has a module for a model_type. True as well if this cannot be found out without an import."""
    modules = _model_modules(library)
    name = model_type.lower() if library == "mlx_vlm" else model_type
    return not modules or name in modules or _other_names(library).get(name) in modules


@lru_cache(maxsize=2)
def _model_modules(library: ModelLibrary) -> frozenset[str]:
    """The modules in the folder `models` of a library, which is not imported; none if the renamed ones are unknown."""
    if not _other_names(library):
        return frozenset()
    modules = (entry for entry in (_folder(library) / "models").iterdir() if not entry.name.startswith("_"))
    return frozenset(entry.stem for entry in modules if entry.suffix == ".py" or entry.is_dir())


@lru_cache(maxsize=2)
def _other_names(library: ModelLibrary) -> Mapping[str, str]:
    """The model_types whose module has another name, from the source of the library; {} if they are not found."""
    try:
        source = (_folder(library) / "utils.py").read_text(encoding="utf-8")
        literal = re.search(r"^MODEL_REMAPPING = (\{.*?^\})", source, re.DOTALL | re.MULTILINE)
        return dict(ast.literal_eval(literal[1])) if literal else {}
    except (OSError, ValueError, SyntaxError):
        return {}


def _folder(library: ModelLibrary) -> Path:
    """The folder of a library. Raises FileNotFoundError if it is not installed."""
    spec = find_spec(library)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(library)
    return Path(spec.origin).parent


@lru_cache(maxsize=64)
def architecture_context(*model_types: str) -> int | None:
    """The default context length, in tokens, of the first of `model_types` for which transformers has one.

    transformers is imported here, because only few models need it and the import takes a second.
    """
    from transformers import CONFIG_MAPPING  # noqa: PLC0415  # the import takes a second

    for model_type in model_types:
        if model_type not in CONFIG_MAPPING:
            continue
        config = CONFIG_MAPPING[model_type]()
        for part in (config, getattr(config, "text_config", None)):
            for name in CONTEXT_ATTRIBUTES:
                value = getattr(part, name, None)
                if isinstance(value, int) and value > 0:
                    return value
    return None
