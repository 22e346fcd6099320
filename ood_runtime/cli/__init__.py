"""The command line. Each command is a module here that is loaded only when it is used.

The list of commands costs no import: people, shells and batch scripts ask for it all day.
"""

import os
import signal
import sys

from ood_runtime import __version__

# command -> what it does; its module is ood_runtime.cli.COMMAND
COMMANDS = {
    "start": "run a session in this allocation, in the foreground, until it ends",
    "plan": "print everything that start would write and run, secrets masked; starts nothing",
    "publish": "wait for the session of this directory, then write its connection to a file, for the portal",
    "wait": "wait until the session is ready; --shell prints assignments to eval, --json is for programs",
    "status": "what runs where; --watch follows, --json is for programs",
    "logs": "the session's logs; -f follows",
    "history": "the Spark applications of a session, also when it is over, in Spark's own pages",
    "stop": "end the session of this directory and wait until it is gone",
    "doctor": "check this node: Java, Spark, Jupyter, host name, ports and more",
    "apps": "what can be started here, and what is missing for the rest",
    "kernels": "list, write, remove and check kernels of modules, conda and virtual environments, R and Julia",
    "init": "write a complete Open OnDemand interactive app that starts sessions of APP",
    "archives": "build the class-data archives that make Java start fast, ahead of the first session",
    "config": "show the settings and where each comes from; their schema; what a key means",
}

# What no person types: the ood-runtime of a node calls it in a container.
INTERNAL = ("software",)

_HELP = f"""Usage: ood-runtime COMMAND [OPTIONS] [ARGUMENTS]

  Jupyter and RStudio with a Spark cluster, inside a batch job.

Commands:
{"".join(f"  {name:<10}{summary}" + chr(10) for name, summary in COMMANDS.items())}
Options:
  --version  show the version and exit
  --help     show this text and exit; `ood-runtime COMMAND --help` tells more

Shell completion: eval "$(_OOD_RUNTIME_COMPLETE=bash_source ood-runtime)"   (or zsh_source, fish_source)
"""


def main() -> None:
    """Run the command line; exits with the status that the contract gives (errors.py)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback for who changes his mind
    _open_standard_streams()
    arguments = sys.argv[1:]
    if arguments in ([], ["--help"], ["-h"]) and not _completing():
        sys.stdout.write(_HELP)
        return
    if arguments == ["--version"]:
        sys.stdout.write(f"ood-runtime {__version__}\n")
        return
    if arguments[:1] == ["start"] and not _completing():
        from ood_runtime.cli import guarded  # noqa: PLC0415

        guarded.run()
    from ood_runtime.cli import group  # noqa: PLC0415  (click is only needed from here on)
    from ood_runtime.guard import leave, status_of  # noqa: PLC0415

    try:
        group.run()
    except SystemExit as asked:  # the exit status counts, also when the output has nowhere to go
        leave(status_of(asked))


def _open_standard_streams() -> None:
    """Let a stream that the caller has closed lead nowhere, before a file of ours gets its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def _completing() -> bool:

    return "_OOD_RUNTIME_COMPLETE" in os.environ
