"""Sharded models whose index and shards do not fit together."""

import json
import os
import shutil

from fault.tiny import INPUT, Tiny
from support import tensors
from support.cases import Cases

INDEX = f"math/{tensors.INDEX}"


def register(cases: Cases):
    for name, (words, change) in FALSE_INDICES.items():
        cases.add("index", name, false_index(change, words))
    for name, (words, text) in BROKEN_INDICES.items():
        cases.add("index", name, broken_index(text, words))
    for function in (shard_missing, two_shards_missing, shard_truncated, shard_is_a_directory, shard_is_a_fifo,
                     shard_is_a_link_to_nothing, index_is_a_directory, tensor_in_two_shards,
                     shards_behind_links_as_in_the_hub_cache_merge):
        cases.case("index")(function)


def sharded(context):
    tiny = Tiny(context)
    return tiny, tiny.shard("math")


def false_index(change, words):
    def check(context):
        tiny, _ = sharded(context)
        file = tiny.root / INDEX
        index = json.loads(file.read_text())
        change(index)
        file.write_text(json.dumps(index))
        tiny.refused(INPUT, *words)
    return check


def place(tensor, file):
    return lambda index: index["weight_map"].update({tensor: file})


SECOND = "model-00002-of-00002.safetensors"

FALSE_INDICES = {
    "index-names-a-tensor-that-no-shard-has": ([INDEX, "ghost"], place("ghost", SECOND)),
    "index-names-another-shard-for-a-tensor": ([INDEX, "a.weight"], place("a.weight", SECOND)),
    "index-lacks-a-tensor-of-a-shard": ([INDEX, "ids"], lambda index: index["weight_map"].pop("ids")),
    "index-leaves-the-directory": ([INDEX, "../base"], place("a.weight", "../base/model.safetensors")),
    "index-leaves-the-directory-by-a-detour": ([INDEX, "x/../../base"], place("a.weight", "x/../../base/model.safetensors")),
    "index-names-an-absolute-path": ([INDEX, "/etc/hostname"], place("a.weight", "/etc/hostname")),
    "index-names-a-parent": ([INDEX, ".."], place("a.weight", "..")),
    "index-names-an-empty-file-name": ([INDEX, "a.weight"], place("a.weight", "")),
    "index-holds-a-number-for-a-file": ([INDEX, "a.weight"], place("a.weight", 1)),
    "index-has-a-list-for-the-map": ([INDEX, "weight_map"], lambda index: index.update(weight_map=[])),
    "index-has-no-map": ([INDEX, "weight_map"], lambda index: index.pop("weight_map")),
    "index-has-an-empty-map": ([INDEX, "weight_map"], lambda index: index.update(weight_map={})),
}

BROKEN_INDICES = {
    "index-is-empty": ([], ""),
    "index-is-not-json": ([], "weight_map: {}"),
    "index-is-an-array": ([], "[]"),
    "index-names-a-tensor-twice": (["a"], '{"weight_map": {"a": "' + SECOND + '", "a": "' + SECOND + '"}}'),
    "index-of-100000-brackets": ([], "[" * 100_000),
}


def broken_index(text, words):
    def check(context):
        tiny, _ = sharded(context)
        (tiny.root / INDEX).write_text(text)
        tiny.refused(INPUT, INDEX, *words)
    return check


def shard_missing(context):
    tiny, shards = sharded(context)
    (tiny.root / "math" / shards[1]).unlink()
    tiny.refused(INPUT, f"math/{shards[1]}")


def two_shards_missing(context):
    tiny, shards = sharded(context)
    for shard in shards:
        (tiny.root / "math" / shard).unlink()
    tiny.refused(INPUT, f"math/{shards[0]}")


def shard_truncated(context):
    tiny, shards = sharded(context)
    file = tiny.root / "math" / shards[1]
    file.write_bytes(file.read_bytes()[:-3])
    tiny.refused(INPUT, f"math/{shards[1]}")


def shard_is_a_directory(context):
    tiny, shards = sharded(context)
    (tiny.root / "math" / shards[0]).unlink()
    (tiny.root / "math" / shards[0]).mkdir()
    tiny.refused(INPUT, f"math/{shards[0]}", "directory")


def shard_is_a_fifo(context):
    tiny, shards = sharded(context)
    (tiny.root / "math" / shards[0]).unlink()
    os.mkfifo(tiny.root / "math" / shards[0])
    tiny.refused(INPUT, f"math/{shards[0]}")


def shard_is_a_link_to_nothing(context):
    tiny, shards = sharded(context)
    (tiny.root / "math" / shards[0]).unlink()
    (tiny.root / "math" / shards[0]).symlink_to("nothing")
    tiny.refused(INPUT, f"math/{shards[0]}")


def index_is_a_directory(context):
    tiny, _ = sharded(context)
    (tiny.root / INDEX).unlink()
    (tiny.root / INDEX).mkdir()
    tiny.refused(INPUT, INDEX, "directory")


def tensor_in_two_shards(context):
    tiny = Tiny(context)
    content = tiny.models["math"]
    tiny.file("math").unlink()
    tensors.write_shards(tiny.root / "math", [content, {"ids": content["ids"]}])
    tiny.refused(INPUT, INDEX, "ids")


def shards_behind_links_as_in_the_hub_cache_merge(context):
    tiny, shards = sharded(context)
    blobs = tiny.root / "blobs"
    blobs.mkdir()
    for number, shard in enumerate(shards):
        shutil.move(tiny.root / "math" / shard, blobs / str(number))
        (tiny.root / "math" / shard).symlink_to(f"../blobs/{number}")
    tiny.merges()
