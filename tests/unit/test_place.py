"""Where a session is reached: the name that the portal knows, and an address of this node."""

import socket
from collections.abc import Mapping

import pytest

from ood_runtime import place
from ood_runtime.errors import SettingsError
from ood_runtime.plan import Place

NAMES = {"node1": ["192.0.2.7", "127.0.1.1"], "portal-name": ["127.0.0.1", "::1"], "elsewhere": ["192.0.2.8"]}
OURS = {"192.0.2.7", "127.0.0.1", "127.0.1.1", "::1"}


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node called node1, whose names stand for these addresses, some of which are its own."""

    def getaddrinfo(name: str, port: None, type: int) -> list[tuple[object, ...]]:
        if name == "localhost":
            return [(0, 0, 0, "", ("127.0.0.1", 0))]
        if name not in NAMES:
            raise socket.gaierror("unknown")
        return [(0, 0, 0, "", (address, 0)) for address in NAMES[name]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket, "gethostname", lambda: "node1")
    monkeypatch.setattr(place, "_bindable", lambda address: address in OURS)


@pytest.mark.parametrize(
    ("host", "address", "environment", "expected"),
    [
        (None, None, {}, Place("node1", "127.0.1.1")),
        (None, None, {"host": "portal-name"}, Place("portal-name", "127.0.0.1")),
        (None, None, {"host": "elsewhere"}, Place("node1", "127.0.1.1")),
        (None, None, {"host": ""}, Place("node1", "127.0.1.1")),
        ("portal-name", None, {"host": "node1"}, Place("portal-name", "127.0.0.1")),
        ("elsewhere", "192.0.2.7", {}, Place("elsewhere", "192.0.2.7")),
        (None, "0.0.0.0", {}, Place("node1", "0.0.0.0")),
        (None, "::", {}, Place("node1", "::")),
    ],
)
def test_places(host: str | None, address: str | None, environment: Mapping[str, str], expected: Place) -> None:
    assert place.find(host, address, environment) == expected


def test_a_node_that_does_not_know_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "nobody-knows")
    assert place.find(None, None, {}) == Place("localhost", "127.0.0.1")


def test_a_host_that_is_not_this_node() -> None:
    with pytest.raises(SettingsError, match="host: elsewhere is not an address of this node") as caught:
        place.find("elsewhere", None, {})
    assert "set address too" in caught.value.remedy


def test_an_address_that_is_not_this_nodes() -> None:
    with pytest.raises(SettingsError, match=r"address: 192\.0\.2\.8 is not an address of this node"):
        place.find(None, "192.0.2.8", {})


@pytest.mark.parametrize(
    ("address", "ours"), [("127.0.0.1", True), ("192.0.2.77", False), ("nonsense", False), ("", False)]
)
def test_what_can_be_bound_is_ours(address: str, ours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert place._bindable(address) is ours
