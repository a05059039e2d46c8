#!/usr/bin/env python3
"""`mpimerge convert`: every byte of every tensor survives, in either format, at every rank count."""

import hashlib
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from support import jobs, tensors  # noqa: E402
from support.cases import Cases, expect  # noqa: E402
from support.merged import Merged, text  # noqa: E402

METADATA = {"format": "pt", "größe": "\"quoted\"\n", "empty": ""}
CONFIG = '{"torch_dtype": "float32",   "time_step_limit": [0.0, Infinity]}'

cases = Cases(__doc__)


def model():
    """Every element type with tensors of every kind, types mixed in storage, names that need care."""
    random = np.random.default_rng(11)
    content = {}
    for number, shape in enumerate(((40, 30), (), (7, 0, 3), (1021,), (1, 1, 1), (0,))):
        for dtype, size in tensors.ELEMENT_BYTES.items():
            elements = int(np.prod(shape, dtype=np.int64))
            data = random.integers(0, 2 if dtype == "BOOL" else 256, elements * size, dtype=np.uint8)
            content[f"layer.{number}.{dtype}"] = tensors.raw(dtype, shape, data.tobytes())
    for name in ("größe/β.weight", "with space", 'quote"back\\slash', "a/b/c", "tab\tand\nline", "x" * 300, "-"):
        content[name] = tensors.raw("BF16", (3,), random.bytes(6))
    return content


def read_metadata(file):
    content = pathlib.Path(file).read_bytes()
    return json.loads(content[8:8 + int.from_bytes(content[:8], "little")]).get("__metadata__")


def digests(directory):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(directory.iterdir())}


def source(context, name="source"):
    directory = context.directory / name
    tensors.write_model(directory, model(), METADATA)
    (directory / "config.json").write_text(CONFIG)
    (directory / "tokenizer.json").write_text("{}")
    (directory / "README.md").write_text("# of the source\n")
    (directory / "notes.txt").write_text("private")
    return name


def expect_refusal(outcome, code, *words):
    expect(outcome.code == code and not outcome.late, outcome.describe())
    expect(len(outcome.err_lines) == 1, f"more than one line: {outcome.err}")
    for word in words:
        expect(word in outcome.err, f"`{word}` is not named: {outcome.describe()}")


def expect_same(found, wanted, what):
    expect(set(found) == set(wanted), f"{what}: other tensors: {sorted(set(found) ^ set(wanted))[:5]}")
    for name, tensor in wanted.items():
        expect(found[name] == tensor, f"{what}: {name} is another")


@cases.case("convert")
def there_and_back_keeps_every_byte_and_the_metadata(context):
    source(context)
    outcome = context.run_well("convert", "source", "there.h5")
    expect("there.h5" in outcome.out, outcome.out)
    merged = Merged(context.directory / "there.h5")
    expect(not merged.faults, "; ".join(merged.faults))
    expect_same(merged.tensors, model(), "there.h5")
    expect(json.loads(text(merged.attributes["__metadata__"])) == METADATA, "other metadata in there.h5")
    context.run_well("convert", "there.h5", "back", "--shard-size", "20kB")
    expect_same(tensors.read_model(context.directory / "back"), model(), "back")
    files = [file for file in (context.directory / "back").iterdir() if file.suffix == ".safetensors"]
    expect(len(files) > 3, f"{len(files)} shards of 20 kB")
    for file in files:
        expect(read_metadata(file) == METADATA, f"{file.name} has other metadata")
    outcome = context.run("diff", "source", "back")
    expect(outcome.code == 0, outcome.out)


@cases.case("convert")
def tensors_of_many_rounds_keep_every_byte(context):
    random = np.random.default_rng(3)
    large = {"a": tensors.raw("U8", (3, 7_000_001), random.bytes(21_000_003)),
             "b": tensors.raw("BF16", (5_000_000,), random.bytes(10_000_000)),
             "c": tensors.raw("U8", (11,), random.bytes(11))}
    tensors.write_model(context.directory / "large", large)
    context.run_well("convert", "large", "there.h5", "-q")
    expect_same(Merged(context.directory / "there.h5").tensors, large, "there.h5")
    context.run_well("convert", "there.h5", "back", "-q", "--shard-size", "9MB")
    expect_same(tensors.read_model(context.directory / "back"), large, "back")


@cases.case("convert")
def shards_keep_to_their_size_and_the_index_names_them(context):
    source(context)
    context.run_well("convert", "source", "shards", "--shard-size", "10kB")
    directory = context.directory / "shards"
    index = json.loads((directory / tensors.INDEX).read_text())
    held = {}
    for file in sorted(directory.glob("*.safetensors")):
        content = tensors.read_file(file)
        expect(sum(len(tensor.data) for tensor in content.values()) <= 10_000, f"{file.name} is too large")
        held.update({name: file.name for name in content})
    expect(index["weight_map"] == held, "the weight map is another")
    total = sum(len(tensor.data) for tensor in model().values())
    expect(index["metadata"] == {"total_size": total}, f"{index['metadata']}, expected {total}")
    number = len(set(held.values()))
    expect(set(held.values()) == {f"model-{i:05d}-of-{number:05d}.safetensors" for i in range(1, number + 1)},
           f"files are called {sorted(set(held.values()))}")


@cases.case("convert")
def a_directory_takes_its_companions_along(context):
    source(context)
    context.run_well("convert", "source", "one/", "-q")
    one = context.directory / "one"
    found = {file.name for file in one.iterdir()}
    expect(found == {"model.safetensors", "config.json", "tokenizer.json", "README.md", "mpimerge_summary.json",
                     "mpimerge_checksums.json"},
           f"it holds {sorted(found)}")
    expect((one / "config.json").read_text() == CONFIG, "another config.json")
    expect((one / "README.md").read_text() == "# of the source\n", "another README.md")
    summary = json.loads((one / "mpimerge_summary.json").read_text())
    expect(summary["converted_from"] == "source" and summary["tensors"] == len(model()), f"{summary}")
    content = (one / "model.safetensors").read_bytes()
    expect(int.from_bytes(content[:8], "little") % 8 == 0, "the data are not aligned to 8 bytes")


@cases.case("convert")
def what_has_no_config_is_said_in_a_warning(context):
    source(context)
    context.run_well("convert", "source", "there.h5", "-q")
    for name in ("there.h5", "source/model.safetensors"):
        outcome = context.run_well("convert", name, "bare", "-q", "--overwrite")
        expect(not outcome.out and len(outcome.err_lines) == 1, outcome.describe())
        expect("warning" in outcome.err and name in outcome.err and "config.json" in outcome.err, outcome.err)
    expect(not context.run_well("convert", "source", "again.h5", "-q").err, "a warning about an HDF5 file")
    expect(not context.run_well("convert", "source", "again", "-q").err, "a warning about a config that was copied")


@cases.case("convert")
def hdf5_to_hdf5_is_the_same_again(context):
    source(context)
    context.run_well("convert", "source", "a.h5")
    context.run_well("convert", "a.h5", "b.hdf5")
    a, b = (Merged(context.directory / name) for name in ("a.h5", "b.hdf5"))
    expect(not b.faults and a.digest == b.digest, f"{b.faults} {a.digest} {b.digest}")
    expect_same(b.tensors, model(), "b.hdf5")


@cases.case("convert")
def a_result_stays_accounted_for(context):
    for name, shift in (("base", 0), ("task", 1)):
        tensors.write_model(context.directory / name, {"w": tensors.round_to("F32", (9,), np.arange(9) + shift)})
    merged, _ = jobs.merge(context, jobs.job_text("base", ["task"]), name="merged.h5")
    context.run_well("convert", "merged.h5", "merged", "-q")
    directory = context.directory / "merged"
    expect((directory / "mpimerge_job.yaml").read_text() == text(merged.attributes["job"]), "another job")
    expect((directory / "mpimerge_summary.json").read_text() == text(merged.attributes["summary"]) + "\n",
           "another summary")
    card = (directory / "README.md").read_text()
    expect("# merged\n" in card and text(merged.attributes["job"]) in card, f"the card says {card}")
    context.run_well("convert", "merged", "again.h5", "-q")
    again = Merged(context.directory / "again.h5")
    expect(not again.faults, "; ".join(again.faults))
    for key in ("job", "summary", "__metadata__"):
        wanted = text(merged.attributes[key])
        if key == "__metadata__":  # a directory has it for transformers
            wanted = json.dumps({"format": "pt", **json.loads(wanted)}, separators=(",", ":"))
        expect(text(again.attributes[key]) == wanted, f"another {key}")


@cases.case("convert")
def runs_without_a_launcher(context):
    source(context)
    context.run_well("convert", "source", "out.h5", launcher=False)
    expect_same(Merged(context.directory / "out.h5").tensors, model(), "out.h5")


@cases.case("convert")
def a_model_of_nothing_is_a_model(context):
    tensors.write_model(context.directory / "nothing", {})
    for name in ("out.h5", "out"):
        context.run_well("convert", "nothing", name, "-q")
        outcome = context.run("diff", "nothing", name)
        expect(outcome.code == 0, outcome.describe())


@cases.case("convert")
def an_output_is_replaced_only_on_demand_and_only_if_ours(context):
    source(context)
    context.run_well("convert", "source", "out", "--shard-size", "20kB")
    before = digests(context.directory / "out")
    expect_refusal(context.run("convert", "source", "out", "-q"), 5, "out: exists", "--overwrite")
    expect(digests(context.directory / "out") == before, "the old directory changed")
    context.run_well("convert", "source", "out", "--overwrite")
    expect((context.directory / "out" / "model.safetensors").exists(), "it was not replaced")
    expect(not (context.directory / "out" / tensors.INDEX).exists(), "the old index is still there")
    (context.directory / "out" / "notes.txt").write_text("precious")
    expect_refusal(context.run("convert", "source", "out", "--overwrite", "-q"), 5, "notes.txt")
    (context.directory / "mine").mkdir()
    (context.directory / "mine" / "config.json").write_text("precious")
    expect_refusal(context.run("convert", "source", "mine", "--overwrite", "-q"), 5, "mine", "did not write")
    expect((context.directory / "mine" / "config.json").read_text() == "precious", "it was touched")
    expect(not list(context.directory.glob("*.partial")), "something partial was left")


@cases.case("convert")
def an_output_is_not_its_input(context):
    source(context)
    context.run_well("convert", "source", "a.h5")
    context.run_well("convert", "source", "dir", "-q")
    (context.directory / "link.h5").hardlink_to(context.directory / "a.h5")
    for given, output in (("a.h5", "a.h5"), ("a.h5", "link.h5"), ("dir", "dir"), ("dir", "dir/"),
                          ("dir/model.safetensors", "dir")):
        outcome = context.run("convert", given, output, "--overwrite", "-q")
        expect_refusal(outcome, 5, output, "is the input, or holds it")


@cases.case("convert")
def names_that_a_format_cannot_hold_are_refused(context):
    tensors.write_model(context.directory / "odd", {"a//b": tensors.raw("U8", (1,), b"x")})
    expect_refusal(context.run("convert", "odd", "out.h5", "-q"), 4, "a//b", "HDF5 cannot hold")
    context.run_well("convert", "odd", "out", "-q")
    expect_same(tensors.read_model(context.directory / "out"), tensors.read_model(context.directory / "odd"), "out")


@cases.case("convert")
def bad_usage_is_one_line(context):
    source(context)
    for arguments in (("source",), ("source", "out", "more"), ("source", "out", "--shard-size", "none"),
                      ("source", "out", "--shard-size", "0")):
        outcome = context.run("convert", *arguments)
        expect_refusal(outcome, 2, "error")
    expect_refusal(context.run("convert", "nowhere", "out"), 4, "nowhere")


@cases.case("same-bytes")
def every_rank_count_writes_the_same_files(context):
    source(context)
    first = {}
    for ranks in (1, 2, 3, 4, 7):
        context.run_well("convert", "source", "out.h5", "--overwrite", ranks=ranks)
        for size in ("1B", "20kB", "5GB"):
            context.run_well("convert", "out.h5", f"out-{size}", "--shard-size", size, "--overwrite", ranks=ranks)
            found = digests(context.directory / f"out-{size}")
            expect(found == first.setdefault(size, found), f"other files with {ranks} ranks and shards of {size}")
        found = Merged(context.directory / "out.h5").digest
        expect(found == first.setdefault("h5", found), f"another HDF5 file with {ranks} ranks")


if __name__ == "__main__":
    cases.main()
