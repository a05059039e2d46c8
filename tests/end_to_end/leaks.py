#!/usr/bin/env python3
"""Nothing leaks, in whatever way a command ends. Of sanitizer builds only."""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from fault.tiny import Tiny  # noqa: E402
from support.cases import Cases, expect  # noqa: E402

CHECK_LEAKS = pathlib.Path(__file__).resolve().parents[1] / "support" / "check_leaks.sh"
cases = Cases(__doc__)


def ends(context, code, *arguments):
    """The command ends with that code and not with LeakSanitizer's. Without a launcher: it is the program that is asked."""
    settings = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=1"}
    outcome = context.run(*arguments, launcher=False, before=[CHECK_LEAKS], environment=settings)
    expect(outcome.code == code and "LeakSanitizer" not in outcome.out, f"{outcome.describe()} {outcome.out[-2000:]}")


@cases.case("leaks")
def a_merge_and_what_is_done_with_it(context):
    tiny = Tiny(context)
    ends(context, 0, "merge", "job.yaml", "--output", tiny.target, "--overwrite")
    ends(context, 0, "verify", tiny.target)
    ends(context, 0, "inspect", tiny.target)
    ends(context, 1, "diff", tiny.target, tiny.file("base"))
    ends(context, 0, "plan", "job.yaml", "--ranks", 3)


@cases.case("leaks")
def whatever_is_refused(context):
    tiny = Tiny(context)
    ends(context, 2, "merge")
    ends(context, 3, "merge", "job.yaml", "--output", tiny.target, "--set", "nonsense=1")
    ends(context, 5, "merge", "job.yaml", "--output", tiny.root / "nowhere" / "merged.h5")
    tiny.target.write_bytes(b"precious")
    ends(context, 5, "merge", "job.yaml", "--output", tiny.target)
    ends(context, 4, "verify", tiny.target)
    tiny.file("code").write_bytes(b"")
    ends(context, 4, "merge", "job.yaml", "--output", tiny.target, "--overwrite")


if __name__ == "__main__":
    cases.main()
