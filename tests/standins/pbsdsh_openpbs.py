"""pbsdsh of OpenPBS 19.1 to 23.06, and of the main branch after it (STANDIN_VERSION=main), which has -h.

Keeps to what was measured on 23.06.06 and a later main branch (docs/decisions/0011-openpbs.md): options are looked for
behind the program too; -n and -c wrap around; tasks get none of the caller's environment or directory, no standard
output but the job's, umask 077, no PBS_VNODENUM, and a PBS_TASKNUM in hexadecimal digits that begins with the number of
the host; NCPUS and a limit of the resident size are those of their host's chunks; they do not hear SIGHUP; tasks on the
first host have no PBS_NODEFILE; the exit status is 0 whatever they do. Of local and remote tasks under one pbsdsh, the
remote ones never get its signals: that was so on three hosts, and not on two.

tests/openpbs/test_pbsdsh.py holds it against the real one. Lacks: -s, -v and -o do nothing; vnodes, sandbox=PRIVATE,
pbs_tmrsh, what qsub -v and -V hand on to tasks; a task cannot call pbsdsh itself.
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


def main(arguments: list[str]) -> int:
    """Run the tasks and wait for them."""
    copies, line, program = _parse(arguments)
    if not os.environ.get("PBS_ENVIRONMENT"):
        return _fail("not executing under PBS")
    if any(name not in os.environ for name in NEEDED):
        return _fail("tm_init failed, rc = bad environment (17005) (17005)")
    hosts = jobs.node_lines()
    if line is not None:
        chosen = [line % len(hosts)]
    else:
        chosen = [index % len(hosts) for index in range(len(hosts) if copies is None else copies)]
    return _wait([_start(program, hosts, index) for index in chosen])


def _parse(arguments: list[str]) -> tuple[int | None, int | None, list[str]]:
    known = "c:n:h:svo" if os.environ.get("STANDIN_VERSION") == "main" else "c:n:svo"
    copies = line = None
    try:
        options, program = getopt.gnu_getopt(arguments, known)
        for name, value in options:
            if name == "-c":
                copies = int(value)
            elif name == "-n":
                line = int(value)
            elif name == "-h":
                line = jobs.node_lines().index(value)
    except (getopt.GetoptError, ValueError):
        _usage()
    if not program or (copies is not None and line is not None) or min(copies or 0, line or 0) < 0:
        _usage()
    return copies, line, program


def _start(program: list[str], hosts: list[str], index: int) -> tuple[socket.socket, int]:
    node = list(dict.fromkeys(hosts)).index(hosts[index])
    home = jobs.home()
    ncpus, memory = jobs.chunk(os.environ, hosts[index])
    env = {
        "TZ": "UTC",
        "PATH": "/bin:/usr/bin",
        "HOME": str(home),
        "TMPDIR": jobs.temporary(),
        "NCPUS": str(ncpus),
        "OMP_NUM_THREADS": str(ncpus),
        "ENVIRONMENT": "BATCH",
        "PBS_ENVIRONMENT": "PBS_BATCH",
        "PBS_JOBID": os.environ["PBS_JOBID"],
        "PBS_JOBCOOKIE": os.environ["PBS_JOBCOOKIE"],
        "PBS_JOBDIR": str(home),
        "PBS_MOMPORT": os.environ["PBS_MOMPORT"],
        "PBS_NODENUM": str(node),
        **({"PBS_NODEFILE": str(jobs.node_file())} if node else {}),
    }
    connection = mom.connect(hosts[index])
    output, task = str(jobs.output()), {"argv": program, "env": env, "cwd": str(home), "host": hosts[index]}
    # The host is in the highest bits, of which there are as many as the number of lines has; the script is task 1.
    first = (node << 32 - len(hosts).bit_length()) + (1 if node else 2)
    own = {"resident": memory, "first_task": first}
    mom.spawn(connection, **task, **own, umask=0o077, slots=0, output=output, on_close=mom.KEEP)
    return connection, node


def _wait(tasks: list[tuple[socket.socket, int]]) -> int:
    def pass_on(number: int, _: object) -> NoReturn:
        # What was measured: beside a local task, no remote one hears of it.
        for connection, node in tasks:
            if node == 0 or all(other for _, other in tasks):
                mom.send_signal(connection, number)
        os._exit(1)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    waiting = {connection: number for number, (connection, _) in enumerate(tasks)}
    while waiting:
        for connection in select.select(list(waiting), [], [])[0]:
            status = mom.wait(connection)
            task = waiting.pop(connection)
            if status:
                shown = status if status > 0 else 256 - status
                print(f"{sys.argv[0]}: task 0x{task:08X} exit status {shown}", flush=True)
    return 0


def _fail(reason: str) -> int:
    print(f"{sys.argv[0]}: {reason}", file=sys.stderr)
    return 1


def _usage() -> NoReturn:
    print(f"Usage: {sys.argv[0]} [-c copies][-s][-v][-o] -- program [args...]", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
