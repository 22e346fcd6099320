"""RStudio Server alone: behind one password, for one user, with R sessions that have the job's environment."""

import os
from collections.abc import Mapping
from pathlib import Path
from signal import Signals

from ood_runtime import (
    isolation,
    portal_paths,
    rserver_options,
    rsession,
    rstudio_home,
    rstudio_paths,
    tls,
    tls_front,
)
from ood_runtime.context import Context, Software
from ood_runtime.errors import OodRuntimeError
from ood_runtime.passwords import digest
from ood_runtime.plan import File, Part, Plan, combine
from ood_runtime.probes import Listening, RStudioSignIn, reachable
from ood_runtime.render import render
from ood_runtime.rstudio_home import RStudio
from ood_runtime.service import Service
from ood_runtime.settings import Settings

PORT, BEHIND_TLS = "rstudio", "rstudio_behind_tls"
PORTS = (PORT, BEHIND_TLS)
SECRETS = {
    "password": "password",
    "wrong_password": "password",  # that the session itself tries, to see it refused
    "csrf": "hexadecimal",
    "cookie_key": "key",
    "rpc_key": "key",
}


class RStudioApp:
    """RStudio Server."""

    name = "rstudio"
    summary = "RStudio Server"
    ports: tuple[str, ...] = PORTS
    secrets: Mapping[str, str] = SECRETS

    def find(self, settings: Settings, environment: Mapping[str, str]) -> Software:
        """RStudio Server, and an R that it can use."""
        return Software(rstudio=find(settings, environment))

    def plan(self, context: Context) -> Plan:
        """The server."""
        return combine(self.name, url(context), server(context))


def find(settings: Settings, environment: Mapping[str, str]) -> RStudio:
    """The RStudio Server that the settings name, or the one that is there."""
    return rstudio_home.find(settings.rstudio, environment)


def server(context: Context, environment: Mapping[str, str] | None = None, head_start: float = 0.0) -> Part:
    """The RStudio Server of a session. ``environment`` is for its R sessions; ``head_start`` is in seconds."""
    rstudio_paths.check(context.directories, _own(context), _rstudio(context).user)
    secrets = context.grant.secrets
    front = tls_front.part(context, "rstudio", PORT, BEHIND_TLS, _signs_in(context))
    return Part(
        files=(
            File("rstudio/auth.sh", _auth(context), executable=True),
            File("rstudio/digests", _digests(context), secret=True),
            File("rstudio/rsession.sh", _rsession(context), executable=True),
            File("rstudio/environment.sh", _environment_file(context, environment or {}), secret=True),
            File("rstudio/secure-cookie-key", secrets["cookie_key"].reveal(), secret=True),
            File("rstudio/config/session-rpc-key", secrets["rpc_key"].reveal(), secret=True),
            File("rstudio/config/logging.conf", render("rstudio_logging.conf.j2")),
            File("rstudio/config/rsession.conf", _session_options(context)),
            File(
                "rstudio/database.conf", render("rstudio_database.conf.j2", directory=str(_own(context) / "database"))
            ),
            *_isolation_script(context),
            *front.files,
        ),
        directories=(*(_own(context) / name for name in ("run", "database", "cache")), *_tmp_directory(context)),
        services=(_service(context, head_start), *front.services),
        connection={
            "host": context.place.host,
            "port": context.grant.ports[PORT],
            "username": _rstudio(context).user,
            "password": secrets["password"],
            "csrf_token": secrets["csrf"],
            **({"base_url": f"{portal_paths.rnode(context, PORT)}/"} if context.tls else {}),
            **tls.connection(context.tls, context.directories),
        },
    )


def url(context: Context) -> str:
    """Where a person finds it: through the portal, whose proxy takes the path away, or on this node."""
    address = f"{context.place.host}:{context.grant.ports[PORT]}"
    portal = context.settings.portal
    if portal.origin:
        return f"{portal.origin}{portal_paths.rnode(context, PORT)}/"
    return f"http{'s' if context.tls else ''}://{address}/"


def _listens(context: Context) -> tuple[str, int]:
    """The address and the port of rserver itself, which speaks no TLS."""
    if context.tls:
        return tls_front.LOOPBACK, context.grant.ports[BEHIND_TLS]
    return context.place.address, context.grant.ports[PORT]


def _signs_in(context: Context) -> RStudioSignIn:
    return RStudioSignIn(
        address=reachable(context.place.address),
        port=context.grant.ports[PORT],
        user=_rstudio(context).user,
        password=context.grant.secrets["password"],
        wrong=context.grant.secrets["wrong_password"],
        certificate=tls.front_certificate(context.tls),
    )


def _service(context: Context, head_start: float) -> Service:
    settings, rstudio = context.settings, _rstudio(context)
    _, port = _listens(context)
    return Service(
        name="rstudio",
        argv=(*_isolated(context), str(rstudio.rserver.path), *_arguments(context)),
        environment={
            "USER": rstudio.user,
            "LOGNAME": rstudio.user,
            "OOD_RUNTIME_SESSION_DIR": str(context.directories.session),
            "RSTUDIO_CONFIG_DIR": str(_private(context) / "config"),
            # Where releases since 2022.12 make the key that R sessions talk to rserver with.
            "RSTUDIO_CACHE_HOME": str(_own(context) / "cache"),
            "RSTUDIO_SESSION_TIMEOUT": str(settings.rstudio.idle_minutes),
            "RSTUDIO_WHICH_R": None,
            "RS_LOGGER_TYPE": "stderr",
            "RS_LOG_LEVEL": "warn",
            **_data_home(context),
            **context.allocation.environment,
        },
        ready=Listening((port,)) if context.tls else _signs_in(context),
        ready_seconds=settings.timeouts.ready,
        head_start=head_start,
        ports=(port,),
        restarts=3,
        parting={"rsession": Signals.SIGUSR2},
        own_tmp=_tmp(context) if rstudio.isolation and context.container else None,
    )


def _arguments(context: Context) -> tuple[str, ...]:
    settings, rstudio, private = context.settings.rstudio, _rstudio(context), _private(context)
    address, port = _listens(context)
    wanted: dict[str, object] = {
        # Where it answers: exactly here. The portal's proxy takes away the path and puts it into what it sends back.
        "www-address": address,
        "www-port": port,
        "www-thread-pool-size": 8,  # a sign-in that fails takes one of them for a second
        # Who may use it: whoever is not root has to ask for that, or nobody is asked for a password.
        "auth-none": 0,
        "auth-pam-helper-path": private / "auth.sh",
        "auth-encrypt-password": 0,  # a form of the portal cannot do that
        "auth-validate-users": 0,
        "auth-minimum-user-id": 0,
        "auth-timeout-minutes": settings.sign_out_minutes,
        "auth-stay-signed-in-days": 30,
        "auth-sign-in-throttle-seconds": 0,  # a second click is refused otherwise
        # As this user, in the foreground, with nothing that another session has.
        "server-user": rstudio.user,
        "server-daemonize": 0,
        "server-set-umask": 0,
        "server-data-dir": _own(context) / "run",
        "secure-cookie-key-file": private / "secure-cookie-key",
        "database-config-file": private / "database.conf",
        "rsession-path": private / "rsession.sh",
        "rsession-which-r": rstudio.r.command if rstudio.r else None,
        "rsession-config-file": private / "config/rsession.conf" if settings.session_options else None,
        "rsession-proxy-max-wait-secs": 60,
    }
    return rserver_options.arguments({**wanted, **settings.options}, rstudio.rserver.options)


def _auth(context: Context) -> str:
    return render("rstudio_auth.sh.j2", user=_rstudio(context).user, digests=str(_private(context) / "digests"))


def _digests(context: Context) -> str:
    secrets = context.grant.secrets
    return "".join(f"{digest(secrets[name]).reveal()}\n" for name in ("password", "wrong_password"))


def _rsession(context: Context) -> str:
    return rsession.starter(
        context.environment,
        rsession=str(_rstudio(context).rserver.rsession),
        environment=str(_private(context) / "environment.sh"),
        log=str(context.directories.logs / "rsession.log"),
        umask=context.umask,
    )


def _environment_file(context: Context, more: Mapping[str, str]) -> bytes:
    ours = {
        "TMPDIR": str(context.temporary),
        "OOD_RUNTIME_SESSION": context.grant.session_id,
        "OOD_RUNTIME_SESSION_DIR": str(context.directories.session),
        "RSTUDIO_CONFIG_DIR": str(_private(context) / "config"),
        "RS_LOGGER_TYPE": "stderr",
        **_data_home(context),
        **context.allocation.environment,
        **more,
    }
    return rsession.environment_file(context.environment, ours, in_image=_in_image(context))


def _in_image(context: Context) -> bool:
    return context.container is not None or _rstudio(context).r is None


def _session_options(context: Context) -> str:
    return render("rstudio_options.conf.j2", options=context.settings.rstudio.session_options)


def _data_home(context: Context) -> dict[str, str]:
    if context.settings.rstudio.workspace == "user":
        return {}
    return {"RSTUDIO_DATA_HOME": str(_private(context) / "data")}


def _isolated(context: Context) -> tuple[str, ...]:
    found = _rstudio(context).isolation
    if found is None or context.container:
        return ()
    return isolation.prefix(found, _tmp(context), _kept(context), _private(context) / "own_tmp.sh")


def _isolation_script(context: Context) -> tuple[File, ...]:
    found = _rstudio(context).isolation
    text = isolation.script_text(found, _tmp(context), _kept(context)) if found and not context.container else None
    return (File("rstudio/own_tmp.sh", text, executable=True),) if text is not None else ()


def _kept(context: Context) -> tuple[Path, ...]:
    """What another /tmp must not hide from RStudio; for an image, what it must see of the node."""
    directories, rstudio, environment = context.directories, _rstudio(context), context.environment
    paths = [directories.session, directories.scratch, directories.sockets, context.temporary]
    if spark := context.software.spark:
        paths += [spark.spark.home, spark.java.home]
    if rstudio.r is None:
        return tuple(dict.fromkeys(paths))
    tickets = environment.get("KRB5CCNAME") or _tickets()
    paths += [Path(environment.get("HOME") or "/"), Path(tickets.removeprefix("FILE:").removeprefix("DIR:"))]
    paths += [rstudio.rserver.path.parents[1], rstudio.rserver.rsession.parent, rstudio.r.command, rstudio.r.home]
    return isolation.below_tmp(paths)


def _tickets() -> str:
    """Where Kerberos keeps tickets if nobody says otherwise (krb5.conf(5))."""
    return f"FILE:{isolation.TMP}/krb5cc_{os.getuid()}"


def _own(context: Context) -> Path:
    """Where rserver keeps its sockets, its database and its keys; in a directory that is closed to others."""
    return context.directories.sockets / "rstudio"


def _tmp(context: Context) -> Path:
    """What an isolated rserver has as its /tmp."""
    return context.directories.scratch / "rstudio-tmp"


def _tmp_directory(context: Context) -> tuple[Path, ...]:
    return (_tmp(context),) if _rstudio(context).isolation else ()


def _private(context: Context) -> Path:
    return context.directories.private / "rstudio"


def _rstudio(context: Context) -> RStudio:
    if not context.software.rstudio:
        raise OodRuntimeError("this app was planned without looking for RStudio Server")
    return context.software.rstudio


APP = RStudioApp()
