"""Reads the sample with h5py and compares every value with what its bytes mean."""

import json
import sys

import h5py
import numpy as np

DTYPES = ["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"]
BYTES = dict(zip(DTYPES, [8, 4, 2, 2, 1, 1, 8, 4, 2, 1, 8, 4, 2, 1, 1]))


def sample_bytes(dtype, elements):
    at = np.arange(elements * BYTES[dtype], dtype=np.uint64) + np.uint64(1_000_003 * DTYPES.index(dtype))
    mixed = (at * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(56)
    return (mixed & np.uint64(1) if dtype == "BOOL" else mixed).astype(np.uint8).tobytes()


def values(dtype, data):
    """What the bytes of a safetensors tensor mean, in numpy's types."""
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    if dtype == "F8_E5M2":
        return (np.frombuffer(data, "u1").astype(np.uint16) << 8).view(np.float16)
    if dtype == "F8_E4M3":
        return np.frombuffer(data, "u1")
    if dtype == "BOOL":
        return np.frombuffer(data, "?")
    kind = {"F": "f", "I": "i", "U": "u"}[dtype[0]]
    return np.frombuffer(data, f"<{kind}{BYTES[dtype]}")


def same(found, expected):
    if found.dtype.kind == "f":
        return np.array_equal(found, expected, equal_nan=True) and np.array_equal(np.signbit(found), np.signbit(expected))
    return np.array_equal(found, expected)


def check(condition, what):
    if not condition:
        sys.exit(f"wrong: {what}")


def tensors_of(dtype):
    return {f"model.{dtype}.weight": (70, 1000), f"größe/{dtype}": (3, 1, 5, 7), f"groups/{dtype}/deep/down": (1,),
            f"{dtype} scalar": (), f"{dtype}.empty": (4, 0), f"{dtype}.bias": (1021,)}


def main(path):
    with h5py.File(path, "r") as file:
        attributes = file.attrs
        check(attributes["format"] == "mpimerge", "format")
        check(attributes["format_version"] == 1 and attributes["complete"] == 1, "format_version, complete")
        check(attributes["job"] == "merge_method: ties\n", "job")
        check(json.loads(attributes["summary"]) == {"größe": 1}, "summary")
        check(json.loads(attributes["__metadata__"]) == {"format": "pt", "größe": '"quoted"\n'}, "__metadata__")
        check(sorted(file["parameters"]) == sorted(DTYPES), "datasets of /parameters")

        names = []
        file["tensors"].visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        check(sorted(names) == sorted(name for dtype in DTYPES for name in tensors_of(dtype)), "names of tensors")

        for dtype in DTYPES:
            flat = file["parameters"][dtype]
            check(flat.attrs["dtype"] == dtype and flat.chunks is None, f"/parameters/{dtype}")
            expected = values(dtype, sample_bytes(dtype, flat.shape[0]))
            check(flat.dtype == expected.dtype, f"{dtype} is {flat.dtype}, expected {expected.dtype}")
            check(same(flat[:], expected), f"values of /parameters/{dtype}")
            for name, shape in tensors_of(dtype).items():
                tensor = file["tensors"][name]
                count = int(np.prod(shape))
                begin = tensor.attrs["offset"]
                check(tensor.attrs["dtype"] == dtype and tensor.shape == shape, f"dtype or shape of {name}")
                check(tensor.dtype == expected.dtype, f"{name} is {tensor.dtype}, expected {expected.dtype}")
                check(same(np.asarray(tensor[()]), expected[begin:begin + count].reshape(shape)), f"values of {name}")
                check(same(flat[begin:begin + count], expected[begin:begin + count]), f"slice by offset of {name}")
    print(f"{len(names)} tensors of {len(DTYPES)} types are right")


main(sys.argv[1])
