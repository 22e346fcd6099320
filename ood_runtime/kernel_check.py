"""The only place that starts kernels to see whether they work, by the means of the Jupyter that will start them."""

import json
import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ood_runtime import logs, processes
from ood_runtime.kernel_folders import Folder
from ood_runtime.render import render

_MARK = "OOD_RUNTIME_KERNEL_CHECK"
_MORE_SECONDS = 30.0  # that Jupyter's own part may take on a busy node


@dataclass(frozen=True)
class Checked:
    """Whether the kernel called ``name`` works: it answered after so many ``seconds``, or ``why`` it did not."""

    name: str
    works: bool
    seconds: float = 0.0
    why: str = ""


def check(
    folder: Folder, names: Sequence[str], python: Path, seconds: float, environment: Mapping[str, str]
) -> Iterator[Checked]:
    """Start each of the kernels called ``names``, let it compute, and end it; as many at once as there are processors.

    ``python`` is Jupyter's; a kernel has ``seconds`` to answer. Nothing that was started is left.
    """
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield from pool.map(lambda name: _check(folder, name, python, seconds, environment), names)


def _check(folder: Folder, name: str, python: Path, seconds: float, environment: Mapping[str, str]) -> Checked:
    # A short name in /tmp: the kernel's sockets lie there, and paths of sockets have 107 bytes (unix(7)).
    with tempfile.TemporaryDirectory(prefix="ood-", dir="/tmp") as work:
        mark = secrets.token_hex(16)
        script = render("kernel_check.py.j2", folder=str(folder.path), name=name, seconds=seconds, work=work)
        try:
            done = subprocess.run(
                [python, "-c", script], env=_environment(environment, mark, work), cwd=work, stdin=subprocess.DEVNULL,
                capture_output=True, timeout=2 * seconds + _MORE_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Checked(name, works=False, why=f"no answer within {2 * seconds + _MORE_SECONDS:g} s")
        except OSError as error:
            return Checked(name, works=False, why=f"{python} cannot be run: {error.strerror}")
        finally:
            processes.end(lambda: processes.marked(mark, _MARK), seconds=1.0)
        return _answer(name, done, logs.tail(Path(work) / "said", 5))


def _answer(name: str, done: "subprocess.CompletedProcess[bytes]", said: Sequence[str]) -> Checked:
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        return Checked(name, works=False, why=f"Jupyter's Python failed: {lines[-1] if lines else done.returncode}")
    if answer["works"]:
        return Checked(name, works=True, seconds=answer["seconds"])
    # What the script notes for the session's logs is nothing new here.
    told = [line for line in said if not line.startswith("kernel kernel.json: ")]
    return Checked(name, works=False, why="\n".join([answer["why"], *told]))


def _environment(environment: Mapping[str, str], mark: str, work: str) -> dict[str, str]:
    """Marked, so that whatever is started is found; not the session's, whose logs are for its own kernels."""
    kept = {name: value for name, value in environment.items() if name != "OOD_RUNTIME_SESSION_DIR"}
    return {**kept, _MARK: mark, "JUPYTER_RUNTIME_DIR": work, "IPYTHONDIR": f"{work}/ipython", "TMPDIR": work}
