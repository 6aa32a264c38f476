"""ModelWeights: size, dtypes and parameter count of a model, from its safetensors headers. Reads no tensor data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec

HEADER_LIMIT = 100 << 20
DTYPE_NAMES = {"F64": "f64", "F32": "f32", "F16": "f16", "BF16": "bf16", "F8_E4M3": "fp8", "F8_E5M2": "fp8"}
# The dtypes of positions and masks. Loaders ignore such tensors.
INTEGER_DTYPES = frozenset({"I64", "I32", "BOOL"})


Natural: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class BrokenModel(Exception):
    """The model in the folder cannot be used; the message gives the reason."""


class NotALanguageModel(Exception):
    """The folder holds a model of another kind (speech, images); the message names the kind."""


class TensorEntry(msgspec.Struct):
    """An entry in the header of a safetensors file. `data_offsets` (start, end) count from the end of the header."""

    dtype: str
    shape: tuple[Natural, ...]
    data_offsets: tuple[Natural, Natural]

    @property
    def nbytes(self) -> int:
        """The size of the tensor's data in bytes."""
        return self.data_offsets[1] - self.data_offsets[0]


@dataclass(slots=True)
class ModelWeights:
    """The tensors of a model by their names, and the raw header of each of its files by the file's name."""

    tensors: dict[str, TensorEntry] = field(default_factory=dict)
    headers: dict[str, bytes] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """The size of all tensors in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    @property
    def float32_nbytes(self) -> int:
        """The bytes of all floats after conversion to float32; 0 if the model is quantized or has no 16-bit floats."""
        dtypes = {tensor.dtype for tensor in self.tensors.values()} - INTEGER_DTYPES
        if not dtypes & {"F16", "BF16"} or not dtypes <= {"F16", "BF16", "F32"}:
            return 0
        return sum(4 * prod(tensor.shape) for tensor in self.tensors.values() if tensor.dtype not in INTEGER_DTYPES)

    def add_file(self, path: Path, size: int) -> None:
        """Read the header of a safetensors file of `size` bytes. Raises BrokenModel."""
        header = _read_header(path, size)
        self.headers[path.name] = header
        self.tensors.update(_parse_header(path.name, header, size))

    def count_parameters(self, quantization: Mapping[str, object]) -> int:
        """The number of weights before quantization. A packed integer counts as the weights that it contains.

        `quantization` is the object of that name in config.json. Scales and biases of quantized layers do not count.
        """
        quantized = {key.removesuffix(".scales") for key in self.tensors if key.endswith(".scales")}
        quantized = {layer for layer in quantized if f"{layer}.weight" in self.tensors}
        total = 0
        for key, tensor in self.tensors.items():
            layer, _, kind = key.rpartition(".")
            if layer in quantized and kind in ("scales", "biases"):
                continue
            is_packed = layer in quantized and kind == "weight" and tensor.dtype == "U32"
            bits = _bits(quantization, layer) if is_packed else 0
            total += prod(tensor.shape) * 32 // bits if bits else prod(tensor.shape)
        return total

    def quantization_name(self, quantization: Mapping[str, object]) -> str:
        """The mode ("mxfp4") or the bits ("4bit") of `quantization`; else the most common dtype ("bf16")."""
        mode = quantization.get("mode")
        if isinstance(mode, str) and mode != "affine":
            return mode
        if bits := _bits(quantization):
            return f"{bits}bit"
        sizes: Counter[str] = Counter()
        for tensor in self.tensors.values():
            sizes[tensor.dtype] += tensor.nbytes
        dtype = sizes.most_common(1)[0][0] if sizes else "unknown"
        return DTYPE_NAMES.get(dtype, dtype.lower())


def _read_header(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= min(size - 8, HEADER_LIMIT):
                raise BrokenModel(f"{path.name} is not a complete safetensors file")
            return file.read(length)
    except OSError as error:
        raise BrokenModel(f"{path.name} cannot be read: {error}") from error


def _parse_header(name: str, header: bytes, size: int) -> dict[str, TensorEntry]:
    try:
        entries = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        entries.pop("__metadata__", None)
        tensors = {key: msgspec.json.decode(entry, type=TensorEntry) for key, entry in entries.items()}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BrokenModel(f"the header of {name} cannot be read: {error}") from error
    end = max((tensor.data_offsets[1] for tensor in tensors.values()), default=0)
    if 8 + len(header) + end > size:
        raise BrokenModel(f"{name} is truncated: {size} bytes of {8 + len(header) + end}")
    for key, tensor in tensors.items():
        if prod(tensor.shape) > 8 * tensor.nbytes:  # No dtype has less than one bit.
            raise BrokenModel(f"{name}: the data of the tensor {key[:100]!r} is smaller than its shape")
    return tensors


def _bits(quantization: Mapping[str, object], layer: str = "") -> int:
    """The bits of a layer, else those of the model; 0 if they are unknown."""
    of_layer, of_model = quantization.get(layer), quantization.get("bits")
    bits = of_layer.get("bits", of_model) if isinstance(of_layer, dict) else of_model
    return bits if isinstance(bits, int) and not isinstance(bits, bool) and 0 < bits <= 32 else 0
