#!/usr/bin/env python3
"""Everything that users get wrong and disks do to them: the right exit code, one clear line, no hang, no trace."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from fault import (bad_directory, bad_header, bad_index, bad_job, bad_models, bad_output, bad_system,  # noqa: E402
                   bad_torch, environment, hostile)
from support.cases import Cases  # noqa: E402

cases = Cases(__doc__, failing_calls="path of the library that lets system calls fail")
for room in (bad_header, bad_index, bad_torch, bad_models, bad_job, bad_output, bad_system, bad_directory, hostile,
             environment):
    room.register(cases)

if __name__ == "__main__":
    cases.main()
