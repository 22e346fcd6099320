"""What gives an R session the job's environment, which rserver takes away from it: two scripts. Pure."""

import re
from collections.abc import Mapping

from ood_runtime import shell_variables
from ood_runtime.render import render

# What rserver says to its sessions, and what belongs to another R or another RStudio.
_RSERVERS = re.compile(
    r"USER|LOGNAME|SHELL|HOME|LD_LIBRARY_PATH|RSTUDIO_\w+|RS_\w+|R_(HOME|DOC_DIR|INCLUDE_DIR|SHARE_DIR)"
)


def environment_file(job: Mapping[str, str], ours: Mapping[str, str], *, in_image: bool = False) -> bytes:
    """A file that gives the environment of a ``job``, and what is ``ours``, to the shell that starts an R session.

    Nothing is set that rserver has set; LD_LIBRARY_PATH is joined. Libraries of the node are not for R ``in_image``.
    It is as secret as what users have in their environment.
    """
    kept = {name: value for name, value in job.items() if not _RSERVERS.fullmatch(name)}
    text = render(
        "rsession_environment.sh.j2",
        variables={name: value for name, value in {**kept, **ours}.items() if shell_variables.settable(name)},
        home=job.get("HOME", ""),
        libraries="" if in_image else ":".join(filter(None, job.get("LD_LIBRARY_PATH", "").split(":"))),
    )
    return text.encode("utf-8", "surrogateescape")  # as os.environ has read it


def starter(job: Mapping[str, str], *, rsession: str, environment: str, log: str, umask: int) -> str:
    """The script that rserver runs for an R session: it reads the file ``environment`` and becomes ``rsession``."""
    return render(
        "rsession.sh.j2",
        rsession=rsession,
        environment=environment,
        log=log,
        umask=f"{umask:04o}",
        functions=shell_variables.functions(job),
    )
