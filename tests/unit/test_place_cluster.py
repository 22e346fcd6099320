"""The address at which the other nodes of a job reach Spark on this one."""

import socket
from collections.abc import Sequence
from types import SimpleNamespace

import psutil
import pytest

from ood_runtime import place
from ood_runtime.allocation import Node
from ood_runtime.errors import SettingsError

ONE, TWO = [Node("n1", 1, 1)], [Node("n1", 1, 1), Node("n2", 1, 1)]
INTERFACES = {
    "lo": ["127.0.0.1", "::1"],
    "eth0": ["fe80::1%eth0", "2001:db8::7", "192.0.2.7"],
    "eth1": ["198.51.100.7"],
    "eth1:2": ["198.51.100.8"],
    "ib0": ["fd00::7", "10.1.0.7"],
    "ib1": ["fe80::2%ib1"],
    "ib2": ["10.3.0.7"],
}
DOWN = {"ib2"}


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node with these interfaces; each has an address of the link layer too."""

    def entry(address: str) -> SimpleNamespace:
        return SimpleNamespace(family=socket.AF_INET6 if ":" in address else socket.AF_INET, address=address)

    link = SimpleNamespace(family=psutil.AF_LINK, address="02:00:00:00:00:01")
    there = {name: [link, *map(entry, addresses)] for name, addresses in INTERFACES.items()}
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: there)
    monkeypatch.setattr(
        psutil,
        "net_if_stats",
        lambda: {name: SimpleNamespace(isup=name not in DOWN) for name in INTERFACES if ":" not in name},
    )


def routed(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """The kernel would send from ``address`` to the second node; "" when there is no route."""

    class Sender:
        def __init__(self, *_: object) -> None:
            pass

        def __enter__(self) -> "Sender":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def connect(self, to: tuple[str, int]) -> None:
            assert to[0] == "n2"
            if not address:
                raise OSError("no route")

        def getsockname(self) -> tuple[str, int]:
            return address, 1

    monkeypatch.setattr(socket, "socket", Sender)


@pytest.mark.parametrize("network", [None, "ib0", "10.1.0.0/16"])
def test_on_one_node_nobody_else_needs_it(network: str | None) -> None:
    assert place.cluster_address(network, ONE, "192.0.2.7") == "127.0.0.1"


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
def test_where_the_session_listens_unless_told_otherwise(address: str) -> None:
    assert place.cluster_address(None, TWO, address) == address


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.1.1", "::1", "0.0.0.0", "::"])
def test_else_from_where_the_second_node_is_reached(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    routed(monkeypatch, "192.0.2.7")
    assert place.cluster_address(None, TWO, address) == "192.0.2.7"


@pytest.mark.parametrize("from_address", ["", "127.0.0.1"])
def test_nobody_can_reach_us(from_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    routed(monkeypatch, from_address)
    with pytest.raises(SettingsError, match=r"the other nodes cannot reach 127\.0\.1\.1") as caught:
        place.cluster_address(None, TWO, "127.0.1.1")
    assert "set spark.network" in caught.value.remedy


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("eth1", "198.51.100.7"),
        ("eth1:2", "198.51.100.8"),
        ("ib*", "10.1.0.7"),
        ("ib[01]", "10.1.0.7"),
        ("*", "192.0.2.7"),
        ("10.0.0.0/8", "10.1.0.7"),
        ("192.0.2.7/32", "192.0.2.7"),
        ("fd00::/8", "fd00::7"),
        ("2001:db8::/32", "2001:db8::7"),
        ("::/0", "2001:db8::7"),
        ("0.0.0.0/0", "192.0.2.7"),
    ],
)
def test_the_network_that_is_asked_for(network: str, address: str) -> None:
    """IPv4 first; neither the loopback, nor the link's own addresses, nor what is down."""
    assert place.cluster_address(network, TWO, "192.0.2.7") == address


@pytest.mark.parametrize("network", ["ib1", "ib2", "IB0", "mlx*", "10.9.0.0/16", "127.0.0.0/8", "fe80::/10", "lo"])
def test_a_network_that_this_node_is_not_in(network: str) -> None:
    with pytest.raises(SettingsError, match=r"spark\.network: no address of this node fits") as caught:
        place.cluster_address(network, TWO, "192.0.2.7")
    shown = caught.value.what
    assert network in shown
    assert "ib0 10.1.0.7" in shown and "fe80::1" not in shown


@pytest.mark.parametrize("nodes", [ONE, TWO])
def test_on_this_machine(nodes: Sequence[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    try:
        found = place.cluster_address("0.0.0.0/0", nodes, "127.0.0.1")
    except SettingsError:
        return  # it has no network
    assert place._bindable(found)
