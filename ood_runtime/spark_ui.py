"""Where the web interfaces of Spark are found in the portal, and what Spark must know for that.

Everything goes through the master, which is a reverse proxy for its workers and applications (spark.ui.reverseProxy).
docs/decisions/0013-spark-ui.md has the reasons.
"""

from urllib.parse import urlsplit

from ood_runtime import portal_paths
from ood_runtime.context import Context

PORT = "spark_ui"
SECRETS = {"spark_ui_entry": "password"}
NAME = "sparkui"  # of the way in that Jupyter has
# Spark finds the application's name in the path of a page by these (UI_REVERSE_PROXY_URL).
_RESERVED = {"proxy", "history"}


def offered(context: Context) -> bool:
    """Whether the interfaces can be opened through the portal."""
    return context.settings.spark.ui and not _RESERVED & set(base(context).split("/"))


def in_jupyter(context: Context) -> bool:
    """Whether Jupyter itself is the way in: its login is there already. A gateway is needed where it is not ours."""
    jupyter = context.software.jupyter
    return jupyter is not None and jupyter.python is not None


def base(context: Context) -> str:
    """The path below which browsers see them, without a slash at the end."""
    if in_jupyter(context):
        return f"{portal_paths.node(context, 'jupyter')}/{NAME}"
    # A portal that has Jupyter has this proxy; one that has RStudio has the other.
    return (portal_paths.node if context.software.jupyter else portal_paths.rnode)(context, PORT)


def properties(context: Context) -> dict[str, str]:
    """What makes the links of the master, the workers and the applications lead through the portal."""
    if not context.settings.spark.ui:
        return {"spark.ui.enabled": "false"}  # of applications; masters and workers know no such thing
    if not offered(context):
        return {}
    return reverse_proxy(base(context), context.place.host, "https" if context.tls else "http")


def reverse_proxy(base: str, host: str, scheme: str = "http") -> dict[str, str]:
    """The properties for pages below ``base``, a path, of what people call ``host``."""
    return {
        "spark.ui.reverseProxy": "true",
        "spark.ui.reverseProxyUrl": base,
        # Redirects of applications are whole so. The master changes those that name the application's own address, and
        # now and then loses the first letters of its name (3.5.9: a path that is read while the request ends).
        "spark.ui.proxyRedirectUri": f"{scheme}://{host}",
    }


def notice(context: Context) -> str | None:
    """Why they cannot be opened, where that was not asked for."""
    if not context.settings.spark.ui or offered(context):
        return None
    words = ", ".join(sorted(_RESERVED & set(urlsplit(base(context)).path.split("/"))))
    return (
        f"the Spark UI cannot be opened: Spark reserves the word {words}, which is a part of its path {base(context)}"
    )
