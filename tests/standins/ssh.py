"""ssh of OpenSSH, with an sshd on each of the job's hosts that lets us in.

Keeps to ssh(1) and sshd(8): the words of the command are joined with blanks and read by the user's login shell; the
other side gets neither our environment nor our directory; with -tt it has a terminal, which hangs up
when we are gone; without one it goes on, and nobody tells it. Exit status 255 for an unknown host.

Lacks: everything that is encrypted, all -o options but their form, standard input.
"""

import os
import signal
import sys

from tests.standins import jobs, mom


def main(arguments: list[str]) -> int:
    """Run the command and end as it does."""
    terminal = False
    while arguments and arguments[0].startswith("-"):
        option = arguments.pop(0)
        if option == "--":
            break
        terminal = terminal or option == "-tt"
        if option == "-o":
            option += arguments.pop(0)
        if option not in ("-n", "-tt", "-T") and not (option.startswith("-o") and "=" in option):
            print(f"unknown option -- {option}", file=sys.stderr)
            return 255
    host, *command = arguments
    if host not in jobs.node_lines():
        print(f"ssh: Could not resolve hostname {host}: Name or service not known", file=sys.stderr)
        return 255
    return _run(host, " ".join(command), terminal)


def _run(host: str, command: str, terminal: bool) -> int:
    shell = os.environ.get("SHELL", "/bin/sh")
    env = {
        "HOME": str(jobs.home()),
        "PATH": "/usr/bin:/bin",
        "SHELL": shell,
        "SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22",
    }
    connection = mom.connect(host)
    task = {"argv": [shell, "-c", command], "env": env, "cwd": str(jobs.home()), "host": host}
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    mom.spawn(connection, **task, umask=0o022, slots=0, output="terminal" if terminal else "", on_close=mom.KEEP)
    status = mom.wait(connection)
    return status if status >= 0 else 255


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
