"""Ports: never one that is in use, held until our service listens, and known by who listens."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ood_runtime import ports, sock_diag
from ood_runtime.errors import MissingError

HAS_IPV6 = socket.has_dualstack_ipv6()
ADDRESSES = ["0.0.0.0", "127.0.0.1", "127.9.8.7", *(["::", "::1"] if HAS_IPV6 else [])]


@contextlib.contextmanager
def bound(address: str, port: int = 0, *, listen: bool = False, reuse: bool = False) -> Iterator[int]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as sock:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if reuse:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        if listen:
            sock.listen()
        yield sock.getsockname()[1]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("listen", [True, False], ids=["listening", "bound"])
@pytest.mark.parametrize("reuse", [True, False], ids=["reuse", "exclusive"])
def test_never_a_port_that_is_in_use_at_any_address(address: str, listen: bool, reuse: bool) -> None:
    with (
        bound(address, listen=listen, reuse=reuse) as port,
        pytest.raises(MissingError, match=f"no free port between {port} and {port}") as caught,
        ports.hold(["jupyter"], port, port),
    ):
        pass
    assert "ports.max" in caught.value.remedy


def test_ports_of_the_range_and_each_only_once() -> None:
    names = [f"p{i}" for i in range(20)]
    with ports.hold(names, 20000, 20100) as held:
        assert list(held) == names
        assert len(set(held.values())) == 20
        assert all(20000 <= port <= 20100 for port in held.values())


def test_a_held_port_is_not_given_to_anybody_else() -> None:
    with ports.hold(["a"], 20000, 32767) as held:
        with pytest.raises(MissingError), ports.hold(["b"], held["a"], held["a"]):
            pass
        for address in ADDRESSES:
            with pytest.raises(OSError, match="in use"), bound(address, held["a"]):
                pass


def test_a_range_that_ends_too_soon_gives_everything_back() -> None:
    with ports.hold(["a"], 20000, 32000) as held:
        free = held["a"]
    with pytest.raises(MissingError), ports.hold(["a", "b"], free, free):
        pass
    with ports.hold(["a"], free, free):
        pass


@pytest.mark.parametrize("address", ADDRESSES)
def test_our_own_service_can_listen_while_the_port_is_held(address: str) -> None:
    with ports.hold(["a"], 20000, 32767) as held:
        with bound(address, held["a"], listen=True, reuse=True) as port:
            (listener,) = ports.listeners(port)
            assert ports.ours([listener], [os.getpid()])
        assert ports.listeners(held["a"]) == []


def test_when_our_service_listens_nobody_can_join_it() -> None:
    with (
        ports.hold(["a"], 20000, 32767) as held,
        bound("127.0.0.1", held["a"], listen=True, reuse=True),
        pytest.raises(OSError, match="in use"),
        bound("127.0.0.1", held["a"], listen=True, reuse=True),
    ):
        pass


def test_200_taken_ports_are_passed_over() -> None:
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(ports.hold([f"p{i}" for i in range(200)], 21000, 21299))
        second = stack.enter_context(ports.hold(["a", "b"], 21000, 21299))
        assert not set(first.values()) & set(second.values())


LISTEN = (
    "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
)


@pytest.fixture
def other_listener() -> Iterator[tuple[int, int]]:
    """The pid and the port of another process that listens."""
    with subprocess.Popen([sys.executable, "-c", LISTEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        yield process.pid, int(process.stdout.readline())
        process.terminate()


def test_ours_refuses_a_listener_of_another_process(other_listener: tuple[int, int]) -> None:
    pid, port = other_listener
    found = ports.listeners(port)
    assert [listener.port for listener in found] == [port]
    assert not ports.ours(found, [os.getpid()])
    assert not ports.ours(found, [])
    assert ports.ours(found, [os.getpid(), pid])
    assert ports.ours(found, [2**22 + 1, pid]), "a process that has ended is passed over"


def test_ours_refuses_a_listener_of_another_user() -> None:
    with bound("127.0.0.1", listen=True) as port:
        (listener,) = ports.listeners(port)
        assert ports.ours([listener], [os.getpid()])
        mallory = ports.Listener(port, listener.uid + 1, listener.inode)
        assert not ports.ours([mallory], [os.getpid()])


def test_ours_wants_all_listeners_of_the_port(other_listener: tuple[int, int]) -> None:
    pid, port = other_listener
    with bound("127.9.8.7", port, listen=True):
        found = ports.listeners(port)
        assert len(found) == 2
        assert not ports.ours(found, [os.getpid()])
        assert not ports.ours(found, [pid])
        assert ports.ours(found, [os.getpid(), pid])


def test_a_connection_is_no_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        port = server.getsockname()[1]
        assert len(ports.listeners(port)) == 1
        assert port in {listener.port for listener in ports.listeners()}


def test_a_node_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with ports.hold(["a"], 20000, 32767) as held, pytest.raises(OSError, match="in use"), bound("0.0.0.0", held["a"]):
        pass


def test_which_port_comes_is_not_foreseeable() -> None:
    def draw() -> int:
        with ports.hold(["a"], 20000, 32767) as held:
            return held["a"]

    assert len({draw() for _ in range(8)}) > 2


@pytest.mark.parametrize("address", [a for a in ADDRESSES if a not in ("0.0.0.0", "::")])
def test_nobody_listens_where_we_keep_a_port_to_ourselves(address: str) -> None:
    other = "127.9.9.9"
    with ports.hold(["a"], 20000, 32767) as held:
        kept = ports.keep(address, held["a"])
        assert kept is not None
        with kept:
            for where in (address, "::" if ":" in address else "0.0.0.0"):
                for reuse in (True, False):
                    with pytest.raises(OSError, match="in use"), bound(where, held["a"], listen=True, reuse=reuse):
                        pass
            with bound(other, held["a"], listen=True, reuse=True):
                pass
        with bound(address, held["a"], listen=True, reuse=True):
            assert ports.keep(address, held["a"]) is None, "somebody was faster"
    assert ports.keep("192.0.2.1", held["a"]) is None, "no address of this node"


def test_a_kept_port_cannot_be_listened_at_by_who_had_bound_it_before() -> None:
    with ports.hold(["a"], 20000, 32767) as held, bound("127.0.0.1", held["a"], reuse=True) as port:
        kept = ports.keep("127.0.0.1", port)
        assert kept is not None
        with kept, socket.socket() as late:
            late.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                late.bind(("127.0.0.1", port))
                late.listen()


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_kernel_tells_the_same_in_both_ways(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with bound(address, listen=True) as port, bound(address) as silent:
        told = ports.listeners(port)
        assert [(listener.port, listener.uid) for listener in told] == [(port, os.getuid())]
        assert ports.ours(told, [os.getpid()])
        assert ports.listeners(silent) == []
        monkeypatch.setattr(sock_diag, "listening", _refused)
        assert (ports.listeners(port), ports.listeners(silent)) == (told, [])


def test_many_listeners_come_in_several_messages() -> None:
    with contextlib.ExitStack() as stack:
        numbers = {stack.enter_context(bound("127.0.0.1", listen=True)) for _ in range(800)}
        assert numbers <= {port for port, _, _ in sock_diag.listening()}


def test_a_refusal_of_the_kernel_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sock_diag, "_SOCK_DIAG_BY_FAMILY", 99)
    with pytest.raises(OSError, match="Invalid argument"):
        sock_diag.listening()


def _refused() -> list[tuple[int, int, int]]:
    raise OSError
