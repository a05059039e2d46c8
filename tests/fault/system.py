"""What needs the operating system: less rights, a small or read-only file system, failing calls."""

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


def tmpfs(directory, size, read_only=False):
    """The mount command of a small file system."""
    options = f"size={size}" + (",ro" if read_only else "")
    return f"mount -t tmpfs -o {options} tmpfs {shlex.quote(str(directory))}"


def mount_namespace(mount, directory):
    """Words before a command that sees `directory` mounted, and the file that lists what is left there.

    The mount is the command's own: nobody else sees it, and it ends with the command.
    """
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-r", "-m"]
    probe = subprocess.run([*unshare, "sh", "-c", mount], capture_output=True, check=False)
    if probe.returncode != 0:
        raise Failure("cannot mount a small file system in a namespace of its own: "
                      + probe.stderr.decode(errors="replace").strip())
    listing = pathlib.Path(directory).parent / "left-behind"
    script = f'{mount} && {{ "$@"; code=$?; ls -A {shlex.quote(str(directory))} >{shlex.quote(str(listing))}; exit $code; }}'
    return [*unshare, "sh", "-c", script, "sh"], listing


def failing(context, call, path="", error=0, after=0, rank=None):
    """The environment in which a system call fails, on files with `path` in their name, on one rank or all."""
    library = context.arguments.failing_calls
    if not library:
        raise Failure("needs --failing-calls, the library made from failing_calls.cpp")
    settings = {"LD_PRELOAD": str(pathlib.Path(library).resolve()), "FAULT_CALL": call, "FAULT_PATH": path,
                "FAULT_ERRNO": str(error and getattr(errno, error)), "FAULT_AFTER": str(after)}
    if rank is not None:
        settings["FAULT_RANK"] = str(rank)
    if "ASAN_OPTIONS" in os.environ:
        settings["ASAN_OPTIONS"] = os.environ["ASAN_OPTIONS"] + ":verify_asan_link_order=0"
    return settings
