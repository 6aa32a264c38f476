"""Large models that answer like the built-in one: its weights, padded with zeros in sparse files."""

from __future__ import annotations

import json
import shutil
from math import prod
from pathlib import Path
from typing import Any

BUILTIN = Path(__file__).parents[2] / "pico_jupyter" / "builtin" / "pico-tiny"
WEIGHTS = "model.safetensors"
BF16_BYTES = 2


def write_wide_model(folder: Path, width: int) -> Path:
    """Write pico-tiny with `width` units in each of its six MLPs, 4,608 bytes per unit."""
    folder.mkdir(parents=True)
    for file in BUILTIN.iterdir():
        if file.is_file() and file.name != WEIGHTS:
            shutil.copy(file, folder)
    config = json.loads((BUILTIN / "config.json").read_text())
    narrow = config["intermediate_size"]
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": width}))
    tensors, data = _read(BUILTIN / WEIGHTS)
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in tensors.items():
        shape = [width if size == narrow else size for size in tensor["shape"]]
        begin, end = end, end + BF16_BYTES * prod(shape)
        header[name] = {"dtype": tensor["dtype"], "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with (folder / WEIGHTS).open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        start = file.tell()
        for name, tensor in tensors.items():
            rows = tensor["shape"][0] if len(tensor["shape"]) > 1 else 1
            begin, past = tensor["data_offsets"]
            length = (past - begin) // rows
            stride = BF16_BYTES * prod(header[name]["shape"][1:]) if rows > 1 else length
            for row in range(rows):
                file.seek(start + header[name]["data_offsets"][0] + row * stride)
                file.write(data[begin + row * length : begin + (row + 1) * length])
        file.truncate(start + end)
    return folder


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    return header, content[8 + length :]
