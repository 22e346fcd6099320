"""The only place for a network of machines that is made of namespaces on this one; root makes it.

Every machine has its own network, names, processes, /tmp, /var/tmp, /run and /dev/shm; everything else is shared, as
over NFS. The first, called head, is where the others are plugged in and where people log in. Nothing of it can be seen
or reached from the machine beneath: not its bridge, nor its names, nor its /etc. It ends with the process that made it.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.support.accounts import Account, user_of_tests
from tests.support.needs import need

STATES = Path("/var/lib/ood-runtime-tests")  # not below /tmp or /run, which are private to each machine
HEAD = "head"
NETWORK = "10.77.0"
BOOTED_WITHIN = 30.0  # seconds
_HERE = Path(__file__).parent
_CGROUP = Path("/sys/fs/cgroup")
# Daemons hand theirs on to jobs, and what a test run has there is nobody's business.
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_CONTROLLERS = ("devices", "freezer", "memory")


@dataclass
class Machine:
    """A machine: where it is, and while it is on, the process that holds it and its process 1, seen from outside."""

    name: str
    address: str
    holder: "subprocess.Popen[bytes] | None" = None
    init: int = 0


@dataclass
class Machines:
    """A head and its nodes. ``state`` holds their logs."""

    state: Path
    daemons: Path
    cgroups: tuple[str, ...]
    shares: tuple[Path, ...]
    by_name: dict[str, Machine] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """For files of jobs: all see it, and it belongs to the user of the tests."""
        return self.state / "shared"

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of all machines but the head."""
        return tuple(name for name in self.by_name if name != HEAD)

    def on(self, *names: str) -> None:
        """Switch these machines on, all at once, and wait until their daemons run."""
        for name in names:
            self._boot(self.by_name[name])
        for name in names:
            self._booted(self.by_name[name])

    def off(self, name: str) -> None:
        """Take the power from a machine: all its processes are gone when this returns."""
        machine = self.by_name[name]
        if machine.holder is None:
            return
        if machine.holder.poll() is None:
            # Where process 1 is not known yet, its holder takes it along.
            os.kill(machine.init or machine.holder.pid, signal.SIGKILL)
        machine.holder.wait(30)
        machine.holder, machine.init = None, 0

    def cut(self, name: str) -> None:
        """Unplug a node's network."""
        self.check(["ip", "link", "set", f"to-{name}", "down"])

    def mend(self, name: str) -> None:
        """Plug it in again."""
        self.check(["ip", "link", "set", f"to-{name}", "up"])

    def command(self, argv: Sequence[str], *, on: str = HEAD, user: Account | None = None) -> list[str]:
        """What runs ``argv`` on a machine, as root or as ``user``; the environment and / come with it."""
        enter = ["nsenter", f"--target={self.by_name[on].init}", "--mount", "--uts", "--ipc", "--net", "--pid"]
        enter += ["--cgroup"] if self.cgroups else []
        enter += [f"--setuid={user.uid}", f"--setgid={user.gid}"] if user else []
        return [*enter, "--", *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        on: str = HEAD,
        user: Account | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        timeout: float = 60,
    ) -> "subprocess.CompletedProcess[str]":
        """Run ``argv`` on a machine in /, at most ``timeout`` seconds; its status is the caller's to judge."""
        return subprocess.run(
            self.command(argv, on=on, user=user),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            cwd="/",
            env=user.environment(env) if user else {**_ENVIRONMENT, **(env or {})},
        )

    def check(self, argv: Sequence[str], *, on: str = HEAD, user: Account | None = None, stdin: str = "") -> str:
        """What ``argv`` printed; it must succeed."""
        done = self.run(argv, on=on, user=user, stdin=stdin)
        assert done.returncode == 0, f"{argv} on {on}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def path(self, on: str, path: Path) -> Path:
        """A path of a machine, which may be private to it, as it is seen from outside."""
        return Path(f"/proc/{self.by_name[on].init}/root{path}")

    def processes(self, user: Account) -> dict[str, dict[int, str]]:
        """What runs as this user on each machine where anything does: command lines by pid, seen from outside."""
        places = {_namespace(machine.init): name for name, machine in self.by_name.items() if machine.holder}
        found: dict[str, dict[int, str]] = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                name = places.get(_namespace(process.pid)) if process.uids().real == user.uid else None
                if name and process.status() != psutil.STATUS_ZOMBIE:
                    found.setdefault(name, {})[process.pid] = " ".join(process.cmdline())
        return found

    def logs(self) -> str:
        """The last lines of every daemon's log."""
        files = sorted(self.state.glob("machines/*/*.log"))
        return "\n".join(f"== {path}\n{path.read_text(errors='replace')[-1500:]}" for path in files)

    def until(self, look: Callable[[], object], what: str, within: float) -> None:
        """Wait until ``look`` says yes; fails with the daemons' logs after so many seconds."""
        deadline = time.monotonic() + within
        while not look():
            assert time.monotonic() < deadline, f"no {what} after {within:.0f} s:\n{self.logs()}"
            time.sleep(0.1)

    def _boot(self, machine: Machine) -> None:
        here = self.state / "machines" / machine.name
        here.mkdir(parents=True, exist_ok=True)
        (here / "booted").unlink(missing_ok=True)
        group, cgroups = f"{self.state.name}/{machine.name}", " ".join(self.cgroups)
        boot = ["bash", str(_HERE / "boot.sh"), group, cgroups, str(self.state), machine.name, machine.address]
        boot += [cgroups, str(self.daemons), *map(str, self.shares)]
        # Who makes the head takes it along: the kernel ends its namespaces, and all of them are inside the head's.
        command = ["setpriv", "--pdeathsig=KILL", "unshare", "--net", *boot]
        if machine.name != HEAD:
            command = self.command(["nsenter", f"--net=/run/netns/{machine.name}", *boot])
        with (here / "boot.log").open("ab") as log:
            machine.holder = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_ENVIRONMENT,
                start_new_session=True,
            )

    def _booted(self, machine: Machine) -> None:
        holder = machine.holder
        assert holder
        booted = self.state / "machines" / machine.name / "booted"
        self.until(lambda: booted.exists() or holder.poll() is not None, f"machine {machine.name}", BOOTED_WITHIN)
        assert booted.exists(), f"{machine.name} ended with {holder.returncode}:\n{self.logs()}"
        machine.init = next(p.pid for p in psutil.Process(holder.pid).children(recursive=True) if _is_first(p.pid))


@contextmanager
def machines(
    nodes: Sequence[str],
    daemons: Path,
    *,
    etc: Callable[[Path], Mapping[str, str]],
    cgroups: bool = False,
    shares: Sequence[Path] = (),
) -> Iterator[Machines]:
    """A head and these nodes: on, and gone afterwards.

    ``daemons`` is sourced by bash on each machine; ``etc`` says, for the state directory, what is in which file of
    their /etc; ``shares`` are directories below /tmp that they see too. With ``cgroups`` each has hierarchies of
    cgroup v1 to itself. Skips where that cannot be.
    """
    _require(cgroups)
    with _state_directory() as state, ExitStack() as stack:
        addresses = {HEAD: f"{NETWORK}.1", **{node: f"{NETWORK}.{10 + i}" for i, node in enumerate(nodes, start=1)}}
        hosts = "".join(f"{address} {name}\n" for name, address in addresses.items())
        for name, text in {"hosts": f"127.0.0.1 localhost\n{hosts}", **etc(state)}.items():
            (state / "etc" / name).parent.mkdir(parents=True, exist_ok=True)
            (state / "etc" / name).write_text(text)
        made = Machines(state, daemons, _CONTROLLERS if cgroups else (), tuple(share.resolve() for share in shares))
        made.by_name |= {name: Machine(name, address) for name, address in addresses.items()}
        stack.callback(_remove_cgroups, state.name)
        for name in addresses:
            stack.callback(made.off, name)  # the head, which holds the others, is the last to be off
        made.on(HEAD)
        made.check(["ip", "-batch", "-"], stdin="".join(map(_plug, nodes)))
        made.on(*nodes)
        yield made


def _plug(node: str) -> str:
    return (
        f"netns add {node}\n"
        f"link add to-{node} type veth peer name eth0 netns {node}\n"
        f"link set to-{node} master eth0 up\n"
    )


def _namespace(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/pid").readlink())


def _is_first(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1] == "1"


def _require(cgroups: bool) -> None:
    """Skips where machines cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("needs root, who can make namespaces")
    for program in ("ip", "nsenter", "setpriv", "unshare"):
        need(program)
    trial = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "mount", "-t", "tmpfs", "tmpfs", "/run"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if trial.returncode:
        pytest.skip(f"needs a machine whose root can make namespaces: {trial.stderr.strip()}")
    absent = [name for name in _CONTROLLERS if not (_CGROUP / name / "cgroup.procs").exists()]
    if cgroups and absent:
        pytest.skip(f"needs cgroup v1 with the controllers {', '.join(_CONTROLLERS)}; here is no {', '.join(absent)}")


@contextmanager
def _state_directory() -> Iterator[Path]:
    """A new one, which is locked for as long as this process lives; what others left is removed."""
    STATES.mkdir(mode=0o755, exist_ok=True)
    with ExitStack() as stack:
        with (STATES / "lock").open("wb") as all_of_them:
            fcntl.flock(all_of_them, fcntl.LOCK_EX)
            for left in STATES.glob("machines-*"):
                _remove_left(left)
            state = Path(tempfile.mkdtemp(prefix="machines-", dir=STATES))
            stack.callback(shutil.rmtree, state, ignore_errors=True)
            fcntl.flock(stack.enter_context((state / "lock").open("wb")), fcntl.LOCK_EX)
        state.chmod(0o755)
        user = user_of_tests()
        (state / "shared").mkdir()
        os.chown(state / "shared", user.uid, user.gid)
        yield state


def _remove_left(state: Path) -> None:
    """Remove what a process that has ended made."""
    with suppress(OSError), (state / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove_cgroups(state.name)
        shutil.rmtree(state, ignore_errors=True)


def _remove_cgroups(name: str) -> None:
    for controller in _CONTROLLERS:
        for root, _, _ in os.walk(_CGROUP / controller / name, topdown=False):
            with suppress(OSError):
                Path(root).rmdir()
