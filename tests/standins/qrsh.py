"""qrsh -inherit of Grid Engine: ``qrsh -inherit [-nostdin] [-noshell] [-V] [-v A=B,...] host command``.

Keeps to the manual and the source of Son of Grid Engine 8.1: a host takes no more tasks at once than the job has
slots there; without -noshell the arguments are joined for the user's login shell; an empty byte 0xff parts them;
the task gets the variables of Grid Engine, and the caller's only with -V or -v; with an exported function -V
fails; the end of qrsh, however it comes, ends the task.

Lacks: qrsh without -inherit, -pty, array jobs, job_is_first_task FALSE, queues (several lines of one host).
"""

import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from tests.standins import jobs, mom


def main(arguments: list[str]) -> int:
    """Run the task and end as it does."""
    options, environment, arguments = _parse(arguments)
    if "-inherit" not in options or not os.environ.get("JOB_ID") or len(arguments) < 2:
        return _fail("usage: qrsh -inherit ... <host> <command> [args]")
    if any(name.startswith("BASH_FUNC_") for name in environment):
        return _fail("bash: error importing function definition")
    host, *argv = arguments
    slots = _slots().get(host, 0)
    if not slots:
        return _fail(f'host "{host}" is not in the list of hosts of this job')
    if "-noshell" not in options:
        argv = [os.environ.get("SHELL", "/bin/sh"), "-c", " ".join(argv)]
    return _run(host, slots, argv, environment)


def _parse(arguments: list[str]) -> tuple[set[str], dict[str, str], list[str]]:
    environment: dict[str, str] = {}
    options = set()
    while arguments and arguments[0].startswith("-"):
        option = arguments.pop(0)
        options.add(option)
        if option == "-v":
            environment |= {
                name: value for name, _, value in (part.partition("=") for part in arguments.pop(0).split(","))
            }
        elif option == "-V":
            environment |= os.environ
        elif option not in ("-inherit", "-nostdin", "-noshell", "-verbose"):
            sys.exit(_fail(f'Unknown option "{option}"'))
    return options, environment, arguments


def _slots() -> dict[str, int]:
    lines = [line.split() for line in Path(os.environ["PE_HOSTFILE"]).read_text().splitlines()]
    return {words[0]: int(words[1]) for words in lines}


def _run(host: str, slots: int, argv: list[str], environment: dict[str, str]) -> int:
    env = {**environment, "JOB_ID": os.environ["JOB_ID"], "SGE_TASK_ID": "undefined", "ENVIRONMENT": "BATCH"}
    env |= {"HOME": str(jobs.home()), "PATH": "/usr/local/bin:/bin:/usr/bin", "HOSTNAME": host, "SHELL": "/bin/sh"}
    env |= {"TMPDIR": jobs.temporary()}
    connection = mom.connect(host)
    task = {"argv": argv, "env": env, "cwd": str(jobs.home()), "host": host, "output": ""}

    def leave(number: int, _: object) -> NoReturn:
        os._exit(1)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, leave)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    if not mom.spawn(connection, **task, umask=0o022, slots=slots, on_close=mom.KILL):
        return _fail(f'execution daemon on host "{host}" didn\'t accept task')
    status = mom.wait(connection)
    return status if status >= 0 else 128 - status


def _fail(reason: str) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
