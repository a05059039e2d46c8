"""Models that do not belong together, and values that are not numbers."""

import shutil

import h5py
import numpy as np

from fault.tiny import INPUT, Tiny
from support import jobs, tensors
from support.cases import Cases, expect
from support.merged import Merged


def register(cases: Cases):
    for name, (words, change) in MISFITS.items():
        cases.add("models", name, misfit(change, words))
    for function in (other_floating_types_merge, model_is_missing, model_is_an_empty_directory, model_is_a_text_file,
                     model_has_another_format_than_its_name_says, hdf5_of_another_program, hdf5_that_is_not_complete,
                     hdf5_of_the_future, hdf5_truncated, hdf5_tensor_outside_its_dataset, base_without_floating_tensors):
        cases.case("models")(function)
    for name, (model, tensor, index, value) in NOT_FINITE.items():
        cases.add("values", name, not_finite(model, tensor, index, value))
    for function in (nan_in_two_models_is_one_line, nan_allowed_stays_where_it_is, nan_in_an_integer_tensor_is_a_number):
        cases.case("values")(function)


def misfit(change, words):
    """The task `math` gets another content."""
    def check(context):
        tiny = Tiny(context)
        content = dict(tiny.models["math"])
        change(content)
        tiny.rewrite("math", content)
        tiny.refused(INPUT, "math", *words)
    return check


def put(name, dtype, shape):
    elements = int(np.prod(shape, dtype=int))
    data = bytes(elements * tensors.ELEMENT_BYTES[dtype])
    return lambda content: content.update({name: tensors.raw(dtype, shape, data)})


MISFITS = {
    "tensor-is-missing-in-a-task": (["b.bias"], lambda content: content.pop("b.bias")),
    "tensor-is-more-in-a-task": (["extra.weight"], put("extra.weight", "F32", (2, 2))),
    "tensor-has-another-name-in-a-task": (["b.bias"], lambda content: content.update(b=content.pop("b.bias"))),
    "shape-is-transposed-in-a-task": (["a.weight", "[40, 80]", "[80, 40]"], put("a.weight", "F32", (80, 40))),
    "shape-has-one-dimension-more": (["a.weight", "[40, 80]", "[1, 40, 80]"], put("a.weight", "F32", (1, 40, 80))),
    "shape-has-more-elements": (["b.bias", "[1600]", "[1601]"], put("b.bias", "BF16", (1601,))),
    "type-is-integer-in-a-task": (["a.weight", "F32", "I32"], put("a.weight", "I32", (40, 80))),
    "type-is-floating-in-a-task": (["ids", "I64", "F64"], put("ids", "F64", (300,))),
    "type-of-eight-bits-in-a-task": (["b.bias", "BF16", "F8_E4M3"], put("b.bias", "F8_E4M3", (1600,))),
}


def other_floating_types_merge(context):
    tiny = Tiny(context)
    content = {name: tensors.round_to("F64", tensor.shape, tensor.float32())
               if tensor.dtype in tensors.FLOATING else tensor for name, tensor in tiny.models["math"].items()}
    tiny.merges()
    same_types = Merged(tiny.target)
    tiny.rewrite("math", content)
    tiny.merges("--overwrite")
    expect(Merged(tiny.target).digest == same_types.digest, "the same values in float64 merge to other bytes")


def model_is_missing(context):
    tiny = Tiny(context)
    shutil.rmtree(tiny.root / "math")
    tiny.refused(INPUT, "math")


def model_is_an_empty_directory(context):
    tiny = Tiny(context)
    tiny.file("math").unlink()
    tiny.refused(INPUT, "math", "model.safetensors")


def model_is_a_text_file(context):
    tiny = Tiny(context)
    shutil.rmtree(tiny.root / "math")
    (tiny.root / "math").write_text("not a model\n")
    tiny.refused(INPUT, "math")


def model_has_another_format_than_its_name_says(context):
    tiny = Tiny(context)
    tiny.file("math").rename(tiny.root / "math" / "pytorch_model.bin")
    tiny.refused(INPUT, "math", "pytorch_model.bin")


def base_without_floating_tensors(context):
    tiny = Tiny(context)
    for name in ("base", "math", "code"):
        tiny.rewrite(name, {"ids": tiny.models[name]["ids"]})
    tiny.refused(INPUT, "base")


def merged_task(context):
    """The task `math` becomes an HDF5 file that mpimerge wrote."""
    tiny = Tiny(context)
    task = tiny.root / "math.h5"
    tiny.merges(output=task)
    tiny.job(jobs.job_text("base", ["math.h5", "code"]))
    tiny.merges()
    tiny.target.unlink()
    return tiny, task


def hdf5_of_another_program(context):
    tiny, task = merged_task(context)
    with h5py.File(task, "w") as file:
        file["tensors/a.weight"] = np.zeros((40, 80), np.float32)
    tiny.refused(INPUT, "math.h5", "mpimerge")


def hdf5_that_is_not_complete(context):
    tiny, task = merged_task(context)
    with h5py.File(task, "r+") as file:
        file.attrs.modify("complete", 0)
    tiny.refused(INPUT, "math.h5", "complete")


def hdf5_of_the_future(context):
    tiny, task = merged_task(context)
    with h5py.File(task, "r+") as file:
        file.attrs.modify("format_version", 99)
    tiny.refused(INPUT, "math.h5", "99")


def hdf5_truncated(context):
    tiny, task = merged_task(context)
    task.write_bytes(task.read_bytes()[:-2000])  # more than the checksums behind it
    tiny.refused(INPUT, "math.h5")


def hdf5_tensor_outside_its_dataset(context):
    tiny, task = merged_task(context)
    with h5py.File(task, "r+") as file:
        file["tensors/a.weight"].attrs.modify("offset", 1 << 40)
    tiny.refused(INPUT, "math.h5", "a.weight")


# Model, tensor, flat index, value; the message names model, tensor and index.
NOT_FINITE = {
    "nan-in-a-task": ("math", "a.weight", 1717, np.nan),
    "nan-in-the-base": ("base", "a.weight", 1717, np.nan),
    "nan-in-the-first-element": ("code", "a.weight", 0, np.nan),
    "nan-in-the-last-element": ("code", "c.weight", 2999, np.nan),
    "nan-in-bfloat16": ("math", "b.bias", 7, np.nan),
    "nan-in-float16": ("math", "c.weight", 7, np.nan),
    "infinity-in-a-task": ("math", "a.weight", 3199, np.inf),
    "minus-infinity-in-a-task": ("math", "b.bias", 1599, -np.inf),
    "infinity-in-the-base": ("base", "c.weight", 1, np.inf),
}


def spoil(tiny, model, tensor, index, value):
    content = dict(tiny.models[model])
    old = content[tensor]
    values = old.float32().copy()
    values[index] = value
    content[tensor] = tensors.round_to(old.dtype, old.shape, values)
    tiny.rewrite(model, content)


def not_finite(model, tensor, index, value):
    def check(context):
        tiny = Tiny(context)
        spoil(tiny, model, tensor, index, value)
        place = np.unravel_index(index, tiny.models[model][tensor].shape)
        outcome = tiny.refused(INPUT, model, tensor, "nan: allow")
        subscripts = "[" + ", ".join(map(str, place)) + "]"
        expect(subscripts in outcome.err or f" {index}" in outcome.err, f"index {index} is not named: {outcome.describe()}")
    return check


def nan_in_two_models_is_one_line(context):
    tiny = Tiny(context)
    spoil(tiny, "math", "a.weight", 0, np.nan)
    spoil(tiny, "code", "c.weight", 2999, np.inf)
    tiny.refused(INPUT, "nan: allow")


def nan_allowed_stays_where_it_is(context):
    tiny = Tiny(context)
    spoil(tiny, "math", "a.weight", 1717, np.nan)
    tiny.job(jobs.job_text("base", ["math", "code"], {"density": 0.5}, nan="allow"))
    tiny.merges()
    found = {name: np.flatnonzero(np.isnan(tensor.float32())).tolist()
             for name, tensor in Merged(tiny.target).tensors.items() if tensor.dtype in tensors.FLOATING}
    expect(found == {"a.weight": [1717], "b.bias": [], "c.weight": []}, f"NaN came out at {found}")


def nan_in_an_integer_tensor_is_a_number(context):
    tiny = Tiny(context)
    content = {**tiny.models["base"], "ids": tensors.raw("I64", (300,), np.full(300, np.nan).tobytes())}
    tiny.rewrite("base", content)
    tiny.merges()
