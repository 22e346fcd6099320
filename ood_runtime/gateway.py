"""A gateway as part of a plan: what lets the owner in, through the portal, to a server that a browser cannot open."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from ood_runtime import tls
from ood_runtime.context import Context
from ood_runtime.gateway_probes import LOGIN, GatewayEntrance
from ood_runtime.plan import File, Part
from ood_runtime.probes import reachable
from ood_runtime.secret import Secret
from ood_runtime.service import Service


@dataclass(frozen=True)
class Gateway:
    """One gateway: ``name`` is that of its service; it listens on ``port`` for what comes by ``prefix`` of the portal.

    It hands on to ``target_port`` at ``target_address`` what came with the ``secret``, and adds ``headers``; over TLS
    where the target has a certificate, which is in the file ``target_certificate``.
    """

    name: str
    port: int
    prefix: str
    secret: Secret
    target_address: str
    target_port: int
    headers: Mapping[str, Secret] = field(default_factory=dict)
    target_certificate: str = ""


def part(context: Context, gateway: Gateway) -> Part:
    """The service of a gateway, and the file that it reads."""
    name = f"gateway/{gateway.name}.json"
    address = context.place.address
    service = Service(
        name=gateway.name,
        argv=(sys.executable, "-m", "ood_runtime.gateway_server", str(context.directories.private / name)),
        ours=True,
        directory=context.directories.scratch,
        ready=GatewayEntrance(
            reachable(address), gateway.port, gateway.secret, certificate=tls.front_certificate(context.tls)
        ),
        ready_seconds=context.settings.timeouts.ready,
        ports=(gateway.port,),
        essential=False,
        restarts=3,
    )
    files = (File(name, _text(context, gateway), secret=True), *tls.front_files(context.tls))
    return Part(files=files, services=(service,))


def _text(context: Context, gateway: Gateway) -> str:
    target = {
        "address": gateway.target_address,
        "port": gateway.target_port,
        "certificate": gateway.target_certificate,
        "headers": {name: value.reveal() for name, value in gateway.headers.items()},
    }
    private = context.directories.private
    shows = [str(private / name) for name in (tls.CERTIFICATE, tls.KEY)] if context.tls else []
    listens = {"address": context.place.address, "port": gateway.port, "prefix": gateway.prefix, "login": LOGIN}
    listens["tls"] = shows  # a certificate and its key, or nothing
    return json.dumps({**listens, "secret": gateway.secret.reveal(), "target": target}, indent=2) + "\n"
