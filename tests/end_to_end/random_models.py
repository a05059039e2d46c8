#!/usr/bin/env python3
"""Random small models through the real program, against the plain merge of reference_ties.py, bit for bit."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import numpy as np  # noqa: E402

import reference_ties  # noqa: E402
from support import jobs, tensors  # noqa: E402
from support.cases import Cases, expect  # noqa: E402

SEEDS = range(40)
GROUPS = 4
RANKS = (1, 2, 3, 4, 7)
OUT_TYPES = {None: None, "float32": "F32", "bfloat16": "BF16", "float16": "F16"}

cases = Cases(__doc__)


def values(random, kind, elements):
    """Gaussians, or a coarse grid on which equal magnitudes and sums of exactly zero abound."""
    if kind == "smooth":
        return random.standard_normal(elements).astype(np.float32)
    grid = random.integers(-4, 5, elements).astype(np.float32) / 8
    return np.where(grid == 0, np.float32(random.choice([0.0, -0.0])), grid)


def shapes(random):
    """Names and shapes: some large, some 0-d, some empty, up to five dimensions."""
    chosen = {}
    for number in range(int(random.integers(1, 10))):
        dimensions = int(random.integers(0, 6))
        longest = {0: 1, 1: 3000, 2: 60}.get(dimensions, 7)
        shape = tuple(int(length) for length in random.integers(0 if number else 1, longest, dimensions, endpoint=True))
        chosen[f"{'zyxwvutsr'[number]}.{number}/part" if random.random() < 0.2 else f"layer.{number}.weight"] = shape
    return chosen


def passed_through(random):
    """A few tensors of types that take no part."""
    kept = {}
    for dtype in random.permutation(tensors.PASSED_THROUGH)[:int(random.integers(0, 8))]:
        shape = tuple(int(length) for length in random.integers(0, 9, int(random.integers(0, 3))))
        size = int(np.prod(shape, dtype=int)) * tensors.ELEMENT_BYTES[dtype]
        data = random.integers(0, 2, size) if dtype == "BOOL" else random.integers(0, 256, size)
        kept[f"kept.{str(dtype).lower()}"] = tensors.raw(str(dtype), shape, data.astype(np.uint8).tobytes())
    return kept


def floating_type(random):
    return str(random.choice(tensors.FLOATING))


def make_models(random, count):
    """The base and `count` tasks, each task in types of its own."""
    kind = str(random.choice(["smooth", "grid", "grid"]))
    scales = (0.01, 0.5, 1) if kind == "smooth" else (1,)
    layout = shapes(random)
    originals = {name: values(random, kind, int(np.prod(shape, dtype=int))) for name, shape in layout.items()}
    base = {name: tensors.round_to(floating_type(random), layout[name], data) for name, data in originals.items()}
    base.update(passed_through(random))
    tasks = []
    for _ in range(count):
        task = {}
        for name, tensor in base.items():
            if name not in layout:
                noise = tensor.data if tensor.dtype == "BOOL" else bytes(random.integers(0, 256, len(tensor.data)).astype(np.uint8))
                task[name] = tensors.raw(tensor.dtype, tensor.shape, noise)
                continue
            change = values(random, kind, tensor.elements) * np.float32(random.choice(scales))
            same = random.random(tensor.elements) < 0.3
            moved = np.where(same, tensor.float32(), tensor.float32() + change)
            dtype = tensor.dtype if random.random() < 0.6 else floating_type(random)
            task[name] = tensors.round_to(dtype, tensor.shape, moved)
        tasks.append(task)
    return base, tasks


def shuffled(random, tensors_by_name):
    names = random.permutation(list(tensors_by_name))
    return {str(name): tensors_by_name[str(name)] for name in names}


def store(random, directory, model):
    """Writes a model in a random order, in one file or in shards; returns the path for the job."""
    model = shuffled(random, model)
    way = str(random.choice(["directory", "file", "shards"]))
    if way == "file":
        tensors.write_file(directory.with_suffix(".safetensors"), model, {"format": "pt"})
        return directory.with_suffix(".safetensors").name
    if way == "directory":
        tensors.write_model(directory, model)
        return directory.name
    shards = [{} for _ in range(int(random.integers(1, 5)))]
    for name, tensor in model.items():
        shards[int(random.integers(len(shards)))][name] = tensor
    tensors.write_shards(directory, [shard for shard in shards if shard])
    return directory.name


def make_recipe(random, count):
    densities = [float(random.choice([1.0, 1e-9, 0.01, 0.2, 0.5, float(random.uniform(0.001, 1))])) for _ in range(count)]
    possible = (1.0,) if random.random() < 0.4 else (1.0, 0.5, 0.3, -0.7, 0.0, 2.0)
    weights = [float(random.choice(possible)) for _ in range(count)]
    return reference_ties.Recipe(
        densities, weights, factor=float(random.choice([1.0, 0.4, -1.0, 0.0, 1.7])),
        aggregate=str(random.choice(["disjoint-mean", "disjoint-sum", "disjoint-max"])),
        sign_tie=str(random.choice(["majority", "positive"])))


def check(seed):
    def run(context):
        random = np.random.default_rng(seed)
        count = int(random.choice([1, 2, 3, 4, 5, 9, 20]))
        base, tasks = make_models(random, count)
        recipe = make_recipe(random, count)
        paths = [store(random, context.directory / f"task{number}", task) for number, task in enumerate(tasks)]
        base_path = store(random, context.directory / "base", base)
        out_type = random.choice(list(OUT_TYPES))
        models = [(path, {"density": repr(density), "weight": repr(weight)})
                  for path, density, weight in zip(paths, recipe.densities, recipe.weights)]
        keys = {"out_dtype": out_type} if out_type else {}
        text = jobs.job_text(base_path, models, {"lambda": repr(recipe.factor)}, aggregate=recipe.aggregate,
                             sign_tie=recipe.sign_tie, **keys)
        options = ["--chunk", str(random.choice(["4KiB", "16KiB", "8MiB"]))]
        options += ["--memory", "1MiB"] if random.random() < 0.3 else []
        wanted = reference_ties.merge(base, tasks, recipe)

        merged, summary = jobs.merge(context, text, *options, ranks=int(random.choice(RANKS)))

        jobs.expect_shapes_and_copies(merged, base, OUT_TYPES[out_type])
        jobs.expect_statistics(summary, wanted)
        expect_thresholds(summary, wanted)
        for name, expected in wanted.values.items():
            found = merged.tensors[name]
            rounded = tensors.round_to(found.dtype, found.shape, expected)
            different = np.flatnonzero(found.float32().view(np.uint32) != rounded.float32().view(np.uint32))
            expect(found == rounded, f"{name} ({found.dtype}) differs in {different.size} of {found.elements} elements, "
                                     f"first at {different[:1]} ({recipe})")
    return run


def expect_thresholds(summary, wanted):
    for number, (task, threshold) in enumerate(zip(summary["tasks"], wanted.thresholds)):
        if threshold is not None:
            expect(task["threshold_bits"] == reference_ties.bits(threshold),
                   f"threshold of task {number}: {task['threshold_bits']}, expected {reference_ties.bits(threshold)}")


for each in SEEDS:
    cases.add(f"random-{each % GROUPS}", f"seed-{each}", check(each))

if __name__ == "__main__":
    cases.main()
