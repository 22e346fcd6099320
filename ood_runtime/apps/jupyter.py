"""Jupyter alone: JupyterLab or Notebook 7, behind one password, with kernels that nobody else can reach."""

import json
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ood_runtime import jupyter_home, kernel_cache, mpi_kernel, portal_paths, session_kernels, shell_variables, tls
from ood_runtime.context import Context, Software
from ood_runtime.errors import OodRuntimeError, find_all
from ood_runtime.jupyter_home import Jupyter
from ood_runtime.passwords import jupyter_hash
from ood_runtime.plan import File, Part, Plan, combine
from ood_runtime.probes import JupyterLogin, reachable
from ood_runtime.render import render
from ood_runtime.service import Service
from ood_runtime.settings import Settings

PORT = "jupyter"
_TERMINAL = "jupyter/terminal.sh"
SECRETS = {"password": "password", "salt": "hexadecimal", "xsrf": "hexadecimal"}


@dataclass(frozen=True)
class Pages:
    """Pages below ``name`` that the file ``module`` of the session adds to Jupyter: see add_to in jupyter_spark_ui.py.

    ``tile`` describes them to jupyter-server-proxy, which shows them in the launcher.
    """

    name: str
    module: str
    tile: Mapping[str, object]


class JupyterApp:
    """JupyterLab or Notebook 7."""

    name = "jupyter"
    summary = "JupyterLab, or Notebook 7"
    ports: tuple[str, ...] = (PORT,)
    secrets: Mapping[str, str] = SECRETS

    def find(self, settings: Settings, environment: Mapping[str, str]) -> Software:
        """Jupyter."""
        return Software(jupyter=find(settings, environment), kernels=kernel_cache.read(settings.kernels, environment))

    def plan(self, context: Context) -> Plan:
        """The server."""
        return combine(self.name, url(context), server(context))


def find(settings: Settings, environment: Mapping[str, str]) -> Jupyter:
    """The Jupyter that the settings name, or the nearest one."""
    found: list[Jupyter] = []
    pythons: list[Path | None] = []
    find_all(
        lambda: found.append(jupyter_home.find(settings.jupyter.command, settings.jupyter.interface, environment)),
        lambda: pythons.append(jupyter_home.find_kernel_python(settings.jupyter.python, environment)),
    )
    # Interpreters in one directory are of one environment, whatever they are called there.
    own = pythons[0] and found[0].python and pythons[0].parent == found[0].python.parent
    return replace(found[0], kernel_python=None if own else pythons[0])


def server(
    context: Context,
    kernels: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
    head_start: float = 0.0,
    pages: Pages | None = None,
) -> Part:
    """The Jupyter server of a session, with the kernelspecs called ``kernels`` beside those that it finds itself.

    ``environment`` is added to its own; ``head_start`` is in seconds; ``pages`` are added to its own.
    """
    files = [
        File("jupyter/jupyter_config.py", _config(context, pages), secret=True),
        File("jupyter/jupyter_server.py", _starter(context, pages)),
        *(file for kernel in kernels for file in session_kernels.static(kernel)),
        *_python_kernelspec(_jupyter(context).kernel_python),
        *tls.front_files(context.tls),
    ]
    if context.loaded:
        names = filter(shell_variables.settable, context.loaded)
        files.append(File(_TERMINAL, render("terminal.sh.j2", names=sorted(names))))
    found, mpi = session_kernels.found(context), mpi_kernel.kernel(context)
    grant = context.grant
    return Part(
        files=(*files, *found.files, *mpi.files),
        directories=(_session_workspaces(context), context.directories.sockets / "jupyter"),
        services=(_service(context, environment or {}, head_start), *found.services),
        notices=found.notices,
        connection={
            "host": context.place.host,
            "port": grant.ports[PORT],
            "password": grant.secrets["password"],
            "xsrf": grant.secrets["xsrf"],
            "base_url": base_url(context),
            **tls.connection(context.tls, context.directories),
        },
    )


def base_url(context: Context) -> str:
    """The path under which the portal's proxy reaches the server (paper, section 3.1)."""
    return f"{portal_paths.node(context, PORT)}/"


def url(context: Context) -> str:
    """Where a person finds the server: through the portal, or on this node."""
    scheme = "https" if context.tls else "http"
    origin = context.settings.portal.origin or f"{scheme}://{context.place.host}:{context.grant.ports[PORT]}"
    return origin + base_url(context)


def root_directory(context: Context) -> Path:
    """The top of the file browser, where notebooks begin."""
    root = context.settings.jupyter.root_dir or Path(context.environment.get("HOME") or "/")
    return root if root.is_absolute() and root.is_dir() else context.directories.session


def _service(context: Context, environment: Mapping[str, str], head_start: float) -> Service:
    jupyter = _jupyter(context)
    private = context.directories.private / "jupyter"
    argv = (
        (str(jupyter.python), str(private / "jupyter_server.py"))
        if jupyter.python
        else (str(jupyter.command), f"--config={private / 'jupyter_config.py'}")
    )
    search = context.environment.get("JUPYTER_PATH")
    port = context.grant.ports[PORT]
    return Service(
        name="jupyter",
        argv=argv,
        environment={
            "JUPYTER_RUNTIME_DIR": str(context.directories.sockets / "jupyter"),
            "JUPYTER_PATH": os.pathsep.join(filter(None, (str(private), search))),
            "JUPYTER_TOKEN": None,
            "OOD_RUNTIME_SESSION_DIR": str(context.directories.session),
            **context.allocation.environment,
            **_writable_home(context),
            **mpi_kernel.environment(context),
            **environment,
        },
        directory=root_directory(context),
        ready=JupyterLogin(
            address=reachable(context.place.address),
            port=port,
            base_url=base_url(context),
            password=context.grant.secrets["password"],
            certificate=tls.front_certificate(context.tls),
        ),
        ready_seconds=context.settings.timeouts.ready,
        head_start=head_start,
        ports=(port,),
    )


def _config(context: Context, pages: Pages | None) -> str:
    settings, grant = context.settings.jupyter, context.grant
    return render(
        "jupyter_config.py.j2",
        ip=context.place.address,
        port=grant.ports[PORT],
        base_url=base_url(context),
        password_hash=jupyter_hash(grant.secrets["password"], grant.secrets["salt"]),
        root_dir=str(root_directory(context)),
        allow_origin=context.settings.portal.origin or "",
        kernel_transport=settings.kernel_transport,
        terminal_command=_terminal(context),
        workspaces_dir=str(_session_workspaces(context)) if settings.workspace == "session" else None,
        default_url="/lab" if settings.interface == "lab" else "/tree",
        extra_config=str(settings.config) if settings.config else None,
        allow_root=context.allow_root,
        certfile=str(context.directories.private / tls.CERTIFICATE) if context.tls else "",
        keyfile=str(context.directories.private / tls.KEY) if context.tls else "",
        tiles={pages.name: dict(pages.tile)} if pages else {},
    )


def _terminal(context: Context) -> list[str]:
    """What runs in a terminal: a login shell; a bash that still has the environment of the settings after a login."""
    own = "/bin/bash" if context.container else _login_shell()  # an image need not have that of the login
    shell = context.settings.jupyter.shell or own
    if context.loaded and Path(shell).name == "bash":
        return [shell, "--rcfile", str(context.directories.private / _TERMINAL), "-i"]
    return [shell, "-l"]


def _session_workspaces(context: Context) -> Path:
    return context.directories.private / "jupyter" / "workspaces"


def _starter(context: Context, pages: Pages | None) -> str:
    return render(
        "jupyter_server.py.j2",
        config=str(context.directories.private / "jupyter" / "jupyter_config.py"),
        interface=context.settings.jupyter.interface,
        lazy_imports=context.settings.jupyter.fast_import,
        pages=str(context.directories.private / pages.module) if pages else None,
    )


def _python_kernelspec(python: Path | None) -> tuple[File, ...]:
    """The kernel Python 3 by another Python than Jupyter's own, in whose place it stands."""
    if python is None:
        return ()
    spec = {
        "argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "metadata": {"debugger": True},
    }
    return (File("jupyter/kernels/python3/kernel.json", json.dumps(spec, indent=1)),)


def _jupyter(context: Context) -> Jupyter:
    if not context.software.jupyter:
        raise OodRuntimeError("this app was planned without looking for Jupyter")
    return context.software.jupyter


def _writable_home(context: Context) -> dict[str, str]:
    """Other places for what Jupyter and IPython keep, where the home directory takes nothing."""
    home = Path(context.environment.get("HOME") or "/nonexistent")
    if os.access(home, os.W_OK):
        return {}
    scratch = context.directories.scratch
    return {
        "JUPYTER_CONFIG_DIR": str(scratch / "jupyter-config"),
        "JUPYTER_DATA_DIR": str(scratch / "jupyter-data"),
        "IPYTHONDIR": str(scratch / "ipython"),
    }


def _login_shell() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_shell or "/bin/sh"
    except KeyError:
        return "/bin/sh"


APP = JupyterApp()
