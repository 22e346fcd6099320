"""The only place that loads an environment: bash does it once, and what it leaves is the environment of all parts."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from ood_runtime import kernel
from ood_runtime.errors import MissingError
from ood_runtime.render import render
from ood_runtime.settings.environment import Environment
from ood_runtime.signals import END_SIGNALS, STOP_SIGNAL

_SECONDS = 120  # for modules of a slow network file system
_LONGEST = 800  # characters of what a failed step says
# Of the shell itself, not of the job.
_SHELLS_OWN = ("_", "SHLVL", "PWD", "OLDPWD")


@dataclass(frozen=True)
class Done:
    """How a script of bash has ended: what it wrote to its descriptor, and what it ``said`` otherwise."""

    status: int
    output: bytes
    said: str


def load(environment: Environment, job: Mapping[str, str]) -> dict[str, str]:
    """The variables of a ``job`` after ``environment`` is loaded on top of them.

    Raises MissingError with what the step that failed has said.
    """
    if not environment.loads:
        return dict(job)
    done = run("environment_load.sh.j2", job, environment=environment)
    if done.status or not done.output:
        raise MissingError(f"environment: {_reason(done)}", remedy="try it in a terminal of this node")
    entries = os.fsdecode(done.output).split("\0")
    loaded = dict(entry.split("=", 1) for entry in entries if "=" in entry)
    own = {name: job[name] for name in _SHELLS_OWN if name in job}
    return {name: value for name, value in loaded.items() if name not in _SHELLS_OWN} | own


def run(template: str, job: Mapping[str, str], **values: object) -> Done:
    """Run a template of bash with the environment of a ``job``.

    The script is in memory, not in a file or in arguments: users may have written secrets into it. It can write to the
    number that the template has as ``descriptor``. Raises MissingError when there is no bash, or it does not end.
    """
    bash = shutil.which("bash", path=os.pathsep.join([job.get("PATH", ""), os.defpath]))
    if bash is None:
        raise MissingError("environment: there is no bash on this node, which loads it", remedy="install bash")
    with (
        os.fdopen(os.memfd_create("script"), "w+b") as script,
        os.fdopen(os.memfd_create("output"), "w+b") as output,
        os.fdopen(os.memfd_create("said"), "w+b") as said,
    ):
        text = render(template, descriptor=output.fileno(), **values)
        script.write(text.encode("utf-8", "surrogateescape"))
        script.flush()
        process = subprocess.Popen(
            [bash, "--noprofile", "--norc", f"/proc/self/fd/{script.fileno()}"],
            env=dict(job),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            pass_fds=(script.fileno(), output.fileno()),
            start_new_session=True,
            preexec_fn=_in_child,  # noqa: PLW1509  (this process has one thread)
        )
        status = _wait(process)
        output.seek(0)
        said.seek(0)
        words = said.read().decode(errors="replace")
        return Done(status, output.read(), words.replace(f"/proc/self/fd/{script.fileno()}: ", ""))


def _in_child() -> None:
    """Take signals as any program does, and end when who waits for it is gone."""
    kernel.die_with_parent(signal.SIGKILL)
    for number in (*END_SIGNALS, STOP_SIGNAL):
        signal.signal(number, signal.SIG_DFL)


def _wait(process: "subprocess.Popen[bytes]") -> int:
    try:
        return process.wait(_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise MissingError(
            f"environment: it was not loaded within {_SECONDS} s", remedy="try it in a terminal of this node"
        ) from None


def _reason(done: Done) -> str:
    """In words: ours are last, with those of the program before them."""
    said = " ".join(done.said.split())
    *theirs, ours = said.split("ood-runtime: ") if "ood-runtime: " in said else [said, ""]
    words = "".join(theirs).strip()
    if not ours:
        ours = f"the shell that loads it has ended with {done.status}"
    return f"{ours}; it said: {words[-_LONGEST:]}" if words else ours
