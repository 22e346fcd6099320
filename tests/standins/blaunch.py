"""blaunch of LSF 10.1: ``blaunch [-n] [-u host_file | -z host_name ... | host_name] [-no-shell] command``.

Keeps to IBM's manual: only hosts of the job; without -no-shell the arguments are joined for a shell; the task has the
environment of the job's first task, not the caller's; its output comes back here, and so does its exit status.
Where the manual is silent it does the worst: the task starts in the home directory with umask 077, and
goes on when blaunch is killed.

Lacks: -u and -z, -use-login-shell, a task on every slot when no host is named.
"""

import os
import signal
import sys
from typing import NoReturn

from tests.standins import jobs, mom


def main(arguments: list[str]) -> int:
    """Run the task and end as it does."""
    if not os.environ.get("LSB_JOBID"):
        return _fail("Not called under LSF")
    shell = True
    while arguments and arguments[0].startswith("-"):
        option = arguments.pop(0)
        if option == "-no-shell":
            shell = False
        elif option != "-n":
            return _fail(f"Illegal option {option}")
    if len(arguments) < 2:
        return _fail("Usage: blaunch [-n] [-u host_file | -z host_name ... | host_name] command [argument ...]")
    host, *argv = arguments
    if host not in jobs.node_lines():
        return _fail(f"Host <{host}> is not part of the allocation of this job")
    if shell:
        argv = ["/bin/sh", "-c", " ".join(argv)]
    return _run(host, argv)


def _run(host: str, argv: list[str]) -> int:
    connection = mom.connect(host)
    env = {name: os.environ[name] for name in ("LSB_JOBID", "LSB_MCPU_HOSTS")}
    env |= {"PATH": "/usr/bin:/bin", "HOME": str(jobs.home()), "LSB_SUB_HOST": "login"}
    task = {"argv": argv, "env": env, "cwd": str(jobs.home()), "host": host, "output": ""}

    def pass_on(number: int, _: object) -> None:
        mom.send_signal(connection, number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    mom.spawn(connection, **task, umask=0o077, slots=0, on_close=mom.KEEP)
    status = mom.wait(connection)
    return status if status >= 0 else _end(128 - status)


def _end(status: int) -> NoReturn:
    sys.exit(status)


def _fail(reason: str) -> int:
    print(f"blaunch: {reason}", file=sys.stderr)
    return 255


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
