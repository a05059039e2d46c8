"""An HDF5 file of mpimerge, read with h5py."""

import hashlib
import json

import h5py
import numpy as np

from support.tensors import ELEMENT_BYTES, Tensor


def stored_bytes(dataset):
    """The bytes as they lie in the file, whatever float type HDF5 thinks they are."""
    stored = dataset.id.get_type()
    values = np.empty(dataset.id.shape, dtype=f"V{stored.get_size()}")
    if values.size:
        dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, values, mtype=stored)
    return values.tobytes()


def text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


class Merged:
    """All tensors and attributes of one file."""

    def __init__(self, path):
        self.path = path
        self.tensors = {}
        self.faults = []
        with h5py.File(path, "r") as file:
            self.attributes = {key: file.attrs[key] for key in file.attrs}
            self.parameters = {name: stored_bytes(file["parameters"][name]) for name in file["parameters"]}
            file["tensors"].visititems(self._take)
        self._check_root()

    @property
    def summary(self):
        return json.loads(text(self.attributes["summary"]))

    @property
    def digest(self):
        """One text for the bytes of every dataset under /parameters."""
        return " ".join(f"{name}:{len(data)}:{hashlib.sha256(data).hexdigest()[:16]}"
                        for name, data in sorted(self.parameters.items()))

    def _take(self, name, item):
        if not isinstance(item, h5py.Dataset):
            return
        dtype = text(item.attrs["dtype"])
        tensor = Tensor(dtype, tuple(item.id.shape), stored_bytes(item))
        self.tensors[name] = tensor
        begin = int(item.attrs["offset"]) * ELEMENT_BYTES[dtype]
        if tensor.data != self.parameters.get(dtype, b"")[begin:begin + len(tensor.data)]:
            self.faults.append(f"/tensors/{name} is not the slice at its offset of /parameters/{dtype}")

    def _check_root(self):
        wanted = {"format": "mpimerge", "format_version": "1", "complete": "1"}
        for key, value in wanted.items():
            found = text(self.attributes.get(key, "missing"))
            if found != value:
                self.faults.append(f"attribute {key} is {found}, expected {value}")
        for key in ("job", "summary", "__metadata__"):
            if key not in self.attributes:
                self.faults.append(f"attribute {key} is missing")
        held = sum(len(tensor.data) for tensor in self.tensors.values())
        stored = sum(len(data) for data in self.parameters.values())
        if held != stored:
            self.faults.append(f"the tensors hold {held} bytes, /parameters {stored}")
