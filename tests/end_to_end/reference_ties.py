#!/usr/bin/env python3
"""The whole TIES merge once more, as plainly as numpy allows: float32, sums from left to right.

Run as a script it proves itself: it merges the copied cases of the authors' own code and compares bits.
"""

import dataclasses
import json
import pathlib
import sys

import numpy as np

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from support import tensors  # noqa: E402  (the path comes first)

CASES = TESTS / "data" / "reference"


@dataclasses.dataclass(frozen=True)
class Recipe:
    densities: list
    weights: list
    factor: float = 1.0  # lambda
    aggregate: str = "disjoint-mean"
    sign_tie: str = "majority"


@dataclasses.dataclass(frozen=True)
class Merge:
    values: dict  # name -> float32, flat
    parameters: int
    trim_ranks: list
    thresholds: list  # None where nothing is trimmed
    kept: list
    signs: dict
    conflicts: dict


def merge(base, tasks, recipe):
    """Merges the floating tensors of `base` and `tasks` (name -> Tensor)."""
    names = [name for name in sorted(base) if base[name].dtype in tensors.FLOATING]
    origin = _vector(base, names)
    vectors = [_vector(task, names) - origin for task in tasks]
    trims = [_trim(vector, density) for vector, density in zip(vectors, recipe.densities)]
    trimmed = [np.where(kept, vector, np.float32(0)) for vector, (_, _, kept) in zip(vectors, trims)]
    weights = [np.float32(weight) for weight in recipe.weights]
    values = [weight * vector for weight, vector in zip(weights, trimmed)]

    total = np.zeros_like(origin)
    touched = np.zeros(origin.shape, bool)
    for value in values:
        total = total + value
        touched |= value != 0
    elected = np.sign(total)
    positive, negative = int((elected > 0).sum()), int((elected < 0).sum())
    tie = 1 if recipe.sign_tie == "positive" else np.sign(positive - negative)
    used = np.where(elected == 0, np.float32(tie), elected)
    merged = origin + np.float32(recipe.factor) * _aggregate(values, weights, used, recipe.aggregate)

    return Merge(
        values=_split(merged, base, names),
        parameters=origin.size,
        trim_ranks=[rank for rank, _, _ in trims],
        thresholds=[threshold for _, threshold, _ in trims],
        kept=[int(kept.sum()) for _, _, kept in trims],
        signs={
            "positive": positive,
            "negative": negative,
            "cancelled": int((touched & (elected == 0)).sum()),
            "untouched": int((~touched).sum()),
        },
        conflicts={"before_trim": _conflicts(vectors), "after_trim": _conflicts(trimmed)},
    )


def _vector(model, names):
    parts = [model[name].float32() for name in names]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _split(vector, base, names):
    values, begin = {}, 0
    for name in names:
        end = begin + base[name].elements
        values[name] = vector[begin:end]
        begin = end
    return values


def _trim(vector, density):
    """n_t, the (d - n_t)-th smallest magnitude, and which elements stay; equals of the threshold stay."""
    rank = int(vector.size * density)
    if rank == vector.size:
        return rank, None, np.ones(vector.shape, bool)
    magnitudes = np.abs(vector)
    threshold = np.sort(magnitudes)[vector.size - rank - 1]
    return rank, threshold, magnitudes >= threshold


def _aggregate(values, weights, used, how):
    """A sign that is still 0 selects the negative values, as in the authors' code."""
    largest, total, weight_sum = (np.zeros_like(used) for _ in range(3))
    for value, weight in zip(values, weights):
        chosen = np.where(used > 0, value > 0, value < 0)
        largest = np.maximum(largest, np.where(chosen, np.abs(value), np.float32(0)))
        total = total + np.where(chosen, value, np.float32(0))
        weight_sum = weight_sum + np.where(chosen, weight, np.float32(0))
    if how == "disjoint-max":
        return largest * used
    if how == "disjoint-sum":
        return total
    return total / np.where(weight_sum == 0, np.float32(1), weight_sum)


def _conflicts(vectors):
    above = np.any([vector > 0 for vector in vectors], axis=0)
    below = np.any([vector < 0 for vector in vectors], axis=0)
    return int((above & below).sum())


class Case:
    """One copied case: its job and what the authors' code gave."""

    def __init__(self, directory):
        self.directory = directory
        self.name = directory.name
        self.job = json.loads((directory / "case.json").read_text())
        self.stats = json.loads((directory / self.job["stats"]).read_text())
        self.expected = tensors.read_file(directory / self.job["expected"])
        verification = json.loads((CASES / "verification.json").read_text())[self.name]
        exact = len(self.job["tasks"]) <= 4 or verification["float32_sequential_bitwise"]
        self.ulps = 0 if exact else 2

    @property
    def density(self):
        return self.job["trim"].get("k_fraction", 1)

    @property
    def aggregate(self):
        return self.job["aggregate"].replace("dis-", "disjoint-")

    def recipe(self):
        count = len(self.job["tasks"])
        return Recipe([self.density] * count, [1.0] * count, self.job["lambda"], self.aggregate)


def all_cases():
    found = sorted(path.parent for path in CASES.glob("*/case.json"))
    return [Case(directory) for directory in found]


def ulp_distance(a, b):
    """How many float32 numbers apart, per element; +0 and -0 differ by one."""
    def ordered(values):
        bits = np.asarray(values, np.float32).view(np.int32).astype(np.int64)
        return np.where(bits < 0, -(bits & 0x7FFFFFFF) - 1, bits)
    return np.abs(ordered(a) - ordered(b))


def worst_ulps(found, expected):
    """The largest distance over two sets of float32 tensors (name -> flat values)."""
    if set(found) != set(expected):
        raise ValueError(f"tensors differ: {sorted(set(found) ^ set(expected))}")
    return max((int(ulp_distance(found[name], expected[name]).max(initial=0)) for name in expected), default=0)


def statistics_differ(merge_result, stats):
    """What of the copied statistics a merge contradicts, as texts."""
    trimmed = "k_int" in stats
    pairs = [
        ("parameters", merge_result.parameters, stats["parameters"]),
        ("kept", merge_result.kept, [task["kept"] for task in stats["task"]]),
        ("positive", merge_result.signs["positive"], stats["signs_elected_raw"]["positive"]),
        ("negative", merge_result.signs["negative"], stats["signs_elected_raw"]["negative"]),
        ("zero", merge_result.signs["cancelled"] + merge_result.signs["untouched"],
         stats["signs_elected_raw"]["zero"]),
        ("conflicts before", merge_result.conflicts["before_trim"], stats["conflicts_before_trim"]),
        ("conflicts after", merge_result.conflicts["after_trim"], stats["conflicts_after_trim"]),
    ]
    if trimmed:
        pairs.append(("n_t", merge_result.trim_ranks, [stats["k_int"]] * len(stats["task"])))
        pairs.append(("thresholds", [bits(value) for value in merge_result.thresholds],
                      [task["threshold"]["bits"] for task in stats["task"]]))
    return [f"{what} is {found}, expected {wanted}" for what, found, wanted in pairs if found != wanted]


def bits(value):
    """A float32 as the summary writes it: 0x3c200000."""
    return f"0x{int(np.float32(value).view(np.uint32)):08x}"


def main():
    failed = 0
    cases = all_cases()
    for case in cases:
        base = tensors.read_model(case.directory / case.job["base"])
        tasks = [tensors.read_model(case.directory / task) for task in case.job["tasks"]]
        result = merge(base, tasks, case.recipe())
        faults = statistics_differ(result, case.stats)
        wanted = {name: case.expected[name].float32() for name in result.values}
        distance = worst_ulps(result.values, wanted)
        if distance > case.ulps:
            faults.append(f"{distance} ulp off, at most {case.ulps} expected")
        failed += bool(faults)
        print(f"FAILED {case.name}: {'; '.join(faults)}" if faults else f"ok {case.name}")
    print(f"{len(cases) - failed} passed, {failed} failed")
    sys.exit(1 if failed or not cases else 0)


if __name__ == "__main__":
    main()
