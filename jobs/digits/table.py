#!/usr/bin/env python3
"""Accuracy of merges of all eight digit tasks by several methods, beside the published ones.

Exit 1 if a mean accuracy is more than 0.2 points off what was published.
"""
import argparse
import json
import sys

from evaluate import HERE, TASKS, accuracy, finetuned_accuracy, read_model

TOLERANCE = 0.002


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("merges", nargs="+", metavar="NAME=MERGED", help="a name of published.json and a merged body")
    published = json.loads((HERE / "published.json").read_text())
    finetuned = finetuned_accuracy()
    width = max(len(each.split("=")[0]) for each in parser.parse_args().merges)
    print(" " * width + "".join(f"{task:>10}" for task in TASKS) + f"{'mean':>10}{'published':>11}{'normalised':>12}")
    off = []
    for each in parser.parse_args().merges:
        name, path = each.split("=", 1)
        merged = read_model(path)
        found = [accuracy(merged, task) for task in TASKS]
        mean = sum(found) / len(found)
        wanted = sum(published[name][task] for task in TASKS) / len(TASKS)
        normalised = sum(value / finetuned[task] for value, task in zip(found, TASKS)) / len(TASKS)
        print(f"{name:<{width}}" + "".join(f"{value:>10.4f}" for value in found) +
              f"{mean:>10.4f}{wanted:>11.4f}{normalised:>12.4f}")
        if abs(mean - wanted) > TOLERANCE:
            off.append(f"{name}: mean accuracy {mean:.4f}, published {wanted:.4f}")
    if off:
        sys.exit("The accuracies differ from the published ones:\n  " + "\n  ".join(off))
    print(f"Every mean accuracy is within {100 * TOLERANCE:.1f} points of the published one.")


if __name__ == "__main__":
    main()
