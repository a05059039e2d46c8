"""The analyses of the TIES paper (Yadav et al., NeurIPS 2023), one function each, on the digit models.

Every model is made by mpimerge; here accuracies are put side by side. Each analysis says what the paper found, what is
seen here, and by which rule that counts as the same finding.
"""

import dataclasses
import itertools
import pathlib
import random
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import checkpoints  # noqa: E402
import svg  # noqa: E402
from evaluate import TASKS, accuracy, finetuned_accuracy, folder, read_model, scores, share_right  # noqa: E402
from merges import Merge, job, of_tasks  # noqa: E402

DENSITY, LAMBDA, ARITHMETIC_LAMBDA = 0.2, 1.0, 0.4
YES, PARTLY, NO = "shows", "shows in part", "does not show"


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much is merged."""
    seeds: tuple = (0, 1, 2)
    tasks: tuple = tuple(TASKS)  # of analyses of single models
    densities: tuple = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1)
    sizes: tuple = tuple(range(2, len(TASKS) + 1))
    subsets: int = 28  # of each size, at most
    lambdas: tuple = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
    probabilities: tuple = (0.1, 0.3, 0.5, 0.7, 0.9, 1)
    checkpoint_tasks: tuple = ("plain", "perm_a", "noise")
    checkpoints: int = 10


QUICK = Scale(seeds=(1,), tasks=TASKS[:2], densities=(0.05, 0.2, 1), sizes=(7, 8), lambdas=(0.4, 1.0), probabilities=(1,),
              checkpoint_tasks=("plain",), checkpoints=3)


@dataclasses.dataclass
class Analysis:
    name: str
    title: str
    paper: str  # what it found
    here: str  # what is seen here
    rule: str  # when it counts as the same
    verdict: str
    columns: list
    rows: list  # of texts
    plot: str
    note: str = ""
    numbers: dict = dataclasses.field(default_factory=dict)


def verdict(*claims):
    return YES if all(claims) else PARTLY if any(claims) else NO


def spread(values):
    return (float(np.mean(values)), min(values), max(values))


def cells(values):
    """One cell per seed, then their mean."""
    return [f"{value:.4f}" for value in values] + [f"{np.mean(values):.4f}"]


def seed_columns(scale, *first):
    return [*first, *[f"seed {seed}" for seed in scale.seeds], "mean"]


def normalised(result, seed, split="test"):
    """Accuracy over that of the fine-tuned models, averaged over the tasks that were merged."""
    alone = finetuned_accuracy(split, seed)
    found = result.accuracy[split]
    return float(np.mean([found[task] / alone[task] for task in found]))


def normalised_model(model, seed, tasks):
    """The same of a model that is no merge."""
    alone = finetuned_accuracy("test", seed)
    return float(np.mean([accuracy(model, task, "test", seed) / alone[task] for task in tasks]))


def ties(seed, tasks=tuple(TASKS), density=DENSITY, lam=LAMBDA, splits=("test",), **keys):
    return of_tasks(seed, "ties", tasks, splits, parameters={"density": density, "lambda": lam}, **keys)


def arithmetic(seed, tasks=tuple(TASKS), lam=ARITHMETIC_LAMBDA):
    return of_tasks(seed, "task_arithmetic", tasks, parameters={"lambda": lam})


METHODS = {"averaging": lambda seed, tasks: of_tasks(seed, "average", tasks),
           f"task arithmetic, λ {ARITHMETIC_LAMBDA}": arithmetic,
           "TIES": ties}


def redundancy(merges, scale):
    wanted = {(seed, density): [ties(seed, (task,), density) for task in scale.tasks]
              for seed in scale.seeds for density in scale.densities}
    results = iter(merges.run(list(itertools.chain.from_iterable(wanted.values()))))
    found = {key: float(np.mean([normalised(next(results), key[0]) for _ in each])) for key, each in wanted.items()}
    by_density = {density: [found[seed, density] for seed in scale.seeds] for density in scale.densities}
    base = [normalised_model(read_model(folder(seed) / "base"), seed, scale.tasks) for seed in scale.seeds]
    kept = float(np.mean(by_density[DENSITY]))
    least = next(density for density in sorted(scale.densities) if np.mean(by_density[density]) >= 0.99)
    return Analysis(
        "redundancy", "Redundant parameters (Fig. 3)",
        "Keeping only the 20 % largest values of a task vector, over the whole model, does not degrade the model.",
        f"With the 20 % largest values a model keeps {100 * kept:.1f} % of its accuracy; 99 % of it need "
        f"{100 * least:g} % of the values. Without any (the base) {100 * np.mean(base):.1f} % are left.",
        "at density 0.2 at least 95 % of the accuracy are left; at least 99 %", verdict(kept >= 0.95, kept >= 0.99),
        seed_columns(scale, "values kept"),
        [["none (base)", *cells(base)]] + [[f"{100 * density:g} %", *cells(values)] for density, values in by_density.items()],
        svg.lines({"mean of the single models, and the range of the seeds":
                   [(100 * density, *spread(values)) for density, values in by_density.items()]},
                  "largest values kept, %", "accuracy, over that of the fine-tuned model", (1, 10, 20, 30, 50, 70, 100)),
        f"{len(scale.tasks)} models of each seed, each trimmed by itself (TIES of one model), on its own task.",
        {"by_density": by_density})


def subsets_of(scale, size):
    """All subsets of so many tasks, or some, the same at each run, with every task about as often."""
    every = list(itertools.combinations(TASKS, size))
    if len(every) <= scale.subsets:
        return every
    chosen, often = [], dict.fromkeys(TASKS, 0)
    random.Random(size).shuffle(every)
    while len(chosen) < scale.subsets:
        rarest = min(every, key=lambda subset: sum(often[task] for task in subset))
        every.remove(rarest)
        chosen.append(rarest)
        for task in rarest:
            often[task] += 1
    return chosen


def _by_number(merges, scale):
    """(seed, size) -> method -> results of all its subsets."""
    wanted = {(seed, size): {name: [make(seed, subset) for subset in subsets_of(scale, size)]
                             for name, make in METHODS.items()}
              for seed in scale.seeds for size in scale.sizes}
    merges.run([merge for methods in wanted.values() for each in methods.values() for merge in each])
    return {key: {name: merges.run(each) for name, each in methods.items()} for key, methods in wanted.items()}


def conflicts(merges, scale):
    found = _by_number(merges, scale)
    series, means = {}, {}
    for label, key in (("all values", "before_trim"), ("after the trim to 20 %", "after_trim")):
        shares = {size: [float(np.mean([each.summary["conflicts"][key] / each.summary["parameters"]
                                        for each in found[seed, size]["TIES"]])) for seed in scale.seeds]
                  for size in scale.sizes}
        series[label] = shares
        means[label] = [float(np.mean(values)) for values in shares.values()]
    before, after = means.values()
    grows = all(low < high for low, high in itertools.pairwise(after))
    return Analysis(
        "conflicts", "Sign conflicts against the number of models (Fig. 4)",
        "Signs conflict even between two models and after the trim, and the more so the more models are merged.",
        f"After the trim {100 * after[0]:.1f} % of all parameters have values of both signs with {scale.sizes[0]} models, "
        f"{100 * after[-1]:.1f} % with {scale.sizes[-1]}; before it {100 * before[0]:.1f} % and {100 * before[-1]:.1f} %.",
        "conflicts after the trim with two models already, and more with every further one", verdict(grows and after[0] > 0),
        ["models", "conflicts before the trim", "after the trim"],
        [[str(size), f"{100 * old:.2f} %", f"{100 * new:.2f} %"] for size, old, new in zip(scale.sizes, before, after)],
        svg.lines({label: [(size, *[100 * value for value in spread(values)]) for size, values in shares.items()]
                   for label, shares in series.items()}, "models merged", "parameters in conflict, %"),
        "Counted by mpimerge while it merges (conflicts in its summaries); mean over the subsets, whiskers over the seeds.",
        {"before": before, "after": after})


def number_of_tasks(merges, scale):
    found = _by_number(merges, scale)
    means = {name: {size: [float(np.mean([normalised(each, seed) for each in found[seed, size][name]]))
                           for seed in scale.seeds] for size in scale.sizes} for name in METHODS}
    ours = {name: [float(np.mean(values)) for values in by_size.values()] for name, by_size in means.items()}
    average, arithmetics, best = ours.values()
    falls = all(all(low > high for low, high in itertools.pairwise(values)) for values in ours.values())
    leads = all(value > max(others) for value, others in zip(best, zip(average, arithmetics)))
    lost = {name: values[0] - values[-1] for name, values in ours.items()}
    slower = lost["TIES"] == min(lost.values())
    return Analysis(
        "number_of_tasks", "More and more tasks (Fig. 5)",
        "Every method loses accuracy with the number of tasks, TIES more slowly than the others; with two tasks task "
        "arithmetic and TIES lose hardly anything, averaging much.",
        f"From {scale.sizes[0]} to {scale.sizes[-1]} tasks TIES falls from {best[0]:.3f} to {best[-1]:.3f}, task arithmetic from "
        f"{arithmetics[0]:.3f} to {arithmetics[-1]:.3f}, averaging from {average[0]:.3f} to {average[-1]:.3f}. TIES is "
        f"{'above both at every number' if leads else 'not above both at every number'}. With {scale.sizes[0]} tasks task "
        f"arithmetic at λ {ARITHMETIC_LAMBDA} is {'below' if arithmetics[0] < average[0] else 'above'} averaging"
        f"{', unlike in the paper: so small a λ is right for eight, not for few' if arithmetics[0] < average[0] else ''}. "
        f"What falls least is {min(lost, key=lost.get)}.",
        "all three fall with every task; TIES is above the others at every number; TIES falls least",
        verdict(falls, leads, slower),
        ["tasks", "subsets", *METHODS],
        [[str(size), str(len(subsets_of(scale, size))), *[f"{values[place]:.4f}" for values in ours.values()]]
         for place, size in enumerate(scale.sizes)],
        svg.lines({name: [(size, *spread(values)) for size, values in by_size.items()] for name, by_size in means.items()},
                  "tasks merged", "accuracy, over that of the fine-tuned models"),
        "TIES at density 0.2 and λ 1, without validation; mean over subsets, each judged on its own tasks.",
        {"by_number": means})


# What stands in for a step that is left out, as in the paper. λ is chosen on the validation images.
ABLATION = {"TIES": {},
            "without trim": {"density": 1},
            "without elect": {"elect": "none", "aggregate": "disjoint-mean"},
            "without disjoint mean": {"aggregate": "disjoint-sum"}}


def _with_lambdas(merges, scale, make, divisor=1):
    """seed -> λ -> result; `divisor`: what λ is divided by for the method."""
    wanted = {seed: [make(seed, lam / divisor) for lam in scale.lambdas] for seed in scale.seeds}
    merges.run(list(itertools.chain.from_iterable(wanted.values())))
    return {seed: dict(zip(scale.lambdas, merges.run(each))) for seed, each in wanted.items()}


def _ablation_runs(merges, scale):
    def maker(keys):
        return lambda seed, lam: ties(seed, lam=lam, splits=("val", "test"), **keys)
    # The sum over 8 models is divided by their number: a mean in which trimmed values and those of the other sign are 0. So
    # small a mean wants a large λ.
    return {name: _with_lambdas(merges, scale, maker(keys), 2 if "sum" in keys.get("aggregate", "") else 1)
            for name, keys in ABLATION.items()}


def ablation(merges, scale):
    runs = _ablation_runs(merges, scale)
    values, chosen = {}, {}
    for name, by_seed in runs.items():
        best = {seed: max(results, key=lambda lam, seed=seed, results=results: normalised(results[lam], seed, "val"))
                for seed, results in by_seed.items()}
        values[name] = [normalised(by_seed[seed][best[seed]], seed) for seed in scale.seeds]
        chosen[name] = [best[seed] * (len(TASKS) / 2 if "disjoint" in name else 1) for seed in scale.seeds]
    values["without λ (λ = 1)"] = [normalised(runs["TIES"][seed][LAMBDA], seed) for seed in scale.seeds]
    chosen["without λ (λ = 1)"] = [LAMBDA] * len(scale.seeds)
    means = {name: float(np.mean(each)) for name, each in values.items()}
    whole = means["TIES"]
    losses = {name: whole - mean for name, mean in means.items() if name != "TIES"}
    told = ", ".join(f"{name} {'−' if loss > 0 else '+'}{100 * abs(loss):.1f}" for name, loss in losses.items())
    return Analysis(
        "ablation", "Each step left out (Table 5)",
        "Leaving out any step costs accuracy: most the scaling by λ and the disjoint mean, then the election, then the trim.",
        f"In points, against {100 * whole:.1f} % with all steps: {told}.",
        "every step that is left out costs accuracy", verdict(*[loss > 0 for loss in losses.values()]),
        seed_columns(scale, "", "λ chosen"),
        [[name, ", ".join(f"{lam:.3g}" for lam in chosen[name]), *cells(each)] for name, each in values.items()],
        svg.points({name: [spread(each)] for name, each in values.items()}, ["accuracy"],
                 "accuracy, over that of the fine-tuned models"),
        "All eight tasks; λ chosen by each variant on the validation images. Without elect: the mean of all values that are not "
        "trimmed. Without disjoint mean: values that were trimmed or have the other sign count as 0 in a mean over all models.",
        {"means": means})


def top_signs(merges, scale):
    def perturbed(seed, task, probability, bottom):
        return Merge(seed, job(seed, "perturb", [f"task_{task}"], seed=seed,
                               parameters={"density": DENSITY, "probability": probability, "bottom": bottom}), (task,))
    places = {"top 20 %": False, "bottom 80 %": True}
    wanted = {(name, probability, seed): [perturbed(seed, task, probability, bottom) for task in scale.tasks]
              for name, bottom in places.items() for probability in scale.probabilities for seed in scale.seeds}
    merges.run(list(itertools.chain.from_iterable(wanted.values())))
    found = {key: float(np.mean([normalised(each, key[2]) for each in merges.run(merge)])) for key, merge in wanted.items()}
    curves = {name: {probability: [found[name, probability, seed] for seed in scale.seeds]
                     for probability in scale.probabilities} for name in places}
    last = scale.probabilities[-1]
    top, bottom = (float(np.mean(curves[name][last])) for name in places)
    base = float(np.mean([normalised_model(read_model(folder(seed) / "base"), seed, scale.tasks) for seed in scale.seeds]))
    series = {f"flipped: {name}": [(0, 1, 1, 1), *[(probability, *spread(values)) for probability, values in curve.items()]]
              for name, curve in curves.items()}
    means = {name: [float(np.mean(values)) for values in curve.values()] for name, curve in curves.items()}
    falls = all(low > high for low, high in itertools.pairwise([1, *means["top 20 %"]]))
    return Analysis(
        "top_signs", "Signs of the largest values (section 7.2)",
        "Flipping the signs of the 20 % largest values with probability p ruins a model, the more the higher p; flipping those of "
        "the other 80 % does hardly any harm.",
        f"With all signs of the 20 % largest flipped {100 * top:.1f} % of the accuracy are left (the base has {100 * base:.1f} %), "
        f"with all of the other 80 % flipped {100 * bottom:.1f} %.",
        "the top's accuracy falls with every p and ends below the base's; the bottom keeps at least 95 %",
        verdict(falls and top < base, bottom >= 0.95),
        ["p", *[f"{name} flipped" for name in places]],
        [[f"{probability:g}", *[f"{means[name][place]:.4f}" for name in places]]
         for place, probability in enumerate(scale.probabilities)],
        svg.lines(series, "probability of a flip", "accuracy, over that of the fine-tuned model"),
        f"{len(scale.tasks)} models of each seed by mpimerge perturb, each on its own task.",
        {"curves": means})


def multitask_signs(merges, scale):
    wanted = {"averaging": [of_tasks(seed, "average") for seed in scale.seeds],
              "TIES, its own signs": [ties(seed) for seed in scale.seeds],
              "TIES, the multitask model's signs": [ties(seed, elect=str(folder(seed) / "multitask")) for seed in scale.seeds]}
    merges.run(list(itertools.chain.from_iterable(wanted.values())))
    values = {name: [normalised(each, seed) for seed, each in zip(scale.seeds, merges.run(merge))]
              for name, merge in wanted.items()}
    values["multitask model (not a merge)"] = [normalised_model(read_model(folder(seed) / "multitask"), seed, TASKS)
                                               for seed in scale.seeds]
    _, own, oracle, both = (float(np.mean(each)) for each in values.values())
    closed = (oracle - own) / (both - own)
    return Analysis(
        "multitask_signs", "Signs of a multitask model (section 7.4)",
        "With the signs of a model that was trained on all tasks, TIES comes close to that model: 72.0 against 73.1, from 66.4 "
        "with its own signs; five sixths of the gap.",
        f"Multitask signs raise TIES from {own:.3f} to {oracle:.3f}; the multitask model has {both:.3f}. That closes "
        f"{100 * closed:.0f} % of the gap.",
        "the signs raise the accuracy; they close most of the gap (over half)", verdict(oracle > own, closed > 0.5),
        seed_columns(scale, ""), [[name, *cells(each)] for name, each in values.items()],
        svg.points({name: [spread(each)] for name, each in values.items()}, ["accuracy"],
                 "accuracy, over that of the fine-tuned models"),
        "All eight tasks, density 0.2, λ 1.", {"gap_closed": closed})


def lambdas(merges, scale):
    runs = {"TIES": _ablation_runs(merges, scale)["TIES"],
            "task arithmetic": _with_lambdas(merges, scale, lambda seed, lam: arithmetic(seed, lam=lam))}
    values = {name: {lam: [normalised(by_seed[seed][lam], seed) for seed in scale.seeds] for lam in scale.lambdas}
              for name, by_seed in runs.items()}
    means = {name: [float(np.mean(each)) for each in by_lambda.values()] for name, by_lambda in values.items()}
    ranges = {name: max(each) - min(each) for name, each in means.items()}
    return Analysis(
        "lambdas", "Sensitivity to λ (appendix C)",
        "TIES is much less sensitive to λ than task arithmetic.",
        f"From λ {scale.lambdas[0]:g} to {scale.lambdas[-1]:g} TIES varies by {100 * ranges['TIES']:.1f} points, task arithmetic by "
        f"{100 * ranges['task arithmetic']:.1f}; their best are {max(means['TIES']):.3f} and {max(means['task arithmetic']):.3f}.",
        "TIES varies less than half as much as task arithmetic", verdict(ranges["TIES"] < ranges["task arithmetic"] / 2),
        ["λ", *means], [[f"{lam:g}", *[f"{each[place]:.4f}" for each in means.values()]]
                        for place, lam in enumerate(scale.lambdas)],
        svg.lines({name: [(lam, *spread(each)) for lam, each in by_lambda.items()] for name, by_lambda in values.items()},
                  "λ", "accuracy, over that of the fine-tuned models"),
        "All eight tasks, density 0.2.", {"means": means})


def same_task(merges, scale):
    pairs = [(seed, task) for task in scale.checkpoint_tasks for seed in scale.seeds]
    wanted, ensembles, singles = {}, [], []
    for seed, task in pairs:
        models = [checkpoints.fine_tune(seed, task, number) for number in range(scale.checkpoints)]
        paths = [str(merges.directory / f"checkpoint-{seed}-{task}-{number}.safetensors") for number in range(len(models))]
        for path, model in zip(paths, models):
            checkpoints.write_safetensors(pathlib.Path(path), model)
        singles.append([accuracy(model, task, "test", seed) for model in models])
        ensembles.append(share_right(sum(_shares(scores(model, task, "test", seed)) for model in models), task))
        for name, method, keys in (("averaging", "average", {}), ("TIES", "ties", {"parameters": {"density": DENSITY,
                                                                                                "lambda": LAMBDA}})):
            wanted.setdefault(name, []).append(Merge(seed, job(seed, method, paths, **keys), (task,)))
    merges.run(list(itertools.chain.from_iterable(wanted.values())))
    results = {name: merges.run(each) for name, each in wanted.items()}
    values = {"one checkpoint (mean)": [float(np.mean(each)) for each in singles], "ensemble of all": ensembles,
              **{name: [each.accuracy["test"][task] for each, (_, task) in zip(found, pairs)]
                 for name, found in results.items()}}
    by_task = {name: {task: [value for value, (_, of) in zip(each, pairs) if of == task] for task in scale.checkpoint_tasks}
               for name, each in values.items()}
    means = {name: [float(np.mean(each[task])) for task in scale.checkpoint_tasks] for name, each in by_task.items()}
    one, _, average, best = means.values()
    conflict = float(np.mean([each.summary["conflicts"]["after_trim"] / each.summary["parameters"]
                              for each in results["TIES"]]))
    better = sum(high > low for high, low in zip(best, average))
    return Analysis(
        "same_task", "Checkpoints of one task (robustness)",
        "Merging ten checkpoints of one task, TIES is above averaging on each of three tasks, and above a single checkpoint. Signs "
        "conflict between checkpoints of one task too.",
        f"TIES is above averaging on {better} of {len(best)} tasks, and above one checkpoint on "
        f"{sum(high > low for high, low in zip(best, one))}. {100 * conflict:.1f} % of the parameters are in conflict after the "
        "trim.",
        "TIES is above averaging on each task; and above one checkpoint on each",
        verdict(better == len(best), all(high > low for high, low in zip(best, one))),
        ["", *scale.checkpoint_tasks], [[name, *[f"{value:.4f}" for value in each]] for name, each in means.items()],
        svg.points({task: [spread(by_task[name][task]) for name in by_task] for task in scale.checkpoint_tasks}, list(by_task),
                 "test accuracy"),
        f"The data have one model per task. So these {scale.checkpoints} checkpoints of each task were fine-tuned for this page, "
        f"from the base, by {checkpoints.EPOCHS} epochs of SGD on {checkpoints.IMAGES} of the 1000 train images each (paper/"
        "checkpoints.py); their digits may differ a little from machine to machine. The merges are mpimerge's.",
        {"means": means})


def _shares(found):
    exponentials = np.exp(found - found.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


ALL = (redundancy, conflicts, number_of_tasks, ablation, top_signs, multitask_signs, lambdas, same_task)
