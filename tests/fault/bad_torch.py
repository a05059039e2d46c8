"""Files of torch.save that are damaged, lie, hold other things than tensors, or want to be executed."""

import builtins
import collections
import os
import pickle
import struct
import subprocess
import zipfile

from fault.tiny import INPUT, Tiny
from support import tensors, torch_files
from support.cases import Cases, expect
from support.torch_files import ROOT, Rebuilt, Storage

FILE = f"math/{torch_files.MODEL}"
INDEX = f"math/{torch_files.INDEX}"
TRACE = "executed"


def register(cases: Cases):
    for name, (words, bomb) in HOSTILE_PICKLES.items():
        cases.add("pickle", name, hostile(bomb, words))
    for name, place in PLACES.items():
        cases.add("pickle", name, hidden(place))
    for name, (words, spoil) in DAMAGED_FILES.items():
        cases.add("torch", name, damaged(spoil, words))
    for name, (words, how) in FALSE_FILES.items():
        cases.add("torch", name, false_file(how, words))
    for name, (words, change) in FALSE_TENSORS.items():
        cases.add("torch", name, false_tensor(change, words))
    for function in (shard_missing, shard_without_its_tensor, base_ends_within_the_data, other_shape_than_the_base,
                     good_files_merge):
        cases.case("torch")(function)


def torch_tiny(context):
    """The task `math` as a file of torch."""
    tiny = Tiny(context)
    tiny.file("math").unlink()
    torch_files.write_model(tiny.root / "math", tiny.models["math"])
    return tiny


def good_files_merge(context):
    """Those that the other cases spoil."""
    torch_tiny(context).merges()


def refused_without_effect(tiny, words):
    tiny.refused(INPUT, FILE, *words)
    expect(not (tiny.root / TRACE).exists(), "what the file holds was executed")


class Bomb:
    """What pickle.load would execute."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def touch():
    return Bomb(os.system, f"touch {TRACE}")


def hostile(bomb, words):
    """The pickle is `bomb`, bytes or what pickle makes of an object."""
    def check(context):
        tiny = torch_tiny(context)
        content = bomb()
        written = content if isinstance(content, bytes) else torch_files.pickled(content)
        torch_files.write_archive(tiny.root / FILE, written, {"0": bytes(64)})
        refused_without_effect(tiny, words)
    return check


# What the message must name; then: the pickle.
HOSTILE_PICKLES = {
    "pickle-calls-os-system": (["`posix.system`", "nothing was executed"], touch),
    "pickle-calls-a-shell": (["call`"], lambda: Bomb(subprocess.call, ["touch", TRACE])),
    "pickle-calls-eval": (["eval`"], lambda: Bomb(builtins.eval, f"open('{TRACE}', 'w')")),
    "pickle-calls-open": (["open`"], lambda: Bomb(builtins.open, TRACE, "w")),
    "pickle-looks-up-an-attribute": (["getattr`"], lambda: Bomb(builtins.getattr, TRACE, "upper")),
    "pickle-loads-a-pickle": (["loads`"], lambda: Bomb(pickle.loads, pickle.dumps(touch()))),
    "pickle-makes-an-object": (["0x81"], lambda: b"\x80\x02ccollections\nOrderedDict\n)\x81."),
    "pickle-uses-the-text-protocol": (["0x63"], lambda: pickle.dumps(touch(), 0)),
    "pickle-of-protocol-4": (["0x80 0x04"], lambda: pickle.dumps({}, 4)),
    "pickle-nests-tuples": (["holds a tuple"], lambda: b"\x80\x02)" + b"\x85" * 200_000 + b"."),
    "pickle-nests-lists": (["holds a list"], lambda: b"\x80\x02]" + b"]" * 200_000 + b"a" * 200_000 + b"."),
    "pickle-of-marks": ([], lambda: b"\x80\x02" + b"(" * 200_000 + b"."),
    "pickle-of-20-million-steps": (["10000000"], lambda: b"\x80\x02" + b")" * 20_000_000 + b"."),
    "pickle-with-a-huge-memo": (["4294967295"], lambda: b"\x80\x02}r\xff\xff\xff\xff."),
    "pickle-with-a-huge-text": (["4294967295"], lambda: b"\x80\x02X\xff\xff\xff\xff."),
    "pickle-is-cut": ([], lambda: torch_files.pickled({"a": 1})[:-1]),
    "pickle-is-empty": ([], lambda: b""),
    "pickle-goes-on-behind-its-end": ([], lambda: b"\x80\x02}." + pickle.dumps(touch(), 2)),
    "pickle-holds-a-single-tensor": (["single tensor"], lambda: with_names(lambda named: tensor(named))),
    "pickle-holds-a-number": (["`step`", "an integer"], lambda: with_names(lambda named: {"w": tensor(named), "step": 3})),
    "pickle-holds-nothing": (["`bias`", "None"], lambda: {"bias": None}),
    "pickle-holds-a-state-dict-inside": (["`state_dict`", "a dictionary"],
                                         lambda: with_names(lambda named: {"epoch": 3, "state_dict": {"w": tensor(named)}})),
    "pickle-has-a-number-for-a-name": (["an integer"], lambda: with_names(lambda named: {1: tensor(named)})),
    "pickle-has-an-unprintable-name": (["`a\\x1b[2J`"], lambda: {"a\x1b[2J": None}),
}


def tensor(named, **change):
    return torch_files.rebuilt(named, tensors.raw("F32", (16,), bytes(64)), "0", change)


def with_names(make):
    """The pickle of `make(named)`, while the names of torch are known."""
    with torch_files.names_of_torch() as named:
        return torch_files.pickled(make(named))


def hidden(place):
    """A bomb at some place of an otherwise good state dict."""
    def check(context):
        tiny = torch_tiny(context)
        torch_files.write_archive(tiny.root / FILE, with_names(place), {"0": bytes(64)})
        refused_without_effect(tiny, ["`posix.system`"])
    return check


def with_attributes(dictionary, **attributes):
    dictionary.__dict__.update(attributes)
    return dictionary


PLACES = {
    "bomb-beside-a-tensor": lambda named: {"w": tensor(named), "x": touch()},
    "bomb-for-a-name": lambda named: {touch(): tensor(named)},
    "bomb-in-the-metadata": lambda named: with_attributes(collections.OrderedDict(w=tensor(named)), _metadata=touch()),
    "bomb-for-hooks": lambda named: {"w": tensor(named, hooks=touch())},
    "bomb-for-a-shape": lambda named: {"w": tensor(named, shape=(touch(),))},
    "bomb-for-a-storage": lambda named: {"w": tensor(named, storage=Storage(touch(), "0", 16))},
    "bomb-for-a-storage-s-key": lambda named: {"w": tensor(named, storage=Storage(named("torch", "FloatStorage"), touch(), 16))},
    "bomb-for-the-state-of-a-parameter": lambda named: {"w": Rebuilt(
        named("torch._utils", "_rebuild_parameter_with_state"), tensor(named), False, collections.OrderedDict(), touch())},
    "bomb-deep-inside": lambda named: {"w": tensor(named, hooks={"a": [({"b": touch()},)]})},
}


def damaged(spoil, words):
    """Bytes of a good file -> bytes of a bad one."""
    def check(context):
        tiny = torch_tiny(context)
        file = tiny.root / FILE
        file.write_bytes(spoil(bytearray(file.read_bytes())))
        tiny.refused(INPUT, FILE, *words)
    return check


END = 22  # bytes of the end of the directory
ENTRY, HEADER = b"PK\x01\x02", b"PK\x03\x04"


def put(kind, where, value):
    """Puts a number at `where(content)`."""
    def spoil(content):
        struct.pack_into(kind, content, where(content), value)
        return content
    return spoil


def in_end(offset):
    return lambda content: len(content) - END + offset


def in_entry(name, offset):
    """In the directory's entry of that name."""
    return lambda content: content.rindex(ENTRY, 0, content.rindex(f"{ROOT}/{name}".encode())) + offset


def in_header(name, offset):
    return lambda content: content.rindex(HEADER, 0, content.index(f"{ROOT}/{name}".encode())) + offset


def overlapping(content):
    """The first storage reaches over the second."""
    for offset in (20, 24):
        struct.pack_into("<I", content, in_entry("data/0", offset)(content), 15000)
    for offset in (18, 22):
        struct.pack_into("<I", content, in_header("data/0", offset)(content), 15000)
    return content


def wide_end(begin, size, entries):
    """A zip64 end that says something of its own before the plain one."""
    def spoil(content):
        position = len(content) - END
        wide = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, entries, entries, size, begin)
        locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, position, 1)
        plain = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        return bytes(content[:position]) + wide + locator + plain
    return spoil


DAMAGED_FILES = {
    "file-is-empty": ([], lambda content: b""),
    "file-ends-within-a-storage": (["Truncated"], lambda content: content[:5000]),
    "file-ends-within-the-directory": (["Truncated"], lambda content: content[:-100]),
    "file-ends-a-byte-early": (["Truncated"], lambda content: content[:-1]),
    "file-has-a-byte-more": (["directory"], lambda content: content + b"\0"),
    "file-begins-with-something-else": (["zip"], lambda content: b"#!/bin/sh\n" + content),
    "file-has-zeros-for-its-directory": (["directory"], lambda content: content[:-400] + bytes(400 - END) + content[-END:]),
    "file-is-a-bare-pickle": (["torch before 1.6"], lambda content: torch_files.pickled([1, 2])),
    "file-is-a-git-lfs-pointer": (["git lfs pull"], lambda content: b"version https://git-lfs.github.com/spec/v1\n"),
    "directory-begins-elsewhere": (["directory"], put("<I", in_end(16), 0)),
    "directory-has-other-entries": (["7 entries", "65535"], lambda content: put("<H", in_end(8), 65535)(put("<H", in_end(10), 65535)(content))),
    "zip64-begin-of-64-bits": (["18446744073709551615"], wide_end(2**64 - 1, 100, 7)),
    "zip64-size-of-64-bits": (["18446744073709551615"], wide_end(0, 2**64 - 1, 7)),
    "zip64-entries-of-64-bits": (["directory"], wide_end(0, 0, 2**64 - 1)),
    "zip64-sum-overflows": (["directory"], wide_end(2**63, 2**63 + 100, 7)),
    "entry-is-encrypted": (["data.pkl", "encrypted"], put("<H", in_entry("data.pkl", 8), 1)),
    "entry-is-longer-than-the-file": (["data/0"], put("<I", in_entry("data/0", 24), 0xFFFFFF)),
    "entry-has-its-length-nowhere": (["zip entry"], put("<I", in_entry("data/0", 24), 0xFFFFFFFF)),
    "entry-begins-behind-the-file": (["data/0"], put("<I", in_entry("data/0", 42), 0x7FFFFFFF)),
    "entry-has-another-name-before-its-data": (["data/1"], put("<B", in_header("data/1", 30 + len(ROOT) + 6), ord("9"))),
    "entry-is-compressed-before-its-data": (["data/1"], put("<H", in_header("data/1", 8), 8)),
    "entries-overlap": (["data/0", "data/1", "overlap"], overlapping),
}


def false_file(how, words):
    """A good zip file that is none of torch's."""
    def check(context):
        tiny = torch_tiny(context)
        torch_files.write_model(tiny.root / "math", tiny.models["math"], **how)
        tiny.refused(INPUT, FILE, *words)
    return check


FALSE_FILES = {
    "storage-is-missing": (["a.weight", "`0`"], {"entries": {"data/0": None}}),
    "storage-is-too-short": (["b.bias", "3200", "3199"], {"entries": {"data/1": bytes(3199)}}),
    "storages-are-big-endian": (["big", "little"], {"entries": {"byteorder": b"big"}}),
    "version-is-unknown": (["99"], {"entries": {"version": b"99\n"}}),
    "version-is-missing": (["version"], {"entries": {"version": None}}),
    "data-pkl-is-missing": (["data.pkl"], {"entries": {"data.pkl": None}}),
    "storage-is-under-a-detour": (["a.weight", "`0`"], {"entries": {"data/../data/0": bytes(12800), "data/0": None}}),
    "entries-are-compressed": (["compressed"], {"compression": zipfile.ZIP_DEFLATED}),
}


def false_tensor(change, words):
    """One tensor of a good file is described otherwise; a.weight is F32 [40, 80]."""
    def check(context):
        tiny = torch_tiny(context)
        torch_files.write_model(tiny.root / "math", tiny.models["math"], changes={"a.weight": change})
        tiny.refused(INPUT, FILE, "a.weight", *words)
    return check


FALSE_TENSORS = {
    "tensor-is-transposed": (["not contiguous", ".contiguous()"], {"shape": (80, 40), "strides": (1, 80)}),
    "tensor-repeats-a-row": (["not contiguous"], {"strides": (0, 1)}),
    "tensor-leaves-its-storage": (["leave its storage"], {"offset": 1}),
    "tensor-begins-before-its-storage": (["-1"], {"offset": -1}),
    "tensor-is-larger-than-its-storage": (["leave its storage"], {"shape": (41, 80)}),
    "tensor-size-overflows": (["overflows"], {"shape": (2**33, 2**33), "strides": (2**33, 1)}),
    "tensor-has-a-negative-size": (["-40"], {"shape": (-40, -80)}),
    "tensor-of-a-thousand-dimensions": (["1000"], {"shape": (1,) * 998 + (40, 80), "strides": (1,) * 1000}),
}


def sharded(context):
    """The task `math` as two shards; returns what the second holds too."""
    tiny = Tiny(context)
    content = list(tiny.models["math"].items())
    tiny.file("math").unlink()
    torch_files.write_shards(tiny.root / "math", [dict(content[:2]), dict(content[2:])])
    return tiny, dict(content[2:])


def shard_missing(context):
    tiny, _ = sharded(context)
    (tiny.root / "math" / "pytorch_model-00002-of-00002.bin").unlink()
    tiny.refused(INPUT, "math/pytorch_model-00002-of-00002.bin", torch_files.INDEX)


def shard_without_its_tensor(context):
    tiny, second = sharded(context)
    lost = next(iter(second))
    second.pop(lost)
    torch_files.write_file(tiny.root / "math" / "pytorch_model-00002-of-00002.bin", second)
    tiny.refused(INPUT, INDEX, lost)


def base_ends_within_the_data(context):
    tiny = Tiny(context)
    tiny.file("base").unlink()
    torch_files.write_model(tiny.root / "base", tiny.models["base"])
    file = tiny.root / "base" / torch_files.MODEL
    file.write_bytes(file.read_bytes()[:5000])
    tiny.refused(INPUT, "base/pytorch_model.bin")


def other_shape_than_the_base(context):
    tiny = torch_tiny(context)
    torch_files.write_model(tiny.root / "math", tiny.models["math"], changes={"a.weight": {"shape": (80, 40), "strides": (40, 1)}})
    tiny.refused(INPUT, "math", "a.weight", "[40, 80]", "[80, 40]")
