"""The statistics of task vectors and of a merge once more, as plainly as numpy allows."""

import numpy as np

QUANTILES = [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999]
DENSITIES = [0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1]
CLASSES = 11
BINS = 256
FIRST_BIN = (127 - 50) * 4  # the bits of 2^-50 without those below a quarter octave
PAIRED = 16


def report(base, tasks, thresholds=None, merged=None):
    """What the summary's `report` should say on level full. Models are name -> float32, flat; `thresholds` are bits, of
    TIES; `merged` is float32 too."""
    rows = {}
    for name in base:
        vectors = [np.subtract(task[name], base[name], dtype=np.float32) for task in tasks]
        change = merged and np.subtract(merged[name], base[name], dtype=np.float32)
        rows[name] = (vectors, change)
    kinds = {}
    for name in base:
        kinds.setdefault(_layer_and_kind(name)[1], []).append(name)
    together = {kind: _row(*_joined([rows[name] for name in names]), thresholds) for kind, names in kinds.items()}
    return {
        "all": _row(*_joined(list(rows.values())), thresholds),
        "kinds": {kind: {"tensors": len(kinds[kind]), **row} for kind, row in together.items()},
        "tensors": {name: {"layer": _layer_and_kind(name)[0], "kind": _layer_and_kind(name)[1],
                           **_row(*rows[name], thresholds)} for name in base},
    }


def _layer_and_kind(name):
    parts = name.split(".")
    for place, part in enumerate(parts):
        if part.isdigit():
            return int(part), ".".join(parts[:place] + ["*"] + parts[place + 1:])
    return None, name


def _joined(rows):
    vectors = [np.concatenate(parts) for parts in zip(*(vectors for vectors, _ in rows))]
    changes = [change for _, change in rows]
    return vectors, None if changes[0] is None else np.concatenate(changes)


def _ratio(part, whole):
    return None if whole == 0 else float(part) / float(whole)


def _row(vectors, change, thresholds):
    elements = vectors[0].size
    result = {"elements": elements}
    trimmed = None
    if thresholds is not None:
        keeps = [np.abs(vector).view(np.uint32) >= threshold for vector, threshold in zip(vectors, thresholds)]
        trimmed = [np.where(kept, vector, np.float32(0)) for vector, kept in zip(vectors, keeps)]
        total = _total(trimmed)
        touched = np.any([vector != 0 for vector in trimmed], axis=0)
        result["kept"] = [int(kept.sum()) for kept in keeps]
        result["signs"] = {"positive": int((total > 0).sum()), "negative": int((total < 0).sum()),
                           "cancelled": int((touched & (total == 0)).sum()), "untouched": int((~touched).sum())}
    before = {"before_trim": vectors}
    phases = before if trimmed is None else {**before, "after_trim": trimmed}
    by_tasks = {when: _conflicts(values) for when, values in phases.items()}
    result["conflicts"] = {when: counts[-1] for when, counts in by_tasks.items()}
    result["conflicts_by_tasks"] = {when: counts[1:] for when, counts in by_tasks.items()}
    classes = {when: _classes(values) for when, values in phases.items()}
    result["agreement"] = {when: [int((of == number).sum()) for number in range(CLASSES)]
                           for when, of in classes.items()}
    result["task_vectors"] = [_vector(vector, None if trimmed is None else trimmed[number])
                              for number, vector in enumerate(vectors)]
    wide = {"average": _total(vectors).astype(np.float64) / len(vectors)}
    if change is not None:
        wide["merged"] = change.astype(np.float64)
    result["by_agreement"] = {}
    for name, values in wide.items():
        size = np.abs(values)
        result[name] = {"mean_magnitude": _ratio(size.sum(), elements), "norm": float(np.sqrt((values ** 2).sum()))}
        result["by_agreement"][name] = [
            _ratio(size[classes["before_trim"] == number].sum(), (classes["before_trim"] == number).sum())
            for number in range(CLASSES)]
    result["pairs"] = _pairs(vectors[:PAIRED])
    return result


def _total(vectors):
    total = np.zeros_like(vectors[0])
    for vector in vectors:
        total = total + vector
    return total


def _conflicts(vectors):
    """Elements with values of both signs, among the first 1, 2, ... tasks."""
    above = np.zeros(vectors[0].shape, bool)
    below = np.zeros(vectors[0].shape, bool)
    counts = []
    for vector in vectors:
        above |= vector > 0
        below |= vector < 0
        counts.append(int((above & below).sum()))
    return counts


def _classes(vectors):
    positive = np.sum([vector > 0 for vector in vectors], axis=0)
    negative = np.sum([vector < 0 for vector in vectors], axis=0)
    nonzero = positive + negative
    return np.where(nonzero > 0, 10 * np.abs(positive - negative) // np.maximum(nonzero, 1), -1)


def _vector(vector, trimmed):
    wide = vector.astype(np.float64)
    square = (wide ** 2).sum()
    bins = np.clip((np.abs(vector).view(np.uint32) >> 21).astype(np.int64) - FIRST_BIN, 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    largest = float(np.abs(wide).max()) if vector.size else 0.0
    result = {"nonzero": int((vector != 0).sum()), "mean_magnitude": _ratio(np.abs(wide).sum(), vector.size),
              "norm": float(np.sqrt(square)), "largest": largest,
              "quantiles": [_quantile(counts, share, largest) for share in QUANTILES],
              "norm_share": [_norm_share(counts, density) for density in DENSITIES]}
    if trimmed is not None:
        result["norm_kept"] = _ratio((trimmed.astype(np.float64) ** 2).sum(), square)
    return result


def _border(number):
    return float(np.uint32((FIRST_BIN + number) << 21).view(np.float32)) if number else 0.0


def _quantile(counts, share, largest):
    wanted, below = share * counts.sum(), 0
    for number, count in enumerate(counts):
        if count and below + count >= wanted:
            begin, end = _border(number), _border(number + 1)
            return 0.0 if number == 0 else min(largest, begin + (end - begin) * (wanted - below) / count)
        below += count
    return None


def _norm_share(counts, density):
    left, share, whole = density * counts.sum(), 0.0, 0.0
    for number in range(BINS - 1, 0, -1):
        begin, end = _border(number), _border(number + 1)
        square = (begin * begin + begin * end + end * end) / 3
        taken = min(left, counts[number])
        share, whole, left = share + taken * square, whole + counts[number] * square, left - taken
    return _ratio(share, whole)


def _pairs(vectors):
    cosine, agreement = [], []
    for first, one in enumerate(vectors):
        for other in vectors[first + 1:]:
            a, b = one.astype(np.float64), other.astype(np.float64)
            cosine.append(_ratio((a * b).sum(), np.sqrt((a ** 2).sum()) * np.sqrt((b ** 2).sum())))
            both = (one != 0) & (other != 0)
            agreement.append(_ratio((both & ((one > 0) == (other > 0))).sum(), both.sum()))
    return {"cosine": cosine, "sign_agreement": agreement}


def differences(found, wanted, where="report", scale=None):
    """Lines for what is not as it should be: counts exactly; real numbers within 1e-6 of `scale`, or of themselves.
    Cosines are within that of 1. Means of what is merged are added in coarser units: ten times that, or by agreement that
    of the largest of them."""
    if isinstance(wanted, dict):
        lines = []
        for key, value in wanted.items():
            if key not in found:
                lines.append(f"{where}.{key} is missing")
                continue
            of_key = 1.0 if key == "cosine" else scale
            if key == "mean_magnitude" and where.endswith((".merged", ".average")):
                of_key = value and 10 * value
            if key == "by_agreement":
                of_key = max((mean for means in value.values() for mean in means if mean is not None), default=0.0)
            lines += differences(found[key], value, f"{where}.{key}", of_key)
        return lines
    if isinstance(wanted, list):
        if len(found) != len(wanted):
            return [f"{where} has {len(found)} entries, expected {len(wanted)}"]
        return [line for place, value in enumerate(wanted)
                for line in differences(found[place], value, f"{where}[{place}]", scale)]
    if isinstance(wanted, float) and isinstance(found, (int, float)):
        allowed = 1e-6 * (abs(wanted) if scale is None else scale)
        return [] if abs(found - wanted) <= allowed else [f"{where} is {found}, expected {wanted}"]
    return [] if found == wanted else [f"{where} is {found}, expected {wanted}"]
