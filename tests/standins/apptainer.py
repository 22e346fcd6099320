"""`apptainer exec` as far as RStudio is run with it: what is bound where, and the environment that it changes.

Lacks the image: the programs in it are the node's own, and the directory that the image lies in is seen, too.
"""

import csv
import os
import sys
from pathlib import Path


def main(words: list[str]) -> None:
    """Becomes the program, in a mount namespace that bubblewrap makes."""
    if words[:1] != ["exec"]:
        sys.exit(f"apptainer: unknown command {words[:1]}")
    binds, words = [], words[1:]
    while words[0] in ("--bind", "--mount"):
        source, target = _bind(words[1]) if words[0] == "--bind" else _mount(words[1])
        binds += ["--bind", source, target]
        words = words[2:]
    image = str(Path(words[0]).parent)
    # What it changes of the environment: PATH is the image's, and libraries are those that it brings itself.
    os.environ |= {"PATH": "/usr/local/bin:/usr/bin:/bin", "LD_LIBRARY_PATH": "/.singularity.d/libs"}
    own = [*binds[:3], "--bind", image, image, *binds[3:]]
    os.execvp("bwrap", ["bwrap", "--dev-bind", "/", "/", *own, "--", *words[1:]])


def _bind(words: str) -> tuple[str, str]:
    source, _, target = words.partition(":")
    return source, target or source


def _mount(words: str) -> tuple[str, str]:
    """One line of CSV, for names that --bind cannot take."""
    (line,) = csv.reader([words])
    entries = dict(entry.partition("=")[::2] for entry in line)
    return entries["source"], entries["destination"]


if __name__ == "__main__":
    main(sys.argv[1:])
