"""A real SLURM of some virtual nodes on this machine: munge, slurmctld, and a slurmd for each node.

Needs the packages slurm-wlm and munge, but neither root nor systemd nor control groups. Everything lies in one directory,
with a munge key and ports of its own, so that several of them, and one of the system's, do not meet.
"""

import contextlib
import ctypes
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PR_SET_PDEATHSIG = 1

# linuxproc and task/none: no control groups. cred_expire: else a requeued job waits two minutes. %n in TmpFS: else the PMIx
# of virtual nodes meets in one directory. MpiDefault none: what `srun` alone starts are no ranks of one job, as at many sites.
CONFIGURATION = """ClusterName=virtual
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
TmpFS={root}/tmp/%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmctldLogFile={root}/log/slurmctld
SlurmdLogFile={root}/log/slurmd.%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
MinJobAge=3600
UnkillableStepTimeout=15
{nodes}
PartitionName=main Nodes=ALL Default=YES DefaultTime=10 MaxTime=60 State=UP
"""


class Unavailable(Exception):
    """No SLURM can run here; the text says why."""


class Cluster:
    """Made by `running`; its environment has what `sbatch` and the others need to find it."""

    def __init__(self, root, nodes, cpus):
        self.root = pathlib.Path(root)
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self.environment = {**os.environ, "SLURM_CONF": str(self.root / "slurm.conf"),
                            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
        self._cpus = cpus
        self._daemons = []

    def command(self, *words, check=True, **options):
        """Runs a command of SLURM's and returns what it printed."""
        done = subprocess.run([str(word) for word in words], env=self.environment, capture_output=True, text=True,
                              timeout=30, check=False, stdin=subprocess.DEVNULL, **options)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(map(str, words))}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def jobs(self, number):
        """What SLURM knows of a job: one dictionary, or one for each of an array."""
        lines = self.command("scontrol", "--oneliner", "show", "job", number).splitlines()
        return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]

    def state(self, number):
        return self.jobs(number)[0]["JobState"]

    def log_of(self, number):
        """What a job has printed."""
        lines = self.command("scontrol", "show", "job", number).splitlines()
        path = pathlib.Path(next(line.split("=", 1)[1] for line in lines if line.strip().startswith("StdOut=")))
        return path.read_text(errors="replace") if path.exists() else ""

    def configure(self, key, value=None):
        """Sets a key of the running cluster's configuration, or takes it away."""
        file = self.root / "slurm.conf"
        lines = [line for line in file.read_text().splitlines() if not line.startswith(f"{key}=")]
        file.write_text("\n".join(lines + ([f"{key}={value}"] if value else [])) + "\n")
        self.command("scontrol", "reconfigure")

    def start(self):
        _require("munged", "munge", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
        for name in ("log", "state", "spool", "tmp"):
            (self.root / name).mkdir()
        for node in self.nodes:
            (self.root / "spool" / node).mkdir()
            (self.root / "tmp" / node).mkdir()
        self._write_configuration()
        self._start_munge()
        self._daemon("slurmctld", "-D", "-i")
        self._wait_for("the controller answers", lambda: "UP" in self.command("scontrol", "ping", check=False))
        for node in self.nodes:
            self._daemon("slurmd", "-D", "-N", node)
        idle = ["idle"] * len(self.nodes)
        self._wait_for("the nodes are idle",
                       lambda: self.command("sinfo", "-h", "-N", "-o", "%T", check=False).split() == idle)

    def stop(self):
        with contextlib.suppress(Exception):
            self.command("scancel", "--user", pwd.getpwuid(os.geteuid()).pw_name)
            _wait(15, lambda: not self.command("squeue", "-h").strip())
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _write_configuration(self):
        host = socket.gethostname().split(".")[0]
        controller_port, *ports = _free_ports(1 + len(self.nodes))
        nodes = "\n".join(f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={self._cpus} "
                          "RealMemory=4000 State=UNKNOWN" for node, port in zip(self.nodes, ports))
        (self.root / "slurm.conf").write_text(CONFIGURATION.format(
            host=host, controller_port=controller_port, user=pwd.getpwuid(os.geteuid()).pw_name, root=self.root, nodes=nodes))

    def _start_munge(self):
        key = self.root / "munge.key"
        key.touch(0o600)
        key.write_bytes(os.urandom(128))
        self._daemon("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={self.root}/munge.socket",
                     f"--pid-file={self.root}/munged.pid", f"--log-file={self.root}/log/munged",
                     f"--seed-file={self.root}/munge.seed")
        self._wait_for("munge gives a credential",
                       lambda: self.command("munge", "-n", f"--socket={self.root}/munge.socket", check=False))

    def _daemon(self, *words):
        with open(self.root / "log" / f"{words[0]}.{len(self._daemons)}", "wb") as log:
            self._daemons.append(subprocess.Popen(
                words, env=self.environment, cwd=self.root, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=_end_with_parent, start_new_session=True))

    def _wait_for(self, what, condition):
        if not _wait(20, lambda: condition() or any(daemon.poll() is not None for daemon in self._daemons)) or any(
                daemon.poll() is not None for daemon in self._daemons):
            logs = " | ".join(line for file in sorted((self.root / "log").iterdir())
                              for line in file.read_text(errors="replace").splitlines()[-3:])
            raise Unavailable(f"waited in vain until {what}; the daemons say: {logs}")


@contextlib.contextmanager
def running(nodes=2, cpus=4):
    """A cluster, for as long as the block lasts. Raises Unavailable."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="mpimerge-slurm-"))
    root.chmod(0o755)
    cluster = Cluster(root, nodes, cpus)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(root, ignore_errors=True)


def _require(*programs):
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [program for program in programs if not shutil.which(program, path=path)]
    if missing:
        raise Unavailable(f"{', '.join(missing)} not found; on Debian and Ubuntu: apt-get install slurm-wlm munge")


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _end_with_parent():
    """The daemons end with the test, also if it is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait(seconds, condition):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True
