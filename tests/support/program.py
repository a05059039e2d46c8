"""Runs the program as a user does, with a limit of time."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import time

# What Open MPI needs in a container, as root, with more ranks than cores (also set by CTest).
OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMPI_MCA_odls_base_sigkill_timeout": "0",  # else mpirun rests two seconds after every exit that is not 0
}


# Now and then, when a rank's pipe closes at the wrong moment.
MPIRUN_NOISE = "[warn] Epoll "


@dataclasses.dataclass
class Outcome:
    code: int
    out: str
    err: str
    seconds: float
    late: bool

    @property
    def err_lines(self):
        return [line for line in self.err.splitlines() if line.strip() and not line.startswith(MPIRUN_NOISE)]

    def describe(self):
        """One line for the report of a failed case."""
        end = "did not end in time" if self.late else f"exit {self.code}"
        said = " | ".join(self.err_lines[:6]) or "nothing on stderr"
        return f"{end} after {self.seconds:.1f} s; {said}"


@dataclasses.dataclass
class Program:
    mpirun: str
    path: str
    limit: float = 30.0  # seconds

    def run(self, arguments, ranks=1, directory=None, environment=None, before=(), inside=(), launcher=True):
        """Runs `before... mpirun -n ranks inside... program arguments`; without `launcher` no mpirun."""
        command = [str(word) for word in before]
        if launcher:
            command += [self.mpirun, "-q", "--oversubscribe", "--bind-to", "none", "-n", str(ranks)]
        command += [str(word) for word in inside] + [self.path] + [str(word) for word in arguments]
        settings = {**OPEN_MPI, **os.environ, **(environment or {})}
        start = time.monotonic()
        child = subprocess.Popen(command, cwd=directory, env=settings, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        late = False
        try:
            out, err = child.communicate(timeout=self.limit)
        except subprocess.TimeoutExpired:
            late = True
            out, err = _end(child)
        seconds = time.monotonic() - start
        return Outcome(child.returncode, out.decode(errors="replace"), err.decode(errors="replace"), seconds, late)


def _end(child):
    """Ends a child that hangs: mpirun takes its ranks with it, given the time."""
    for wish, patience in ((signal.SIGTERM, 8), (signal.SIGKILL, 8)):
        try:
            os.killpg(child.pid, wish)
        except ProcessLookupError:
            pass
        try:
            return child.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            continue
    return b"", b"(killed; its output pipe stayed open)"


def add_arguments(parser):
    parser.add_argument("--mpirun", default="mpirun")
    parser.add_argument("--program", required=True, help="path of mpimerge")
    parser.add_argument("--limit", type=float, default=30.0, help="seconds that one run may take")


def from_arguments(arguments):
    return Program(arguments.mpirun, str(pathlib.Path(arguments.program).resolve()), arguments.limit)
