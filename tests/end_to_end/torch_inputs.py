#!/usr/bin/env python3
"""Files of torch.save are checkpoints like any other: what comes out has the bits that come of safetensors."""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from reference_ties import CASES  # noqa: E402
from support import jobs, tensors, torch_files  # noqa: E402
from support.cases import Cases, expect  # noqa: E402

TORCH = CASES.parent / "torch"

cases = Cases(__doc__)


def store_shards(directory, model):
    content = list(model.items())
    third = len(content) // 3 + 1
    torch_files.write_shards(directory, [dict(content[start:start + third]) for start in range(0, len(content), third)])


def statistics(summary):
    tasks = [{key: value for key, value in task.items() if key != "name"} for task in summary["tasks"]]
    return [tasks] + [summary[key] for key in ("parameters", "tensors", "signs", "conflicts")]


def expect_same_merge(context, plain, torch, parameters):
    """Both are a base and its tasks."""
    expected, expected_summary = jobs.merge(context, jobs.job_text(plain[0], plain[1:], parameters), name="expected.h5")
    found, summary = jobs.merge(context, jobs.job_text(torch[0], torch[1:], parameters), name="found.h5")
    expect(found.tensors == expected.tensors, "other bits than from safetensors")
    expect(statistics(summary) == statistics(expected_summary),
           f"{statistics(summary)}, from safetensors {statistics(expected_summary)}")


def check(case_name, store):
    """`store(number, directory, model)` writes the base (number 0) and the tasks."""
    def run(context):
        case = CASES / case_name
        job = json.loads((case / "case.json").read_text())
        names = [job["base"], *job["tasks"]]
        stored = [store(number, context.directory / name, tensors.read_model(case / name))
                  for number, name in enumerate(names)]
        expect_same_merge(context, [case / name for name in names], stored, {"density": job["trim"]["k_fraction"]})
    return run


def directories(_, directory, model):
    torch_files.write_model(directory, model)
    return directory.name


def files(number, directory, model):
    name = directory.name + (".pt", ".pth", ".bin")[number % 3]
    torch_files.write_file(directory.parent / name, model)
    return name


def shards(_, directory, model):
    store_shards(directory, model)
    return directory.name


def tasks_only(number, directory, model):
    if number > 0:
        return shards(number, directory, model)
    tensors.write_model(directory, model)
    return directory.name


for each in ("mixed_dtypes_sharded", "odd_shapes", "bf16_3tasks_k50"):
    for way in (directories, files, shards, tasks_only):
        cases.add("torch", f"{each}.{way.__name__.replace('_', '-')}", check(each, way))


@cases.case("torch")
def files_of_torch_itself_merge(context):
    base = tensors.read_file(TORCH / "module.safetensors")
    changed = {name: tensors.round_to("F32", tensor.shape, tensor.float32() * 1.25) if tensor.dtype == "F32" else tensor
               for name, tensor in base.items()}
    tensors.write_model(context.directory / "task", changed)
    for version in ("torch-1.13", "torch-2.13"):
        expect_same_merge(context, [TORCH / "module.safetensors", "task"], [TORCH / version / "module.pt", "task"],
                          {"density": 0.5})


@cases.case("torch")
def tensors_that_share_a_storage_merge_alike_and_count_once(context):
    models = [dict(tensors.read_model(CASES / "bf16_3tasks_k50" / name)) for name in ("base", "task_00", "task_01")]
    name, plain, torch = next(iter(models[0])), [], []
    for number, model in enumerate(models):
        plain.append(f"plain-{number}")
        torch.append(f"torch-{number}")
        tensors.write_model(context.directory / plain[-1], model)
        torch_files.write_model(context.directory / torch[-1], {**model, "tied": model[name]}, shared={"tied": name})
    expected, summary = jobs.merge(context, jobs.job_text(plain[0], plain[1:], {"density": 0.3}), name="expected.h5")
    found, shared = jobs.merge(context, jobs.job_text(torch[0], torch[1:], {"density": 0.3}), name="found.h5")
    expect(found.tensors == {**expected.tensors, "tied": expected.tensors[name]}, "other bits than without it")
    expect(statistics(shared)[0] == statistics(summary)[0] and shared["parameters"] == summary["parameters"]
           and shared["signs"] == summary["signs"] and shared["tensors"] == summary["tensors"] + 1, f"{statistics(shared)}")
    shown = context.run_well("inspect", torch[0])
    expect("again: the same bytes" in shown.out, shown.out)


@cases.case("torch")
def inspect_and_diff_know_torch(context):
    model = tensors.read_model(CASES / "odd_shapes" / "base")
    tensors.write_model(context.directory / "plain", model)
    store_shards(context.directory / "torch", model)
    found = json.loads(context.run_well("inspect", "torch", "--json").out)
    shapes = {tensor["name"]: (tensor["dtype"], tuple(tensor["shape"])) for tensor in found["tensors"]}
    wanted = {name: (tensor.dtype, tensor.shape) for name, tensor in model.items()}
    expect(shapes == wanted, f"inspect shows {shapes}")
    expect(len({tensor["file"] for tensor in found["tensors"]}) == 3, "the shards are not named")
    context.run_well("diff", "plain", "torch")
    types = context.run_well("diff", TORCH / "torch-2.13" / "types.pt", TORCH / "types.safetensors")
    expect(types.out.startswith("same: 15 tensors"), types.out)


@cases.case("torch")
def plan_knows_torch(context):
    for name in ("base", "task_00"):
        torch_files.write_model(context.directory / name, tensors.read_model(CASES / "odd_shapes" / name))
    (context.directory / "job.yaml").write_text(jobs.job_text("base", ["task_00"]))
    planned = context.run_well("plan", "job.yaml", "--ranks", "4", "--memory", "64MiB", ranks=1, launcher=False)
    expect("1 tasks" in planned.out, planned.out)


@cases.case("torch")
def safetensors_are_preferred(context):
    model = tensors.read_model(CASES / "f32_2tasks_k20" / "base")
    tensors.write_model(context.directory / "both", model)
    torch_files.write_model(context.directory / "both", {"other": tensors.round_to("F32", (1,), [1])})
    found = json.loads(context.run_well("inspect", "both", "--json").out)
    expect({tensor["name"] for tensor in found["tensors"]} == set(model), f"{found['tensors']}")


if __name__ == "__main__":
    cases.main()
