"""The way in to the web interfaces of Spark: through Jupyter's login, or through a gateway with a secret of its own."""

import math
from importlib import resources

from ood_runtime import gateway, spark_tls, spark_ui, ui_filter
from ood_runtime.context import Context
from ood_runtime.gateway import Gateway
from ood_runtime.gateway_probes import LOGIN, PageBehindLogin
from ood_runtime.plan import File, Part
from ood_runtime.probes import reachable
from ood_runtime.render import render
from ood_runtime.secret import Secret
from ood_runtime.service import Check
from ood_runtime.spark_properties import spark_software
from ood_runtime.tls import front_certificate

EXTENSION = "jupyter/spark_ui.py"
_PROOF_SECONDS = 10.0  # for an answer, once both of its servers are ready


def entrance(context: Context) -> Part:
    """The way in, and the proof that it leads to the master; nothing where none is wanted."""
    if not spark_ui.offered(context):
        return Part(notices=tuple(filter(None, [spark_ui.notice(context)])))
    return _through_jupyter(context) if spark_ui.in_jupyter(context) else _through_gateway(context)


def tile(context: Context) -> dict[str, object] | None:
    """What jupyter-server-proxy, where Jupyter has it, shows in the launcher; None where there is nothing to open."""
    if not (spark_ui.offered(context) and spark_ui.in_jupyter(context)):
        return None
    icon = context.directories.private / "jupyter/kernels/pyspark/logo-svg.svg"
    return {
        # Our own page has this path before it does.
        "port": context.grant.ports["spark_master_ui"],
        "launcher_entry": {"title": "Spark UI", "icon_path": str(icon)},
        "new_browser_tab": True,
    }


def _through_jupyter(context: Context) -> Part:
    extension = render(
        "jupyter_spark_ui.py.j2",
        name=spark_ui.NAME,
        base=spark_ui.base(context),
        address=spark_tls.interface_address(context),
        port=context.grant.ports["spark_master_ui"],
        authorization=_authorization(context),
        certificate=spark_tls.interface_certificate_file(context),
    )
    forwarding = resources.files("ood_runtime").joinpath("forwarding.py").read_bytes()
    secrets = context.grant.secrets
    proof = _proof(
        context,
        port=context.grant.ports["jupyter"],
        login=f"{spark_ui.base(context).removesuffix(spark_ui.NAME)}login",
        form=(("_xsrf", secrets["xsrf"]), ("password", secrets["password"])),
        server="jupyter",
    )
    return Part(
        files=(File(EXTENSION, extension, secret=True), File("jupyter/forwarding.py", forwarding)),
        checks=(proof,),
        connection={"spark_ui_path": f"{spark_ui.base(context)}/"},
    )


def _through_gateway(context: Context) -> Part:
    secret, port = context.grant.secrets["spark_ui_entry"], context.grant.ports[spark_ui.PORT]
    base = spark_ui.base(context)
    ours = Gateway(
        name="spark-ui",
        port=port,
        prefix=base,
        secret=secret,
        target_address=spark_tls.interface_address(context),
        target_port=context.grant.ports["spark_master_ui"],
        target_certificate=spark_tls.interface_certificate_file(context),
        headers={"Authorization": _authorization(context)},
    )
    part = gateway.part(context, ours)
    proof = _proof(context, port=port, login=f"{base}{LOGIN}", form=(("secret", secret),), server=ours.name)
    return Part(
        files=part.files,
        services=part.services,
        checks=(proof,),
        connection={"spark_ui_path": f"{base}/", "spark_ui_secret": secret},
    )


def _proof(context: Context, *, port: int, login: str, form: tuple[tuple[str, Secret], ...], server: str) -> Check:
    """That the way in leads to the master. Without it the session is as good, so it does not wait for this."""
    page = PageBehindLogin(
        address=reachable(context.place.address),
        port=port,
        certificate=front_certificate(context.tls),
        login=login,
        form=form,
        # A page of the master's would take longer: it has only begun to load its classes.
        path=f"{spark_ui.base(context)}/json/",
    )
    return Check(
        name="spark-ui-page",
        ready=page,
        ready_seconds=_PROOF_SECONDS,
        log=f"logs/{server}.log",
        probe_seconds=0.2,
        again_seconds=math.inf,
        essential=False,
    )


def _authorization(context: Context) -> Secret:
    return ui_filter.authorization(spark_software(context).spark.release, context.grant.secrets["spark_ui"])
