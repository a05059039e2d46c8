"""Safetensors files that are damaged or lie."""

import json
import struct

from fault.tiny import INPUT, Tiny
from support import tensors
from support.cases import Cases

FILE = "math/model.safetensors"
MANY = 2**64 - 1


def register(cases: Cases):
    for name, (words, spoil) in DAMAGED_FILES.items():
        cases.add("header", name, damaged(spoil, words))
    for name, (words, spoil) in FALSE_ENTRIES.items():
        cases.add("header", name, false_entry(spoil, words))
    cases.add("header", "header-of-more-than-100-MB", long_header)
    cases.add("header", "base-model-is-damaged-too", damaged_base)
    cases.add("header", "line-break-in-a-name-keeps-the-message-one-line", line_break_in_name)


def damaged(spoil, words):
    def check(context):
        tiny = Tiny(context)
        file = tiny.file("math")
        file.write_bytes(spoil(file.read_bytes()))
        tiny.refused(INPUT, FILE, *words)
    return check


def parts(content):
    """Header as an object, data."""
    (length,) = struct.unpack_from("<Q", content)
    return json.loads(content[8:8 + length]), content[8 + length:]


def with_length(length):
    return lambda content: struct.pack("<Q", length) + content[8:]


def with_header(text):
    """The same data behind another header."""
    return lambda content: tensors.file_bytes(text, parts(content)[1])


def with_text(old, new):
    """A header in which `old` became `new`, as it stands there."""
    def spoil(content):
        header, data = parts(content)
        text = json.dumps(header)
        if old not in text:
            raise ValueError(f"{old} is not in {text}")
        return tensors.file_bytes(text.replace(old, new, 1).encode(), data)
    return spoil


# What the message must name beside the file; then: bytes of the file -> bytes of a bad one.
DAMAGED_FILES = {
    "empty-file": ([], lambda content: b""),
    "file-of-seven-bytes": ([], lambda content: content[:7]),
    "file-ends-within-the-header": ([], lambda content: content[:60]),
    "file-ends-within-the-data": ([], lambda content: content[:-1]),
    "file-ends-behind-the-header": ([], lambda content: content[:-len(parts(content)[1])]),
    "bytes-behind-the-last-tensor": ([], lambda content: content + b"\0"),
    "header-length-zero": ([], with_length(0)),
    "header-length-beyond-the-file": (["1048576"], with_length(1 << 20)),
    "header-length-of-63-bits": ([], with_length(2**63)),
    "header-length-of-64-bits": ([], with_length(MANY)),
    "header-is-not-json": ([], with_header(b"tensors: none")),
    "header-is-cut-json": ([], with_header(b'{"a.weight": {"dtype": "F32", "sha')),
    "header-is-not-utf8": ([], with_header(b'{"\xff\xfe": 1}')),
    "header-is-an-array": ([], with_header(b"[]")),
    "header-is-a-number": ([], with_header(b"17")),
    "header-is-null": ([], with_header(b"null")),
    "header-of-100000-brackets": ([], with_header(b"[" * 100_000)),
    "header-of-100000-objects": ([], with_header(b'{"a":' * 100_000)),
    "text-behind-the-header": ([], lambda content: with_header(json.dumps(parts(content)[0]).encode() + b" {}")(content)),
    "duplicate-tensor": (["b.bias"], with_text('"a.weight"', '"b.bias"')),
    "duplicate-key-in-a-tensor": (["a.weight", "dtype"], with_text('"dtype": "F32"', '"dtype": "F32", "dtype": "F32"')),
    "metadata-is-a-list": (["__metadata__"], with_text("{", '{"__metadata__": [], ')),
    "metadata-holds-a-number": (["__metadata__"], with_text("{", '{"__metadata__": {"format": 1}, ')),
    "offset-of-65-bits": (["a.weight"], with_text("[0, 12800]", f"[0, {2**64}]")),
    "offset-with-a-fraction": (["a.weight"], with_text("[0, 12800]", "[0, 12800.0]")),
    "offset-in-quotes": (["a.weight"], with_text("[0, 12800]", '[0, "12800"]')),
}


def false_entry(change, words):
    """One tensor's entry says something else; the data stay."""
    def check(context):
        tiny = Tiny(context)
        file = tiny.file("math")
        header, data = parts(file.read_bytes())
        change(header)
        file.write_bytes(tensors.file_bytes(header, data))
        tiny.refused(INPUT, FILE, *words)
    return check


def put(tensor, **entries):
    return lambda header: header[tensor].update(entries)


def drop(tensor, key):
    return lambda header: header[tensor].pop(key)


# The good file: a.weight [0, 12800], b.bias [12800, 16000], c.weight [16000, 22000], ids [22000, 24400].
FALSE_ENTRIES = {
    "offsets-overlap": (["b.bias"], put("b.bias", data_offsets=[12796, 15996])),
    "offsets-leave-a-gap": (["ids"], put("ids", data_offsets=[22008, 24408])),
    "offsets-run-backwards": (["b.bias"], put("b.bias", data_offsets=[16000, 12800])),
    "offsets-end-beyond-the-file": ([], put("ids", data_offsets=[22000, 24440], shape=[305])),
    "offsets-overflow-64-bits": (["ids"], put("ids", data_offsets=[MANY - 2399, MANY])),
    "offset-is-negative": (["a.weight"], put("a.weight", data_offsets=[-12800, 0])),
    "offsets-are-three": (["b.bias"], put("b.bias", data_offsets=[12800, 16000, 16000])),
    "offsets-are-one": (["b.bias"], put("b.bias", data_offsets=[12800])),
    "offsets-of-two-tensors-are-the-same": (["ids"], put("ids", data_offsets=[12800, 16000], shape=[400])),
    "shape-times-type-is-too-little": (["a.weight"], put("a.weight", shape=[40, 79])),
    "shape-times-type-is-too-much": (["a.weight"], put("a.weight", shape=[40, 81])),
    "shape-is-zero-but-has-bytes": (["a.weight"], put("a.weight", shape=[0, 80])),
    "shape-product-overflows-to-the-right-number": (["a.weight"], put("a.weight", shape=[2**32, 2**32, 40, 80])),
    "shape-times-type-overflows-to-the-right-number": (["a.weight"], put("a.weight", shape=[2**62 + 3200])),
    "shape-is-negative": (["a.weight"], put("a.weight", shape=[-40, -80])),
    "shape-holds-a-fraction": (["a.weight"], put("a.weight", shape=[40.0, 80])),
    "shape-is-a-number": (["a.weight"], put("a.weight", shape=3200)),
    "shape-of-a-thousand-dimensions": (["a.weight"], put("a.weight", shape=[1] * 998 + [40, 80])),
    "type-is-unknown": (["a.weight", "F31"], put("a.weight", dtype="F31")),
    "type-is-a-number": (["a.weight"], put("a.weight", dtype=32)),
    "type-is-missing": (["a.weight", "dtype"], drop("a.weight", "dtype")),
    "shape-is-missing": (["a.weight", "shape"], drop("a.weight", "shape")),
    "offsets-are-missing": (["a.weight", "data_offsets"], drop("a.weight", "data_offsets")),
    "tensor-has-an-unknown-key": (["a.weight", "stride"], put("a.weight", stride=[8, 1])),
    "tensor-is-a-list": (["a.weight"], lambda header: header.update({"a.weight": [1, 2]})),
    "header-has-no-tensors": ([], lambda header: header.clear()),
}


def long_header(context):
    """The length is true: the file is as long, most of it a hole."""
    tiny = Tiny(context)
    length = 100_000_001
    with open(tiny.file("math"), "wb") as file:
        file.write(struct.pack("<Q", length) + b'{"a.weight":')
        file.truncate(8 + length)
    tiny.refused(INPUT, FILE, str(length))


def damaged_base(context):
    tiny = Tiny(context)
    file = tiny.file("base")
    file.write_bytes(file.read_bytes()[:-1])
    tiny.refused(INPUT, "base/model.safetensors")


def line_break_in_name(context):
    tiny = Tiny(context)
    content = dict(tiny.models["math"])
    content["evil\nmpimerge: all is well\x1b[2J"] = content["ids"]
    tiny.rewrite("math", content)
    outcome = tiny.refused(INPUT, "evil")
    if "\x1b" in outcome.err:
        raise ValueError("a control character reached the terminal")
