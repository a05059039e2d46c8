"""Command lines and job files that are wrong: every fault in a line of its own."""

from fault.tiny import JOB, USAGE, Tiny, expect_refusal, start
from support.cases import Cases, expect

GOOD = """\
merge_method: ties
base_model: base
models:
  - model: math
  - model: code
parameters: {density: 0.2, lambda: 1.0}
"""


def register(cases: Cases):
    for name, (words, arguments) in BAD_COMMANDS.items():
        cases.add("usage", name, bad_command(arguments, words))
    for name, (words, text) in BAD_JOBS.items():
        cases.add("job", name, bad_job(text, words))
    for function in (good_job_merges, job_file_missing, job_file_is_a_directory, several_faults_are_told_at_once,
                     set_makes_a_fault, set_without_a_value, set_cures_a_fault, same_model_by_another_spelling,
                     same_model_behind_a_link, output_missing_in_job_and_command_line):
        cases.case("job")(function)


BAD_COMMANDS = {
    "no-command": ([], []),
    "unknown-command": (["mrege"], ["mrege", "job.yaml"]),
    "unknown-option": (["--frobnicate"], ["merge", "job.yaml", "--frobnicate"]),
    "no-job-file": (["JOB"], ["merge"]),
    "two-job-files": (["other.yaml"], ["merge", "job.yaml", "other.yaml"]),
    "option-without-a-value": (["--output"], ["merge", "job.yaml", "--output"]),
    "memory-is-no-size": (["plenty"], ["merge", "job.yaml", "--memory", "plenty"]),
    "chunk-of-nothing": (["--chunk"], ["merge", "job.yaml", "--chunk", "0"]),
    "chunk-is-negative": ([], ["merge", "job.yaml", "--chunk", "-4KiB"]),
    "quiet-and-verbose": (["--quiet"], ["merge", "job.yaml", "-q", "-v"]),
    "tolerance-is-negative": (["-1"], ["diff", "base", "math", "--rtol", "-1"]),
    "diff-of-one": ([], ["diff", "base"]),
}


def bad_command(arguments, words):
    def check(context):
        tiny = Tiny(context)
        expect_refusal(start(context, *arguments), USAGE, words)
        expect(not any(tiny.out.iterdir()), "something was written")
    return check


def bad_job(text, words):
    def check(context):
        tiny = Tiny(context)
        tiny.job(text)
        tiny.refused(JOB, *words)
    return check


def changed(old, new):
    """The good job with one line changed."""
    if old not in GOOD:
        raise ValueError(old)
    return GOOD.replace(old, new)


# What the line must name (with the number of the line where one is to blame), and the job.
BAD_JOBS = {
    "empty-file": (["job.yaml"], ""),
    "only-a-comment": (["job.yaml"], "# nothing\n"),
    "not-yaml": (["job.yaml:", "YAML"], "merge_method: ties\nbase_model: [base\n"),
    "a-list": (["job.yaml:1"], "- merge_method: ties\n"),
    "a-word": (["job.yaml:1"], "ties\n"),
    "binary": (["job.yaml"], "\x00\x01\x02"),
    "unknown-key": (["job.yaml:7", "densty"], GOOD + "densty: 0.3\n"),
    "unknown-parameter": (["job.yaml:6", "densty"], changed("density", "densty")),
    "unknown-key-of-a-model": (["job.yaml:4", "pth"], changed("- model: math", "- {model: math, pth: x}")),
    "key-twice": (["job.yaml:7", "merge_method"], GOOD + "merge_method: ties\n"),
    "no-method": (["job.yaml", "merge_method"], changed("merge_method: ties\n", "")),
    "unknown-method": (["job.yaml:1", "tise"], changed("method: ties", "method: tise")),
    "method-is-a-list": (["job.yaml:1", "merge_method"], changed("method: ties", "method: [ties]")),
    "no-base": (["job.yaml", "base_model"], changed("base_model: base\n", "")),
    "base-is-empty": (["job.yaml:2", "base_model"], changed("base_model: base", "base_model: ''")),
    "no-models": (["job.yaml", "models"], "merge_method: ties\nbase_model: base\n"),
    "models-empty-list": (["job.yaml:3", "models"], "merge_method: ties\nbase_model: base\nmodels: []\n"),
    "models-null": (["job.yaml:3", "models"], "merge_method: ties\nbase_model: base\nmodels:\n"),
    "models-is-a-word": (["job.yaml:3", "models"], "merge_method: ties\nbase_model: base\nmodels: math\n"),
    "model-without-a-path": (["job.yaml:4", "model"], changed("- model: math", "- parameters: {weight: 1}")),
    "base-among-the-models-with-a-weight": (
        ["job.yaml:5", "base"], changed("- model: code", "- model: base\n    parameters: {weight: 2}")),
    "density-is-a-word": (["job.yaml:6", "density", "much"], changed("density: 0.2", "density: much")),
    "density-is-true": (["job.yaml:6", "density", "true"], changed("density: 0.2", "density: true")),
    "density-is-null": (["job.yaml:6", "density"], changed("density: 0.2", "density: null")),
    "density-is-zero": (["job.yaml:6", "density", "0"], changed("density: 0.2", "density: 0")),
    "density-is-negative": (["job.yaml:6", "density", "-0.2"], changed("density: 0.2", "density: -0.2")),
    "density-is-a-percentage": (["job.yaml:6", "density", "20"], changed("density: 0.2", "density: 20")),
    "density-is-nan": (["job.yaml:6", "density"], changed("density: 0.2", "density: .nan")),
    "density-of-a-model-is-too-large": (
        ["job.yaml:4", "density", "1.5"], changed("- model: math", "- {model: math, parameters: {density: 1.5}}")),
    "lambda-is-a-word": (["job.yaml:6", "lambda", "big"], changed("lambda: 1.0", "lambda: big")),
    "lambda-is-infinite": (["job.yaml:6", "lambda"], changed("lambda: 1.0", "lambda: .inf")),
    "weight-is-a-map": (["job.yaml:6", "weight"], changed("density: 0.2", "weight: {a: 1}")),
    "weight-is-nan": (["job.yaml:6", "weight"], changed("density: 0.2", "weight: .nan")),
    "weight-is-beyond-float32": (["job.yaml:6", "weight"], changed("density: 0.2", "weight: 1e300")),
    "unknown-aggregate": (["job.yaml:7", "aggregate", "dis-mean"], GOOD + "aggregate: dis-mean\n"),
    "unknown-sign-tie": (["job.yaml:7", "sign_tie", "minority"], GOOD + "sign_tie: minority\n"),
    "unknown-elect": (["job.yaml:7", "elect", "mess"], GOOD + "elect: mess\n"),
    "unknown-trim-scope": (["job.yaml:7", "trim_scope", "layer"], GOOD + "trim_scope: layer\n"),
    "unknown-nan-policy": (["job.yaml:7", "nan", "ignore"], GOOD + "nan: ignore\n"),
    "arithmetic-in-another-type": (["job.yaml:7", "dtype", "float64"], GOOD + "dtype: float64\n"),
    "output-type-is-an-integer": (["job.yaml:7", "out_dtype", "int8"], GOOD + "out_dtype: int8\n"),
    "output-is-a-map": (["job.yaml:7", "output"], GOOD + "output: {a: b}\n"),
}


def good_job_merges(context):
    """What the broken ones are made from is in order."""
    tiny = Tiny(context)
    tiny.job(GOOD)
    tiny.merges()


def job_file_missing(context):
    tiny = Tiny(context)
    (tiny.root / "job.yaml").unlink()
    tiny.refused(JOB, "job.yaml")


def job_file_is_a_directory(context):
    tiny = Tiny(context)
    (tiny.root / "job.yaml").unlink()
    (tiny.root / "job.yaml").mkdir()
    tiny.refused(JOB, "job.yaml", "directory")


def several_faults_are_told_at_once(context):
    tiny = Tiny(context)
    tiny.job("""\
merge_method: ties
base_model: base
models:
  - model: math
    parameters: {density: 2}
  - {model: code, wieght: 1}
parameters: {density: much, lambda: [}
""".replace("[}", "x}") + "colour: blue\n")
    outcome = tiny.refused(JOB, "job.yaml:5", "job.yaml:6", "job.yaml:7", "job.yaml:8", "wieght", "colour", lines=5)
    numbers = [line.split("job.yaml:")[1].split(":")[0] for line in outcome.err_lines]
    expect(numbers == ["5", "6", "7", "7", "8"], f"the lines are in the order {numbers}")


def set_makes_a_fault(context):
    Tiny(context).refused(JOB, "--set parameters.density", "7", options=["--set", "parameters.density=7"])


def set_without_a_value(context):
    Tiny(context).refused(USAGE, "--set", options=["--set", "parameters.density"])


def set_cures_a_fault(context):
    tiny = Tiny(context)
    tiny.job(GOOD.replace("0.2", "much"))
    tiny.merges("--set", "parameters.density=0.3")


def same_model_by_another_spelling(context):
    tiny = Tiny(context)
    tiny.job(GOOD.replace("- model: code", "- model: ./math/../base/"))
    tiny.refused(JOB, "job.yaml:5", "base")


def same_model_behind_a_link(context):
    tiny = Tiny(context)
    (tiny.root / "also").symlink_to("base")
    tiny.job(GOOD.replace("- model: code", "- model: also"))
    tiny.refused(JOB, "also", "base")


def output_missing_in_job_and_command_line(context):
    tiny = Tiny(context)
    tiny.job(GOOD)
    expect_refusal(start(context, "merge", "job.yaml", "-q"), JOB, ["job.yaml", "output"])
