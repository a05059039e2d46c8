#!/usr/bin/env python3
"""The analyses of the TIES paper on the digit models, every merge by mpimerge: tables here, plots and a page in OUTPUT.

Exit 1 if an accuracy is more than 0.001 off what was published for the same models.
"""

import argparse
import json
import os
import pathlib
import sys
import time

# Merges and accuracies run side by side: one thread each.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

import analyses  # noqa: E402
import page  # noqa: E402
from evaluate import HERE, TASKS  # noqa: E402
from merges import Merges, of_tasks  # noqa: E402

TOLERANCE = 0.001
PUBLISHED = {"average": lambda seed, tasks: of_tasks(seed, "average", tasks),
             "task_arithmetic_l0.4": analyses.arithmetic,
             "ties_k20_l1": analyses.ties,
             "ties_oracle_k20_l1": lambda seed, tasks: analyses.ties(
                 seed, tasks, elect=str(analyses.folder(seed) / "multitask"))}


def beside_published(merges, scale):
    """Columns and rows of a table, and what differs. Means over all subsets of a size are known."""
    known = json.loads((HERE / "published_by_seed.json").read_text())
    columns, rows, off = ["tasks", "method"], [], []
    for seed in scale.seeds:
        columns += [f"seed {seed}", "published"]
    for size in scale.sizes:
        subsets = analyses.subsets_of(scale, size)
        if len(subsets) != len(list(analyses.itertools.combinations(TASKS, size))):
            continue
        for name, make in PUBLISHED.items():
            if name == "ties_oracle_k20_l1" and size != len(TASKS):
                continue
            row = [str(size), name]
            for seed in scale.seeds:
                results = merges.run([make(seed, subset) for subset in subsets])
                found = float(np.mean([analyses.normalised(each, seed) for each in results]))
                published = known[str(seed)]["by_number"][str(size)][name]
                row += [f"{found:.4f}", f"{published:.4f}"]
                if abs(found - published) > TOLERANCE:
                    off.append(f"{name}, seed {seed}, {size} tasks: {found:.4f}, published {published:.4f}")
            rows.append(row)
    return columns, rows, off


def print_table(columns, rows):
    widths = [max(len(row[place]) for row in [columns, *rows]) for place in range(len(columns))]
    for row in [columns, *rows]:
        print("  " + "  ".join(cell.ljust(width) if not place else cell.rjust(width)
                               for place, (cell, width) in enumerate(zip(row, widths))).rstrip())


def report(each, output):
    print(f"\n{each.title}\n  paper    {each.paper}\n  here     {each.here}\n  finding  {each.verdict} ({each.rule})", flush=True)
    print_table(each.columns, each.rows)
    (output / f"{each.name}.svg").write_text(each.plot)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, type=pathlib.Path, help="path of mpimerge")
    parser.add_argument("--output", required=True, type=pathlib.Path, help="folder for index.html, the plots, results.json")
    parser.add_argument("--quick", action="store_true", help="one seed and few points: shows that it runs, not the findings")
    arguments = parser.parse_args()
    scale = analyses.QUICK if arguments.quick else analyses.Scale()
    started = time.monotonic()
    merges = Merges(arguments.program.resolve(), arguments.output / "merges")
    found = []
    for analysis in analyses.ALL:
        found.append(analysis(merges, scale))
        report(found[-1], arguments.output)
    columns, rows, off = beside_published(merges, scale)
    print("\nBeside the published numbers")
    print_table(columns, rows)
    seconds = time.monotonic() - started
    about = (f"{len(merges.done)} merges by mpimerge, of models of {len(scale.seeds)} "
             f"seed{'s' if len(scale.seeds) > 1 else ''}, in {seconds:.0f} s.")
    if arguments.quick:
        about += " A quick run of few points: it shows that all of it works, and no findings."
    (arguments.output / "index.html").write_text(page.page(found, (columns, rows), about))
    results = {each.name: {"verdict": each.verdict, **each.numbers} for each in found}
    (arguments.output / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"\n{about} The page: {arguments.output / 'index.html'}")
    if off:
        sys.exit("The accuracies differ from the published ones:\n  " + "\n  ".join(off))
    print(f"Every accuracy is within {TOLERANCE} of the published one.")


if __name__ == "__main__":
    main()
