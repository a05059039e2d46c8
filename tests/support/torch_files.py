"""Files of torch.save, written with Python's own pickle and zipfile: no torch is needed, and no code of mpimerge trusted."""

import collections
import contextlib
import io
import json
import pathlib
import pickle
import sys
import types
import zipfile

from support.tensors import ELEMENT_BYTES

INDEX = "pytorch_model.bin.index.json"
MODEL = "pytorch_model.bin"
ROOT = "archive"
STORAGES = {"F64": "DoubleStorage", "F32": "FloatStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage",
            "I64": "LongStorage", "I32": "IntStorage", "I16": "ShortStorage", "I8": "CharStorage", "U8": "ByteStorage",
            "BOOL": "BoolStorage"}
TYPES = {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "U64": "uint64", "U32": "uint32", "U16": "uint16"}


class Named:
    """Stands for a class or function of torch: pickled as its name."""

    def __init__(self, module, name):
        self.__module__, self.__qualname__ = module, name

    def __call__(self, *arguments):
        raise TypeError(f"{self.__qualname__} is only a name")

    def __reduce__(self):
        return self.__qualname__


class Storage:
    def __init__(self, kind, key, elements):
        self.reference = ("storage", kind, key, "cpu", elements)


class Rebuilt:
    """Pickled as a call, as torch does for its tensors."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return obj.reference if isinstance(obj, Storage) else None


@contextlib.contextmanager
def names_of_torch():
    """While pickle looks whether the names that it writes exist."""
    names = {}
    modules = {module: types.ModuleType(module) for module in ("torch", "torch._utils", "torch.storage")}

    def named(module, name):
        if (module, name) not in names:
            names[module, name] = Named(module, name)
            setattr(modules[module], name, names[module, name])
        return names[module, name]

    before = {module: sys.modules.get(module) for module in modules}
    sys.modules.update(modules)
    try:
        yield named
    finally:
        for module, old in before.items():
            if old is None:
                del sys.modules[module]
            else:
                sys.modules[module] = old


def strides_of(shape):
    strides, step = [], 1
    for size in reversed(shape):
        strides.insert(0, step)
        step *= max(size, 1)
    return tuple(strides)


def rebuilt(named, tensor, key, change=None):
    """A tensor that is all of the storage `key`; `change` may replace arguments of the call."""
    elements = tensor.elements
    if tensor.dtype in STORAGES:
        function, kind, tail = "_rebuild_tensor_v2", named("torch", STORAGES[tensor.dtype]), ()
    else:
        function, kind, tail = "_rebuild_tensor_v3", named("torch.storage", "UntypedStorage"), (named("torch", TYPES[tensor.dtype]),)
        elements *= ELEMENT_BYTES[tensor.dtype]
    arguments = {"storage": Storage(kind, key, elements), "offset": 0, "shape": tensor.shape,
                 "strides": strides_of(tensor.shape), "requires_grad": False, "hooks": collections.OrderedDict()}
    arguments.update(change or {})
    return Rebuilt(named("torch._utils", function), *arguments.values(), *tail)


def pickled(content, protocol=2):
    with io.BytesIO() as file:
        Pickler(file, protocol).dump(content)
        return file.getvalue()


def data_pkl(tensors, changes=None, shared=None):
    """The pickle of a state dict (name -> Tensor) and its storages (key -> bytes).

    `changes`: name -> arguments of the tensor that are others; `shared`: name -> the name whose storage it has too.
    """
    storages, keys = {}, {}
    with names_of_torch() as named:
        content = collections.OrderedDict()
        for name, tensor in tensors.items():
            owner = (shared or {}).get(name, name)
            if owner not in keys:
                keys[owner] = str(len(keys))
                storages[keys[owner]] = tensors[owner].data
            content[name] = rebuilt(named, tensor, keys[owner], (changes or {}).get(name))
        content._metadata = collections.OrderedDict({"": {"version": 1}})
        return pickled(content), storages


def write_archive(path, pickle_bytes, storages, entries=None, compression=zipfile.ZIP_STORED):
    """`entries`: further ones, or others instead: name -> bytes, or None to leave one out."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"data.pkl": pickle_bytes, "byteorder": b"little", **{f"data/{key}": data for key, data in storages.items()},
               "version": b"3\n", **(entries or {})}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            if data is not None:
                archive.writestr(f"{ROOT}/{name}", data)


def write_file(path, tensors, changes=None, shared=None, **how):
    write_archive(path, *data_pkl(tensors, changes, shared), **how)


def write_model(directory, tensors, **how):
    write_file(pathlib.Path(directory) / MODEL, tensors, **how)


def write_shards(directory, shards):
    """A directory of shards (each name -> Tensor) with the index that Hugging Face tools write."""
    weight_map = {}
    for number, tensors in enumerate(shards, start=1):
        file = f"pytorch_model-{number:05d}-of-{len(shards):05d}.bin"
        write_file(pathlib.Path(directory) / file, tensors)
        weight_map.update({name: file for name in tensors})
    (pathlib.Path(directory) / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}, ensure_ascii=False))
