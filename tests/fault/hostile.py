"""Files that somebody put there on purpose: links, FIFOs, devices, and texts made to exhaust memory, stack or time."""

import json
import os
import pathlib
import shutil
import socket
import tempfile

import h5py

from fault.tiny import INPUT, JOB, OUTPUT, USAGE, Tiny, expect_refusal, start
from support import jobs, tensors
from support.cases import expect

PRECIOUS = b"precious"


def register(cases):
    for name, make in SPECIAL_FILES.items():
        cases.add("hostile", f"job-file-is-a-{name}", special_job(make))
        cases.add("hostile", f"model-is-a-{name}", special_model(make))
        cases.add("hostile", f"index-is-a-{name}", special_index(make))
        cases.add("hostile", f"output-is-a-{name}", special_output(make))
        cases.add("hostile", f"partial-file-is-a-{name}", special_partial(make))
        cases.add("hostile", f"summary-is-a-{name}", special_summary(make))
        cases.add("hostile", f"log-is-a-{name}", special_log(make))
        cases.add("hostile", f"readme-to-convert-is-a-{name}", special_readme(make))
    for name, (words, text) in BOMBS.items():
        cases.add("hostile", name, bomb(text, words))
    for function in (job_with_the_same_fault_on_each_line, job_file_of_ten_gigabytes, model_in_the_hub_cache_merges, index_in_the_hub_cache_merges,
                     shard_in_a_directory_that_is_a_link_merges, output_that_is_a_link_is_kept,
                     output_that_is_a_link_is_replaced_not_followed, output_that_is_a_link_to_nothing_is_kept,
                     partial_file_that_is_a_link_is_not_followed, partial_file_of_an_output_is_an_input,
                     same_output_by_a_relative_name, summary_that_is_a_link_is_not_followed, summary_is_replaced,
                     summary_is_the_output, summary_is_an_input, summary_is_the_job, summary_in_no_directory,
                     hdf5_parameters_behind_a_link_to_a_fifo, hdf5_tensor_that_shows_a_fifo,
                     hdf5_name_with_control_characters, model_path_of_two_lines, model_of_an_exbibyte,
                     journal_that_is_none_is_kept, config_of_100000_levels):
        cases.case("hostile")(function)


# --- special files: refused, and above all not waited for ------------------------------------------------------------

def make_socket(path):
    """A name in the file system that nobody listens at."""
    there = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{there}/{path.name}")  # the name of a socket has at most 107 bytes
    os.close(there)


SPECIAL_FILES = {
    "fifo": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "socket": make_socket,
    "directory": lambda path: path.mkdir(),
    "link-to-itself": lambda path: path.symlink_to(path.name),
}


def special_job(make):
    def check(context):
        tiny = Tiny(context)
        (tiny.root / "job.yaml").unlink()
        make(tiny.root / "job.yaml")
        tiny.refused(JOB, "job.yaml")
    return check


def special_model(make):
    def check(context):
        tiny = Tiny(context)
        for name in ("special.safetensors", "special.h5"):
            make(tiny.root / name)
            tiny.job(jobs.job_text("base", ["math", name]))
            tiny.refused(INPUT, name)
    return check


def special_index(make):
    def check(context):
        tiny = Tiny(context)
        make(tiny.root / "math" / tensors.INDEX)
        tiny.refused(INPUT, f"math/{tensors.INDEX}")
    return check


def special_output(make):
    """A link is a name like any other, to be replaced on demand; what it leads to stays. All else is in the way."""
    def check(context):
        tiny = Tiny(context)
        make(tiny.target)
        tiny.refused(OUTPUT, "merged.h5")
        if not tiny.target.is_symlink():
            tiny.refused(OUTPUT, "merged.h5", options=["--overwrite"])
    return check


def special_partial(make):
    def check(context):
        tiny = Tiny(context)
        make(tiny.out / "merged.h5.partial")
        tiny.refused(OUTPUT, "merged.h5.partial", options=["--overwrite"])
    return check


def special_summary(make):
    def check(context):
        tiny = Tiny(context)
        make(tiny.root / "summary.json")
        tiny.refused(OUTPUT, "summary.json", "--summary", options=["--summary", tiny.root / "summary.json"])
    return check


def special_log(make):
    def check(context):
        tiny = Tiny(context)
        logs = tiny.root / "logs"
        logs.mkdir()
        make(logs / "rank-0.log")
        tiny.refused(OUTPUT, "rank-0.log", "--log-dir", options=["--log-dir", logs])
    return check


def special_readme(make):
    """A link that leads nowhere counts as nothing."""
    def check(context):
        tiny = Tiny(context)
        (tiny.root / "base" / "config.json").write_text("{}")  # else a warning comes first
        readme = tiny.root / "base" / "README.md"
        make(readme)
        outcome = start(context, "convert", "base", tiny.out / "base.h5", "-q")
        if readme.is_symlink() and not readme.exists():
            expect(outcome.code == 0, outcome.describe())
        else:
            expect_refusal(outcome, INPUT, ["README.md"])
    return check


# --- texts that grow -------------------------------------------------------------------------------------------------

def alias_bomb():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 30):
        lines.append(f"a{level}: &a{level} [" + ", ".join([f"*a{level - 1}"] * 10) + "]")
    return "\n".join(lines) + "\n"


BOMBS = {
    "job-of-aliases-that-multiply": (["more than 100000 values"], alias_bomb()),
    "job-of-100000-brackets": (["deeper than 64"], "models: " + "[" * 100_000),
    "job-of-100000-levels": (["deeper than 64"], "\n".join(" " * level + "a:" for level in range(3000))),
    "job-that-contains-itself": (["alias of itself"], "models: &m [*m]\n"),
    "job-of-a-million-lines": (["more than 100000 values"], "- a: 1\n" * 1_000_000),
    "job-of-one-long-line": (["nan"], jobs.job_text("base", ["math"], nan="x" * 10_000_000)),
}


def bomb(text, words):
    def check(context):
        tiny = Tiny(context)
        tiny.job(text)
        outcome = tiny.refused(JOB, *words)
        expect(len(outcome.err) < 2000, f"a message of {len(outcome.err)} characters")
        expect(outcome.seconds < 20, f"it took {outcome.seconds:.0f} s")
    return check


def job_with_the_same_fault_on_each_line(context):
    tiny = Tiny(context)
    tiny.job("a: 1\n" * 40_000)
    tiny.refused(JOB, "job.yaml:2: a: given twice", "and 39902 more", lines=101)


def job_file_of_ten_gigabytes(context):
    tiny = Tiny(context)
    with open(tiny.root / "job.yaml", "r+b") as file:
        file.truncate(10 * 10**9)
    tiny.refused(JOB, "job.yaml", "10.00 GB", "checkpoint")


# --- links -----------------------------------------------------------------------------------------------------------

def as_in_the_hub_cache(tiny, name):
    """As huggingface_hub stores a model: every file of a snapshot is a link to a blob beside it."""
    blobs = tiny.root / "blobs"
    blobs.mkdir()
    for number, file in enumerate(sorted((tiny.root / name).iterdir())):
        shutil.move(file, blobs / f"{number:040x}")
        file.symlink_to(f"../blobs/{number:040x}")


def model_in_the_hub_cache_merges(context):
    tiny = Tiny(context)
    as_in_the_hub_cache(tiny, "math")
    tiny.merges()


def index_in_the_hub_cache_merges(context):
    tiny = Tiny(context)
    tiny.shard("math")
    as_in_the_hub_cache(tiny, "math")
    tiny.merges()


def shard_in_a_directory_that_is_a_link_merges(context):
    """A link is the user's own doing, names are whose model it is."""
    tiny = Tiny(context)
    shards = tiny.shard("math")
    (tiny.root / "elsewhere").mkdir()
    (tiny.root / "math" / "parts").symlink_to("../elsewhere")
    index = json.loads((tiny.root / "math" / tensors.INDEX).read_text())
    for shard in shards:
        shutil.move(tiny.root / "math" / shard, tiny.root / "elsewhere" / shard)
    index["weight_map"] = {tensor: f"parts/{file}" for tensor, file in index["weight_map"].items()}
    (tiny.root / "math" / tensors.INDEX).write_text(json.dumps(index))
    tiny.merges()


def linked(tiny, name):
    """A file outside of the output's directory, and a link to it there."""
    victim = tiny.root / "victim"
    victim.write_bytes(PRECIOUS)
    (tiny.out / name).symlink_to(victim)
    return victim


def expect_untouched(victim):
    expect(victim.is_file() and victim.read_bytes() == PRECIOUS, f"{victim} was changed through a link")


def output_that_is_a_link_is_kept(context):
    tiny = Tiny(context)
    victim = linked(tiny, "merged.h5")
    tiny.refused(OUTPUT, "merged.h5", "--overwrite")
    expect_untouched(victim)


def output_that_is_a_link_is_replaced_not_followed(context):
    tiny = Tiny(context)
    victim = linked(tiny, "merged.h5")
    tiny.merges("--overwrite")
    expect(not tiny.target.is_symlink(), "the output is still a link")
    expect_untouched(victim)


def output_that_is_a_link_to_nothing_is_kept(context):
    tiny = Tiny(context)
    tiny.target.symlink_to(tiny.root / "nothing.h5")
    tiny.refused(OUTPUT, "merged.h5", "--overwrite")
    expect(not (tiny.root / "nothing.h5").exists(), "the link was followed")


def partial_file_that_is_a_link_is_not_followed(context):
    tiny = Tiny(context)
    victim = linked(tiny, "merged.h5.partial")
    tiny.refused(OUTPUT, "merged.h5.partial", options=["--overwrite"])
    expect_untouched(victim)


def partial_file_of_an_output_is_an_input(context):
    """It would be removed to make way, before it is read."""
    tiny = Tiny(context)
    model = tiny.out / "merged.h5.partial"
    tiny.file("math").rename(model)
    tiny.job(jobs.job_text("base", [model, "code"]))
    tiny.refused(OUTPUT, "merged.h5.partial", "input", options=["--overwrite"])


def same_output_by_a_relative_name(context):
    tiny = Tiny(context)
    expect_refusal(tiny.run("--output", tiny.root / "new.h5", output="new.h5"), USAGE, ["new.h5", "twice"])
    expect(not (tiny.root / "new.h5").exists(), "something was written")


# --- the summary -----------------------------------------------------------------------------------------------------

def summary_that_is_a_link_is_not_followed(context):
    tiny = Tiny(context)
    victim = linked(tiny, "summary.json")
    tiny.refused(OUTPUT, "summary.json", "--summary", options=["--summary", tiny.out / "summary.json"])
    expect_untouched(victim)


def summary_is_replaced(context):
    tiny = Tiny(context)
    summary = tiny.root / "summary.json"
    summary.write_text("an older one, longer than what comes" * 1000)
    tiny.merges("--summary", summary)
    expect(json.loads(summary.read_text())["tensors"] == 4, "the summary is not that of this merge")
    left = {file.name for file in tiny.root.iterdir()} - {"base", "math", "code", "out", "job.yaml", "summary.json"}
    expect(not left, f"left behind: {left}")


def summary_is_the_output(context):
    """Under another name of the same place: what is there at the end is the summary."""
    tiny = Tiny(context)
    tiny.refused(OUTPUT, "merged.h5", "--summary", options=["--summary", "out/merged.h5"])


def summary_is_an_input(context):
    tiny = Tiny(context)
    (tiny.root / "also").symlink_to("math")
    before = tiny.file("math").read_bytes()
    tiny.refused(OUTPUT, "model.safetensors", "--summary", options=["--summary", "also/model.safetensors"])
    expect(tiny.file("math").read_bytes() == before, "the model was overwritten")


def summary_is_the_job(context):
    tiny = Tiny(context)
    before = (tiny.root / "job.yaml").read_bytes()
    tiny.refused(OUTPUT, "job.yaml", "--summary", options=["--summary", tiny.root / "job.yaml"])
    expect((tiny.root / "job.yaml").read_bytes() == before, "the job was overwritten")


def summary_in_no_directory(context):
    tiny = Tiny(context)
    tiny.refused(OUTPUT, "job.yaml/summary.json", options=["--summary", tiny.root / "job.yaml" / "summary.json"])


# --- HDF5 and headers ------------------------------------------------------------------------------------------------

def hdf5_task(tiny):
    """The task `math` becomes an HDF5 file that mpimerge wrote."""
    task = tiny.root / "math.h5"
    tiny.merges(output=task)
    tiny.job(jobs.job_text("base", ["math.h5", "code"]))
    return task


def hdf5_parameters_behind_a_link_to_a_fifo(context):
    tiny = Tiny(context)
    task = hdf5_task(tiny)
    os.mkfifo(tiny.root / "fifo")
    with h5py.File(task, "r+") as file:
        del file["parameters"]
        file["parameters"] = h5py.ExternalLink(str(tiny.root / "fifo"), "/parameters")
    tiny.refused(INPUT, "math.h5", "external link")


def hdf5_tensor_that_shows_a_fifo(context):
    tiny = Tiny(context)
    task = hdf5_task(tiny)
    os.mkfifo(tiny.root / "fifo")
    rows = h5py.h5s.create_simple((40, 80), (h5py.h5s.UNLIMITED, 80))
    rows.select_hyperslab((0, 0), (h5py.h5s.UNLIMITED, 1), block=(1, 80))
    shown = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    shown.set_virtual(rows, os.fsencode(tiny.root / "fifo"), b"/x", rows)
    with h5py.File(task, "r+") as file:
        attributes = dict(file["tensors/a.weight"].attrs)
        del file["tensors/a.weight"]
        h5py.h5d.create(file["tensors"].id, b"a.weight", h5py.h5t.IEEE_F32LE, rows, shown)
        for name, value in attributes.items():
            file["tensors/a.weight"].attrs.create(name, value)
    tiny.refused(INPUT, "math.h5", "a.weight", "other files")


def hdf5_name_with_control_characters(context):
    tiny = Tiny(context)
    task = hdf5_task(tiny)
    with h5py.File(task, "r+") as file:
        file["tensors/evil\nmpimerge: all is well\x1b[2J\u009b2J"] = h5py.SoftLink("/tensors/a.weight")
    outcome = tiny.refused(INPUT, "math.h5", "evil")
    expect("\x1b" not in outcome.err and "\u009b" not in outcome.err, "a control character reached the terminal")


def journal_that_is_none_is_kept(context):
    tiny = Tiny(context)
    other = tiny.root / "notes.txt"
    other.write_bytes(PRECIOUS)
    tiny.refused(OUTPUT, "notes.txt", "not a journal", options=["--journal", other, "--overwrite"])
    expect_untouched(other)


def config_of_100000_levels(context):
    """It is not ours to judge: copied as it is, with a warning."""
    tiny = Tiny(context)
    config = '{"torch_dtype": "float32", "a_config":' * 100_000 + "{}" + "}" * 100_000
    (tiny.root / "base" / "config.json").write_text(config)
    outcome = start(context, "merge", "job.yaml", "--output", tiny.out / "merged", "-q")
    expect(outcome.code == 0 and len(outcome.err_lines) == 1 and "config.json" in outcome.err, outcome.describe())
    expect((tiny.out / "merged" / "config.json").read_text() == config, "the copy is another")


def model_path_of_two_lines(context):
    tiny = Tiny(context)
    tiny.job(jobs.job_text("base", ["math\nmpimerge: all is well", "code"]))
    tiny.refused(JOB, "job.yaml:4", "line breaks")


def model_of_an_exbibyte(context):
    """The header is true: the file is as long, a hole. Only file systems in memory make such files."""
    tiny = Tiny(context)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="mpimerge-test-", dir=memory) as directory:
        large = pathlib.Path(directory) / "large.safetensors"
        elements = 2**60
        header = {"x": {"dtype": "F32", "shape": [elements], "data_offsets": [0, 4 * elements]}}
        large.write_bytes(tensors.file_bytes(header, b""))
        try:
            os.truncate(large, large.stat().st_size + 4 * elements)
        except OSError:
            print("note: no file system here has files of that length; this one ends too early")
        tiny.job(jobs.job_text(large, ["math"]))
        tiny.refused(INPUT, "large.safetensors")
        expect_refusal(start(context, "diff", large, large), INPUT, ["large.safetensors"])
