"""Where a session is reached: the node's name as the portal knows it, and the address to listen on."""

import fnmatch
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress

import psutil

from ood_runtime.allocation import Node
from ood_runtime.errors import SettingsError
from ood_runtime.plan import Place

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


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


def cluster_address(network: str | None, nodes: Sequence[Node], address: str) -> str:
    """The address of this node, the first of ``nodes``, that the others reach Spark at.

    That of the interface or network of the setting ``spark.network``; else ``address``, unless only this node
    reaches that: then the one from which the second node is reached.

    Raises SettingsError when there is none.
    """
    if len(nodes) == 1:
        return "127.0.0.1"
    if network:
        return _of_network(network)
    if not ipaddress.ip_address(address).is_loopback and not ipaddress.ip_address(address).is_unspecified:
        return address
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((nodes[1].host, 9))  # sends nothing
        found = str(sock.getsockname()[0])
        if not ipaddress.ip_address(found).is_loopback:
            return found
    raise SettingsError(
        f"the other nodes cannot reach {address}, which is the address of this one",
        remedy="set spark.network to the interface or network that joins the nodes",
    )


def _of_network(network: str) -> str:
    up = {name for name, interface in psutil.net_if_stats().items() if interface.isup}
    addresses = [
        (name, ipaddress.ip_address(entry.address.partition("%")[0]))
        for name, entries in psutil.net_if_addrs().items()
        for entry in entries
        # eth0:1 is another name for addresses of eth0.
        if entry.family in (socket.AF_INET, socket.AF_INET6) and name.partition(":")[0] in up
    ]
    usable = [(name, address) for name, address in addresses if not (address.is_link_local or address.is_loopback)]
    fitting = sorted((address for name, address in usable if _fits(name, address, network)), key=lambda a: a.version)
    if not fitting:
        there = ", ".join(f"{name} {address}" for name, address in usable)
        raise SettingsError(f"spark.network: no address of this node fits {network}; there are {there}")
    return str(fitting[0])


def _fits(name: str, address: Address, network: str) -> bool:
    if "/" in network:
        return address in ipaddress.ip_network(network)
    return fnmatch.fnmatchcase(name, network)


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
