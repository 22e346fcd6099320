"""Sessions of RStudio Server whose plans are reviewed: of several releases, in an image, with a /tmp of their own."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ood_runtime.context import Context, Software
from ood_runtime.isolation import Isolation
from ood_runtime.r_home import R
from ood_runtime.rstudio_home import RServer, RStudio
from ood_runtime.settings.rstudio import RStudio as Settings

# What is erased at the end of a session.
SECRET = {f"rstudio/{name}" for name in ("digests", "environment.sh", "secure-cookie-key", "config/session-rpc-key")}

# What `rserver --help` lists of what matters here: 1.4 needs no help, 1.2 and 2022.07 need a /tmp of their own.
OPTIONS_1_2 = {
    *("www-address", "www-port", "www-thread-pool-size", "www-frame-origin", "auth-none", "auth-pam-helper-path"),
    *(
        "auth-encrypt-password",
        "auth-validate-users",
        "auth-minimum-user-id",
        "auth-stay-signed-in-days",
        "server-user",
    ),
    *("server-daemonize", "server-set-umask", "secure-cookie-key-file", "rsession-path", "rsession-which-r"),
    *("rsession-config-file", "rsession-proxy-max-wait-secs"),
}
OPTIONS_1_3 = {*OPTIONS_1_2, "server-data-dir", "auth-timeout-minutes", "auth-sign-in-throttle-seconds"}
OPTIONS_1_4 = {*OPTIONS_1_3, "www-root-path", "www-same-site", "database-config-file"}
OPTIONS_2022_07 = {*OPTIONS_1_4, "session-use-file-storage"}
OPTIONS_2024_12 = {*OPTIONS_2022_07, "db-connection-timeout", "www-socket"}


def _of(
    plain: Context,
    scratch: Path,
    options: Collection[str],
    isolation: Isolation | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Context:
    rserver = Path("/opt/it's rstudio/bin/rserver")
    r = None if isolation and isolation.image else R(Path("/opt/R 4/bin/R"), Path("/opt/R 4/lib/R"), "4.4.1")
    found = RServer(rserver, rserver.with_name("rsession"), frozenset(options))
    job = {
        "LD_LIBRARY_PATH": "/opt/R 4/lib:/opt/it's lib",
        "BASH_FUNC_module%%": "() {  eval x\n}",
        "SLURM_JOB_ID": "4711",
    }
    return replace(
        plain,
        settings=plain.settings.model_copy(update={"rstudio": Settings.model_validate(settings or {})}),
        software=Software(rstudio=RStudio(found, r, isolation, "ada")),
        grant=replace(plain.grant, session_id="node1-4711"),
        environment={**plain.environment, **job, "HOME": "/tmp/home"},
        temporary=scratch / "tmp",
        umask=0o027,
    )


def _with_spark(context: Context, plain: Context) -> Context:
    """On a site with a profile of its own, in a place with a bad name."""
    return replace(
        context,
        software=replace(context.software, spark=plain.software.spark),
        environment={**context.environment, "R_PROFILE": '/site\'s "R"\\profile'},
    )


def contexts(plain: Context, scratch: Path) -> dict[str, Context]:
    """Made of a ``plain`` one for any app."""
    return {
        "rstudio": _of(plain, scratch, OPTIONS_2024_12),
        "rstudio-1.2": _of(plain, scratch, OPTIONS_1_2, Isolation("unshare", Path("/usr/bin/unshare"))),
        "rstudio-2022.07": _of(plain, scratch, OPTIONS_2022_07, Isolation("bubblewrap", Path("/usr/bin/bwrap"))),
        "rstudio-image": _of(
            plain, scratch, OPTIONS_1_4, Isolation("apptainer", Path("/usr/bin/apptainer"), Path("/images/it's r.sif"))
        ),
        "rstudio-spark": _with_spark(_of(plain, scratch, OPTIONS_2024_12), plain),
        "rstudio-own-settings": _of(
            plain,
            scratch,
            OPTIONS_1_4,
            Isolation("proot", Path("/opt/proot")),
            {
                "workspace": "session",
                "idle_minutes": 120,
                "sign_out_minutes": 60,
                "options": {"www-thread-pool-size": "4", "server-set-umask": "1"},
                "session_options": {"r-libs-user": "~/R/x y", "session-save-action-default": "no"},
            },
        ),
    }
