"""architecture_context(): the context length that transformers gives to an architecture."""

from __future__ import annotations

from functools import lru_cache

CONTEXT_ATTRIBUTES = ("max_position_embeddings", "n_positions", "seq_length", "max_seq_len")


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
