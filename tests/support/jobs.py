"""Job files as text, and what every merge of the tests checks of its result."""

import json
import pathlib

from support.cases import expect
from support.merged import Merged
from support.tensors import FLOATING


def job_text(base, models, parameters=None, **keys):
    """A job file. `models` holds paths, or pairs of a path and its parameters."""
    lines = ["merge_method: ties", f"base_model: {json.dumps(str(base))}", "models:"]
    for model in models:
        path, own = model if isinstance(model, tuple) else (model, {})
        lines.append(f"  - model: {json.dumps(str(path))}")
        if own:
            lines.append(f"    parameters: {_flow(own)}")
    if parameters:
        lines.append(f"parameters: {_flow(parameters)}")
    lines += [f"{key}: {_value(value)}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def _flow(mapping):
    return "{" + ", ".join(f"{key}: {_value(value)}" for key, value in mapping.items()) + "}"


def _value(value):
    return json.dumps(value) if isinstance(value, (bool, list)) else str(value)


def merge(context, text, *options, name="out.h5", **how):
    """Merges a job text into `name` and returns the file and the summary."""
    job = pathlib.Path(context.directory) / "job.yaml"
    job.write_text(text)
    output, summary = context.directory / name, context.directory / "summary.json"
    context.run_well("merge", job, "--output", output, "--summary", summary, "--overwrite", *options, **how)
    merged = Merged(output)
    expect(not merged.faults, "; ".join(merged.faults))
    result = json.loads(summary.read_text())
    expect(merged.summary.get("signs") == result["signs"], "the attribute `summary` is another than the file")
    return merged, result


def expect_shapes_and_copies(merged, base, out_dtype=None):
    """All tensors of the base with its shapes; what is not merged with its bytes."""
    expect(set(merged.tensors) == set(base), f"tensors differ: {sorted(set(merged.tensors) ^ set(base))}")
    for name, tensor in base.items():
        found = merged.tensors[name]
        expect(found.shape == tensor.shape, f"{name} has shape {found.shape}, expected {tensor.shape}")
        if tensor.dtype in FLOATING:
            wanted = out_dtype or tensor.dtype
            expect(found.dtype == wanted, f"{name} is {found.dtype}, expected {wanted}")
        else:
            expect(found == tensor, f"{name} is not the base's, bit for bit")


def expect_statistics(summary, wanted):
    """`wanted`: a Merge of reference_ties; `summary`: what the program reports."""
    tasks = summary["tasks"]
    pairs = [("parameters", summary["parameters"], wanted.parameters),
             ("trim_rank", [task["trim_rank"] for task in tasks], wanted.trim_ranks),
             ("kept", [task["kept"] for task in tasks], wanted.kept),
             ("signs", summary["signs"], wanted.signs),
             ("conflicts", summary["conflicts"], wanted.conflicts)]
    for what, found, expected in pairs:
        expect(found == expected, f"{what}: {found}, expected {expected}")
