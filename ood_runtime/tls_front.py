"""TLS in front of a server that has none, as part of a plan: such as RStudio Server's open-source edition."""

import json
import sys

from ood_runtime import tls
from ood_runtime.context import Context
from ood_runtime.plan import File, Part
from ood_runtime.service import Probe, Service

LOOPBACK = "127.0.0.1"


def part(context: Context, name: str, port: str, behind: str, ready: Probe) -> Part:
    """What speaks TLS at the port called ``port`` for the service ``name``, which listens on loopback at ``behind``.

    ``ready`` proves both. Nothing where TLS is off.
    """
    if context.tls is None:
        return Part()
    private, ports, file = context.directories.private, context.grant.ports, f"tls/{name}.json"
    settings = {
        "address": context.place.address,
        "port": ports[port],
        "target": ports[behind],
        "tls": [str(private / path) for path in (tls.CERTIFICATE, tls.KEY)],
    }
    service = Service(
        name=f"{name}-tls",
        argv=(sys.executable, "-m", "ood_runtime.tls_relay", str(private / file)),
        directory=context.directories.scratch,
        ready=ready,
        ready_seconds=context.settings.timeouts.ready,
        after=(name,),
        ports=(ports[port],),
        restarts=3,
        ours=True,
    )
    return Part(
        files=(File(file, json.dumps(settings, indent=2) + "\n"), *tls.front_files(context.tls)), services=(service,)
    )
