"""Safetensors files written and read byte by byte, so that no test trusts the code it tests."""

import dataclasses
import json
import math
import pathlib
import struct

import numpy as np

ELEMENT_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4,
    "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}
FLOATING = ("F64", "F32", "F16", "BF16")
PASSED_THROUGH = tuple(dtype for dtype in ELEMENT_BYTES if dtype not in FLOATING)
INDEX = "model.safetensors.index.json"


@dataclasses.dataclass(frozen=True)
class Tensor:
    dtype: str
    shape: tuple
    data: bytes

    @property
    def elements(self):
        return math.prod(self.shape)

    def float32(self):
        """The values of a floating tensor, flat; only F64 is rounded."""
        if self.dtype == "BF16":
            bits = np.frombuffer(self.data, "<u2").astype(np.uint32) << 16
            return bits.view(np.float32)
        kind = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}[self.dtype]
        return np.frombuffer(self.data, kind).astype(np.float32)


def round_to(dtype, shape, values):
    """A floating tensor of `values`, rounded to nearest with ties to even."""
    values = np.asarray(values)
    if values.size != math.prod(shape):
        raise ValueError(f"{values.size} values for shape {shape}")
    if dtype == "BF16":
        bits = values.astype(np.float32).view(np.uint32).ravel().astype(np.uint64)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        quiet_nan = (bits >> 16) | 0x40
        is_nan = (bits & 0x7FFFFFFF) > 0x7F800000
        return Tensor(dtype, tuple(shape), np.where(is_nan, quiet_nan, rounded).astype("<u2").tobytes())
    kind = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype]
    return Tensor(dtype, tuple(shape), values.astype(kind).tobytes())


def raw(dtype, shape, data):
    """A tensor of given bytes."""
    tensor = Tensor(dtype, tuple(shape), bytes(data))
    if len(tensor.data) != tensor.elements * ELEMENT_BYTES[dtype]:
        raise ValueError(f"{len(tensor.data)} bytes for {dtype} {shape}")
    return tensor


def header_of(tensors, metadata=None):
    """The header of a file that holds `tensors` (name -> Tensor) back to back in their order."""
    header = {} if metadata is None else {"__metadata__": metadata}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + len(tensor.data)
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    return header


def file_bytes(header, data):
    """A safetensors file; `header` is an object for JSON, or text that is taken as it is."""
    text = header if isinstance(header, bytes) else json.dumps(header, ensure_ascii=False).encode()
    return struct.pack("<Q", len(text)) + text + data


def write_file(path, tensors, metadata=None):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = b"".join(tensor.data for tensor in tensors.values())
    path.write_bytes(file_bytes(header_of(tensors, metadata), data))


def write_model(directory, tensors, metadata=None):
    write_file(pathlib.Path(directory) / "model.safetensors", tensors, metadata)


def write_shards(directory, shards):
    """A directory of shards (each name -> Tensor) with the index that Hugging Face tools write."""
    directory = pathlib.Path(directory)
    weight_map = {}
    for number, tensors in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_file(directory / file, tensors)
        weight_map.update({name: file for name in tensors})
    total = sum(len(tensor.data) for tensors in shards for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (directory / INDEX).write_text(json.dumps(index, ensure_ascii=False))


def read_file(path):
    content = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + length])
    data = content[8 + length:]
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            tensors[name] = raw(entry["dtype"], entry["shape"], data[begin:end])
    return tensors


def read_model(directory):
    directory = pathlib.Path(directory)
    index = directory / INDEX
    if not index.exists():
        return read_file(directory / "model.safetensors")
    tensors = {}
    for file in sorted(set(json.loads(index.read_text())["weight_map"].values())):
        tensors.update(read_file(directory / file))
    return tensors
