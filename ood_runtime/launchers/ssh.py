"""Machines without a scheduler: one ssh for each worker on another of the hosts in the settings.

Facts are from ssh(1), ssh_config(5) and sshd(8), and measured on OpenSSH 9.2. Everything special (names, keys, jump
hosts, other ports) belongs into ~/.ssh/config, where ssh looks for it.
"""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from ood_runtime import host_lists, launcher_programs, limits
from ood_runtime.allocation import Allocation, Launch, Node, Task
from ood_runtime.errors import SettingsError
from ood_runtime.settings import Settings

# A terminal on the other side (-tt) is what ends the worker there when this ssh, or the network, is gone: the kernel
# sends SIGHUP to the script and its children. Without one the worker goes on. A terminal that nobody has open any more
# hangs up nobody, and the script redirects its output: descriptor 9 keeps it open, whatever sshd does.
_RUN = """exec /bin/sh -c 'exec /bin/sh "$0" "$1" 9>&1'"""

# Nobody is asked for a password, and a host that is switched off is noticed within a minute.
_OPTIONS = (
    "-n",
    "-tt",
    "-oEscapeChar=none",
    "-oBatchMode=yes",
    "-oConnectTimeout=20",
    "-oServerAliveInterval=15",
    "-oServerAliveCountMax=3",
    "-oForwardX11=no",
    "-oForwardAgent=no",
    "-oClearAllForwardings=yes",
    "-oControlPath=none",
    "-oLogLevel=ERROR",
)


class Ssh:
    """A list of hosts that share the home directories, and that we may log in to without a password."""

    name = "ssh"

    def detect(self, environment: Mapping[str, str]) -> bool:
        """Never: only the settings know the hosts."""
        return False

    def allocation(self, environment: Mapping[str, str], directory: Path, settings: Settings) -> Allocation:
        """This machine, and the hosts of the setting ``ssh.hosts``; nobody tells what those have.

        As others may work here too, the memory is what is free now.
        """
        if not settings.ssh.hosts:
            raise SettingsError(
                "launcher: ssh needs to know the hosts, but ssh.hosts is empty",
                remedy="set ssh.hosts to the machines that take part, or launcher to local for this one alone",
            )
        own = os.uname().nodename
        given = limits.here(exclusive=False)
        names = list(dict.fromkeys(settings.ssh.hosts))
        ours = host_lists.place_of([own], names)
        first = own if ours is None else names.pop(ours)
        nodes = tuple(
            Node(host, given.cpus, given.memory, cpus_told=False, memory_told=False) for host in (first, *names)
        )
        return Allocation(launcher=self.name, job_id="", nodes=nodes, directory=directory, unlimited_memory="free")

    def commands(
        self, allocation: Allocation, script: Path, tasks: Sequence[Task], environment: Mapping[str, str]
    ) -> tuple[Launch, ...]:
        """One ssh for each task.

        The other side's login shell reads the command: quoted for sh, bash, zsh, ksh, fish, and for tcsh where the
        session's path has neither a newline nor an exclamation mark.
        ``exec`` makes the script the leader of the terminal's session, which hears when that is closed.
        """
        if not tasks:
            return ()
        ssh = launcher_programs.find("ssh", environment, (), "install OpenSSH's client")
        run = f"{_RUN} {shlex.quote(str(script))}"
        return tuple(
            Launch(
                argv=(ssh, *_OPTIONS, "--", allocation.nodes[task.node].host, f"{run} {task.rank}"),
                ranks=(task.rank,),
            )
            for task in tasks
        )


LAUNCHER = Ssh()
