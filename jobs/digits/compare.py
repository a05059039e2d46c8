#!/usr/bin/env python3
"""The quickstart's table: accuracy by task of the base, of the single models, and of a TIES merge.

The merge stands beside the published numbers of the official TIES code for the
same models. Exit 1 if any printed digit differs from what was published.
"""
import argparse
import json
import sys

import numpy as np

from evaluate import HERE, TASKS, accuracy, finetuned_accuracy, read_model

COLUMNS = ("base", "fine-tuned", "TIES", "TIES published")


def measure(merged):
    """One row of four accuracies for each task; a single model is judged on its own task only."""
    published = json.loads((HERE / "published.json").read_text())["ties_k20_l1"]
    base = read_model(HERE / "base")
    return np.array([(accuracy(base, task), accuracy(read_model(HERE / f"task_{task}"), task),
                      accuracy(merged, task), published[task]) for task in TASKS])


def differences(rows):
    """The cells that differ from the published ones in a printed digit, as texts."""
    published_base = json.loads((HERE / "published.json").read_text())["base"]
    finetuned = finetuned_accuracy()
    for task, (base, alone, ties, published) in zip(TASKS, rows):
        expected = (published_base[task], finetuned[task], published)
        for column, found, wanted in zip(COLUMNS, (base, alone, ties), expected):
            if f"{found:.4f}" != f"{wanted:.4f}":
                yield f"{task}, {column}: {found:.4f}, published {wanted:.4f}"


def print_table(rows):
    normalised = (rows / rows[:, [1]]).mean(axis=0)
    lines = [*zip(TASKS, rows), ("mean", rows.mean(axis=0)), ("normalised", normalised)]
    print("task      " + "".join(f"{column:>{len(column) + 4}}" for column in COLUMNS))
    for task, row in lines:
        print(f"{task:<10}" + "".join(f"{cell:>{len(column) + 4}.4f}" for column, cell in zip(COLUMNS, row)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("merged", metavar="MERGED", help="what ties.yaml gave")
    rows = measure(read_model(parser.parse_args().merged))
    print_table(rows)
    found = list(differences(rows))
    if found:
        sys.exit("The accuracies differ from the published ones:\n  " + "\n  ".join(found))
    print("Every accuracy equals the published one.")


if __name__ == "__main__":
    main()
