"""What needs the operating system: fewer rights, a small or read-only file system, failing calls."""

import errno
import os
import pathlib
import shlex
import subprocess
import tempfile

from support.cases import Failure

NO_RIGHTS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


def unprivileged():
    """Words before a command for which file permissions count, also for root."""
    before = NO_RIGHTS if os.geteuid() == 0 else ()
    with tempfile.NamedTemporaryFile() as file:
        os.chmod(file.name, 0)
        read = subprocess.run([*before, "cat", file.name], capture_output=True, check=False)
    if read.returncode == 0:
        raise Failure("cannot take the right to read everything away from a child; run as an ordinary user")
    return before


def shell(script):
    """Words before a command: a shell that prepares something and then becomes the command, which is its "$@"."""
    return ["sh", "-c", script, "sh"]


def on_disk(context, directory, options, instead):
    """A run that sees a file system of its own, mounted with `options`, at `directory`.

    Returns the words that Program.run needs, and a function that tells what is left in the directory. Nobody else sees
    the mount, and it ends with the run. Where mounting is not permitted, as in many containers, the system calls
    that such a disk refuses fail by themselves: `instead` are the arguments of `failing`.
    """
    directory = pathlib.Path(directory)
    mount = f"mount -t tmpfs -o {options} tmpfs {shlex.quote(str(directory))}"
    for namespace in (["unshare", "-m"], ["unshare", "-r", "-m"]):
        probe = subprocess.run([*namespace, "sh", "-c", mount], capture_output=True, check=False)
        if probe.returncode == 0:
            break
    else:
        print("note: mounting is not permitted here; failing system calls stand in for the disk")
        return {"environment": failing(context, **instead)}, lambda: sorted(os.listdir(directory))
    listing = directory.parent / "left-behind"
    # mpirun's own directory would be that of the real root, for whom an ordinary user passes in there.
    script = (f'{mount} && export TMPDIR={shlex.quote(str(directory.parent))} && '
              f'{{ "$@"; code=$?; ls -A {shlex.quote(str(directory))} >{shlex.quote(str(listing))}; exit $code; }}')
    return {"before": [*namespace, "sh", "-c", script, "sh"]}, lambda: listing.read_text().split()


def failing(context, call, path="", error=0, after=0, rank=None, delay=0, sends=0):
    """The environment in which a system call fails, on files with `path` in their name, on one rank or all.

    With `delay` (milliseconds) it comes late instead, with `sends` it comes with a signal to its own process.
    """
    library = context.arguments.failing_calls
    if not library:
        raise Failure("needs --failing-calls, the library made from failing_calls.cpp")
    settings = {"LD_PRELOAD": str(pathlib.Path(library).resolve()), "FAULT_CALL": call, "FAULT_PATH": path,
                "FAULT_ERRNO": str(error and getattr(errno, error)), "FAULT_AFTER": str(after),
                "FAULT_DELAY": str(delay), "FAULT_SIGNAL": str(int(sends))}
    if rank is not None:
        settings["FAULT_RANK"] = str(rank)
    if "ASAN_OPTIONS" in os.environ:
        settings["ASAN_OPTIONS"] = os.environ["ASAN_OPTIONS"] + ":verify_asan_link_order=0"
    return settings
