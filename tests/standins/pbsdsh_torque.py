"""pbsdsh of Torque 6 (STANDIN_VERSION=5: of 2.5 to 5.1, which looks for options behind the program too).

Keeps to Torque's source: -n and -c beyond the job's lines are errors; an empty argument ends the arguments of a
remote task, and what follows is read as environment; tasks get PBS_VNODENUM and a decimal PBS_TASKNUM, neither
LOGNAME, USER nor SHELL, no standard output but the job's, the home directory or PBS_O_INITDIR, and umask 077; the
exit status is 0 whatever they do, told on standard error.

Lacks: -o, -s, -u, -v and -h do nothing or are refused; reconnecting to a mom that was restarted.
"""

import getopt
import os
import select
import signal
import socket
import sys
from typing import NoReturn

from tests.standins import jobs, mom

NEEDED = ("PBS_JOBID", "PBS_JOBCOOKIE", "PBS_NODENUM", "PBS_TASKNUM", "PBS_MOMPORT")
NEW = "c:e:n:osvE"


def main(arguments: list[str]) -> int:
    """Run the tasks and wait for them."""
    copies, line, program, extra = _parse(arguments)
    if not os.environ.get("PBS_ENVIRONMENT"):
        return _fail("not executing under PBS")
    if any(name not in os.environ for name in NEEDED):
        return _fail("tm_init failed, rc = TM_EBADENVIRONMENT (17003)")
    hosts = jobs.node_lines()
    if (line or 0) >= len(hosts) or (copies or 0) > len(hosts):
        return _fail(f"only {len(hosts)} nodes available")
    chosen = [line] if line is not None else list(range(copies or len(hosts)))
    return _wait([_start(program, extra, hosts, index, number) for number, index in enumerate(chosen)])


def _parse(arguments: list[str]) -> tuple[int | None, int | None, list[str], dict[str, str]]:
    known, parse = ("c:n:osv", getopt.gnu_getopt) if os.environ.get("STANDIN_VERSION") == "5" else (NEW, getopt.getopt)
    try:
        options, program = parse(arguments, known)
        given = dict(options)
        copies = int(given["-c"]) if "-c" in given else None
        line = int(given["-n"]) if "-n" in given else None
    except (getopt.GetoptError, ValueError):
        _usage()
    if not program or (copies is not None and line is not None) or (line or 0) < 0 or (copies or 1) <= 0:
        _usage()
    extra = dict(os.environ) if "-E" in given else {}
    if "-e" in given:
        extra |= {key: text or os.environ.get(key, "") for key, _, text in _assignments(given["-e"])}
    return copies, line, program, extra


def _assignments(text: str) -> list[tuple[str, str, str]]:
    return [part.partition("=") for part in text.split(",")]


def _start(
    program: list[str], extra: dict[str, str], hosts: list[str], index: int, number: int
) -> tuple[socket.socket, int]:
    node = list(dict.fromkeys(hosts)).index(hosts[index])
    home = jobs.home()
    argv = program
    if node and "" in program:
        argv = program[: program.index("")]
        extra = extra | {key: value for key, _, value in (word.partition("=") for word in program[len(argv) + 1 :])}
    env = {
        "PATH": "/bin:/usr/bin",
        "HOME": str(home),
        "PBS_ENVIRONMENT": "PBS_BATCH",
        "PBS_JOBID": os.environ["PBS_JOBID"],
        "PBS_JOBCOOKIE": os.environ["PBS_JOBCOOKIE"],
        "PBS_MOMPORT": os.environ["PBS_MOMPORT"],
        "PBS_NODENUM": str(node),
        "PBS_VNODENUM": str(index),
        "PBS_TASKNUM": str(number + 2),
        "PBS_VERSION": "TORQUE-6.1.3",
        **extra,
    }
    connection = mom.connect(hosts[index])
    cwd = os.environ.get("PBS_O_INITDIR") or str(home)
    task = {"argv": argv, "env": env, "cwd": cwd, "host": hosts[index], "output": str(jobs.output())}
    mom.spawn(connection, **task, umask=0o077, slots=0, on_close=mom.KEEP)
    return connection, number


def _wait(tasks: list[tuple[socket.socket, int]]) -> int:
    def kill_tasks(number: int, _: object) -> NoReturn:
        for connection, _ in tasks:
            mom.send_signal(connection, number)
        os._exit(1)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, kill_tasks)
    waiting = dict(tasks)
    while waiting:
        for connection in select.select(list(waiting), [], [])[0]:
            status = mom.wait(connection)
            task = waiting.pop(connection)
            if status:
                print(f"pbsdsh(): task {task} exit status {status if status > 0 else 256 - status}", file=sys.stderr)
    return 0


def _fail(reason: str) -> int:
    print(f"pbsdsh(): {reason}", file=sys.stderr)
    return 1


def _usage() -> NoReturn:
    print(
        "Usage: pbsdsh [-n nodenumber][-e name[=[value]][,...]][-E][-o][-s][-u][-v] program [args]...", file=sys.stderr
    )
    sys.exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
