"""Where a session is reached: the node's name as the portal knows it, and the address to listen on."""

import ipaddress
import socket
from collections.abc import Mapping

from ood_runtime.errors import SettingsError
from ood_runtime.plan import Place


def find(host: str | None, address: str | None, environment: Mapping[str, str]) -> Place:
    """The place for the settings ``host`` and ``address``.

    Without a setting the host is ``$host``, which the portal's job script exports and its links use, else the
    node's own name; where that stands for no address of this node, localhost. Listening on what the name stands
    for, and on no other address, leaves the other networks of the node alone.

    Raises SettingsError when the host or the address does not belong to this node.
    """
    if host and not address and not _local_addresses(host):
        raise SettingsError(
            f"host: {host} is not an address of this node",
            remedy="set address too, if the portal reaches this node by a name that the node does not know",
        )
    names = [host] if host else [environment.get("host"), socket.gethostname(), "localhost"]
    name = next(name for name in names if name and (host or _local_addresses(name)))
    if address:
        if address not in ("0.0.0.0", "::") and not _bindable(address):  # noqa: S104
            raise SettingsError(f"address: {address} is not an address of this node")
        return Place(host=name, address=address)
    return Place(host=name, address=_local_addresses(name)[0])


def _local_addresses(name: str) -> list[str]:
    """The addresses that ``name`` stands for and that belong to this node, IPv4 first."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return []
    return sorted(filter(_bindable, found), key=lambda text: (":" in text, text))


def _bindable(address: str) -> bool:
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        with socket.socket(family) as sock:
            sock.bind((address, 0))
    except (OSError, ValueError):
        return False
    return True
