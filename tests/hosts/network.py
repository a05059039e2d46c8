"""Several hosts on one machine: each with a network, an address and a name of its own, joined by a switch.

Everything lives in namespaces of one process tree. Nothing has a name outside of it, so runs do not collide, and when the
first process of the tree ends, however it ends, the kernel removes all of it: processes, networks, files.
"""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

INSIDE = "MPIMERGE_TEST_NETWORK"  # set for the process that is alone in its namespaces
# As the first process of the tree: its end is the end of all.
NAMESPACES = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
SUBNET = "10.77.0"
# mpirun and its daemons take a host for lost when it did not answer for 3 + 3 * 2 seconds.
KEEPALIVE = ("--mca", "oob_tcp_keepalive_time", "3", "--mca", "oob_tcp_keepalive_intvl", "2",
             "--mca", "oob_tcp_keepalive_probes", "3")


class Unavailable(Exception):
    """Why no hosts can be made here."""


def enter():
    """Goes on in namespaces of its own, by starting this script again in them. Raises Unavailable."""
    if os.environ.get(INSIDE):
        return
    for command, package in (("unshare", "util-linux"), ("nsenter", "util-linux"), ("ip", "iproute2")):
        if not shutil.which(command):
            raise Unavailable(f"there is no `{command}`; remedy: apt-get install {package}")
    for command in (NAMESPACES, (*NAMESPACES, "--map-root-user")):
        probe = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        if probe.returncode == 0:
            os.environ[INSIDE] = "1"
            os.execvp(command[0], [*command, sys.executable, "-B", *sys.argv])
    raise Unavailable(f"namespaces are not permitted: {probe.stderr.strip()}")


def run(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unavailable(f"`{' '.join(map(str, words))}`: {done.stderr.strip()}")


class Network:
    """`count` hosts, host1 and so on, with the file systems of this machine."""

    def __init__(self, count):
        # Seen by this tree only: for what the tests write, and for what killed ranks and daemons leave behind.
        run("mount", "-t", "tmpfs", "tmpfs", "/dev/shm")
        self.root = pathlib.Path("/dev/shm")
        tempfile.tempdir = os.environ["OMPI_MCA_orte_tmpdir_base"] = str(self.root)
        self.names = [f"host{number}" for number in range(1, count + 1)]
        self._keepers = {}  # name -> the process that keeps the host's namespaces
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "switch", "type", "bridge")
        run("ip", "link", "set", "switch", "up")
        for number, name in enumerate(self.names, start=1):
            self._start_host(name, f"{SUBNET}.{number}")
        self._name_addresses()
        self._shell = self._script("remote-shell", f'host=$1\nshift\nexec nsenter --net --uts --target "$(cat {self.root}/$host)" '
                                                   '-- sh -c "$*"')

    def _start_host(self, name, address):
        keeper = subprocess.Popen(["unshare", "--net", "--uts", "sh", "-c", 'hostname "$0" && echo up && exec sleep infinity', name],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if keeper.stdout.readline() != "up\n":
            raise Unavailable(f"{name} cannot be made: {keeper.stderr.read().strip()}")
        self._keepers[name] = keeper
        (self.root / name).write_text(str(keeper.pid))
        inside = self._inside(name)
        run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", keeper.pid)
        run("ip", "link", "set", name, "master", "switch", "up")
        run(*inside, "ip", "link", "set", "lo", "up")
        run(*inside, "ip", "address", "add", f"{address}/24", "dev", "eth0")
        run(*inside, "ip", "link", "set", "eth0", "up")

    def _name_addresses(self):
        table = self.root / "addresses"
        lines = ["127.0.0.1 localhost", *(f"{SUBNET}.{number} {name}" for number, name in enumerate(self.names, start=1))]
        table.write_text("\n".join(lines) + "\n")
        run("mount", "--bind", table, "/etc/hosts")

    def _script(self, name, text):
        path = self.root / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o700)
        return path

    def _inside(self, name):
        return ("nsenter", "--net", "--uts", "--target", str(self._keepers[name].pid), "--")

    def program(self, program, names, keepalive=KEEPALIVE):
        """The same program, started by an mpirun on the first of these hosts, two ranks on each, over TCP."""
        options = ["--host", ",".join(f"{name}:2" for name in names), "--mca", "ras", "^slurm", "--mca", "plm", "rsh",
                   "--mca", "plm_rsh_agent", self._shell, "--mca", "plm_rsh_no_tree_spawn", "1",
                   "--mca", "oob_tcp_if_include", f"{SUBNET}.0/24", "--mca", "btl_tcp_if_include", f"{SUBNET}.0/24",
                   "--mca", "pml", "ob1", "--mca", "btl", "self,vader,tcp", *keepalive]
        words = [*self._inside(names[0]), shutil.which(program.mpirun), *options]
        launcher = self._script("mpirun-" + "-".join(names), f"exec {' '.join(map(str, words))} \"$@\"")
        return dataclasses.replace(program, mpirun=str(launcher))

    @contextlib.contextmanager
    def cut(self, name):
        """Meanwhile the host's cable is not in the switch: what is sent is lost, and nobody is told."""
        run("ip", "link", "set", name, "nomaster")
        try:
            yield
        finally:
            run("ip", "link", "set", name, "master", "switch")

    def crash(self, name):
        """Kills every process of the host at once."""
        for pid in self.processes(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes(self, name):
        """What runs on the host: process id -> command."""
        keeper = self._keepers[name].pid
        network = os.readlink(f"/proc/{keeper}/ns/net")
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == keeper:
                continue
            try:
                if os.readlink(entry / "ns/net") == network:
                    found[int(entry.name)] = (entry / "comm").read_text().strip()
            except OSError:
                continue  # ended meanwhile; a process that nobody waited for has no namespaces either
        return found
