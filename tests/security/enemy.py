"""What mallory finds of a session in a batch job, from the inside of each of its nodes and from another one."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.security.answers import kind
from tests.slurm.cluster import Cluster
from tests.support.accounts import Account, account, second_user, user_of_tests
from tests.support.session_of_two import PYTHON
from tools.port_table import SESSION, WITH_TLS, WITH_TLS_3_5, Hears, Reach, Row, Speaks

_SUPPORT = Path(__file__).parents[1] / "support"
_LOOPBACK = ("127.0.0.1", "::1")
PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/run")
_LISTENS = "0A"  # TCP_LISTEN, proc(5), net/tcp
_LOOPBACKS = ("7F", "00000000000000000000000001000000")  # as they end there: 127.x, also in IPv6; ::1
Key = tuple[str, int, bool]  # a node, a port, and whether that is one of the loopback interface, which has its own


@dataclass(frozen=True)
class Seen:
    """What is open on each node: port and address; sockets; UDP ports by user."""

    ports: dict[str, set[tuple[int, str]]]
    sockets: dict[str, set[str]]
    entered: dict[str, set[str]]
    udp: dict[str, set[tuple[int, int]]]

    def without(self, before: "Seen") -> "Seen":
        """What has come since."""
        return Seen(
            _less(self.ports, before.ports),
            _less(self.sockets, before.sockets),
            _less(self.entered, before.entered),
            _less(self.udp, before.udp),
        )


@dataclass(frozen=True)
class Found:
    """A port of the session: who listens, by process number, what it is, and whether it speaks TLS."""

    node: str
    port: int
    remote: bool
    owners: dict[int, str]
    hears: str
    tls: bool

    def __str__(self) -> str:
        place = "all nodes" if self.remote else "its node"
        owners = "; ".join(line[-90:] for line in self.owners.values())
        return f"{self.node}:{self.port} for {place}{', TLS' if self.tls else ''}: {self.hears} [{owners}]"


@dataclass
class Enemy:
    """Mallory, on all nodes. ``nodes`` are those of the session; ``other`` is one that is not."""

    cluster: Cluster
    nodes: tuple[str, ...]
    other: str
    before: Seen | None = None
    mallory: Account = field(default_factory=second_user)

    def run(self, node: str, program: Path, *words: str, said: str = "", user: Account | None = None) -> Any:
        """What a Python program of ours, which needs nothing but Python, tells on a node as mallory, or as ``user``."""
        done = self.cluster.machines.run(
            [PYTHON, "-c", program.read_text(), *words], on=node, user=user or self.mallory, stdin=said, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def scan(self) -> Seen:
        """All ports of all nodes, without those that were open before."""
        address = {node: self.cluster.machines.by_name[node].address for node in self.nodes}
        with ThreadPoolExecutor() as pool:
            near = {node: pool.submit(self._scan, node, *_LOOPBACK) for node in self.nodes}
            far = pool.submit(self._scan, self.other, *address.values()).result()["open"]
            inside = {node: future.result() for node, future in near.items()}
        opened = {node: {**told["open"], address[node]: far[address[node]]} for node, told in inside.items()}
        ports = {node: {(port, it) for it, all_ in here.items() for port in all_} for node, here in opened.items()}
        spool = str(self.cluster.machines.state / "machines")
        seen = Seen(
            ports,
            {node: set(told["sockets"]) for node, told in inside.items()},
            # Slurm's own are for everybody: it asks who comes.
            {node: {it for it in told["entered"] if not it.startswith(spool)} for node, told in inside.items()},
            {node: {(port, uid) for port, uid in told["udp"]} for node, told in inside.items()},
        )
        return seen.without(self.before) if self.before else seen

    def talk(self, seen: Seen, names: Iterable[str] = (), more: Mapping[str, str] | None = None) -> list[Found]:
        """What the open ports are, by what they answer to everything that a stranger may say, and to ``more``."""
        owners = self.owners()
        found = []
        with ThreadPoolExecutor() as pool:
            calls = {node: pool.submit(self._talk, node, seen.ports[node], names, more or {}) for node in self.nodes}
        for node, call in calls.items():
            for (port, address), answers in call.result().items():
                local = address in _LOOPBACK
                key = (node, port, local)
                if set(answers.values()) <= {"refused", ""} and "refused" in answers.values():
                    continue  # gone meanwhile
                if local and key not in owners and (node, port, False) in owners:
                    continue  # of somebody who listens at all addresses
                hears, tls = kind(answers), answers["tls"] == "yes"
                found.append(Found(node, port, not local, owners.get(key, {}), hears, tls))
        return sorted(found, key=lambda one: (one.node, str(one.owners.values()), one.hears, one.port))

    def ask_again(self, seen: Seen, found: list[Found]) -> list[Found]:
        """With those asked once more that said nothing, which a busy machine does, too."""
        silent = {(one.node, one.port, not one.remote) for one in found if one.hears == Hears.SILENCE}
        ports = {
            node: {(port, it) for port, it in all_ if (node, port, it in _LOOPBACK) in silent}
            for node, all_ in seen.ports.items()
        }
        again = self.talk(replace(seen, ports=ports))
        return [*(one for one in found if one.hears != Hears.SILENCE), *again]

    def files(self, places: Sequence[str], words: Iterable[str], user: Account | None = None) -> dict[str, list[str]]:
        """The files, and what /proc has of processes, in which mallory (or ``user``) finds one of the words."""
        asked = json.dumps({"places": [*PLACES, *places], "words": list(words)})
        program = Path(__file__).with_name("scan.py")
        told = {node: self.run(node, program, said=asked, user=user) for node in (*self.nodes, self.other)}
        return {node: here for node, it in told.items() if (here := [*it["files"], *it["processes"]])}

    def _scan(self, node: str, *addresses: str) -> Any:
        return self.run(node, Path(__file__).with_name("scan.py"), *addresses)

    def _talk(
        self, node: str, ports: set[tuple[int, str]], names: Iterable[str], more: Mapping[str, str]
    ) -> dict[tuple[int, str], dict[str, str]]:
        words = {f"{address}:{port}": (port, address) for port, address in ports}
        told = self.run(node, _SUPPORT / "stranger.py", *words, *names, said=json.dumps(more))
        return {words[word]: answers for word, answers in told.items()}

    def owners(self) -> dict[Key, dict[int, str]]:
        """Who listens where, as root sees it; command lines by process number."""
        machines = self.cluster.machines
        sockets = {node: _listening(machines.by_name[node].init) for node in self.nodes}
        owners: dict[Key, dict[int, str]] = {}
        for user in (user_of_tests(), account("root")):
            for node, processes in machines.processes(user).items():
                for pid, line in processes.items():
                    for name in _sockets(pid) & sockets.get(node, {}).keys():
                        owners.setdefault((node, *sockets[node][name]), {})[pid] = line
        return owners


def _listening(pid: int) -> dict[str, tuple[int, bool]]:
    """What is listened on in the network of a process, by the names of sockets: port, and whether for loopback only."""
    found = {}
    for line in [
        line.split() for it in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{it}").read_text().splitlines()
    ]:
        if line[3] == _LISTENS:
            address, _, port = line[1].rpartition(":")
            found[f"socket:[{line[9]}]"] = (int(port, 16), address.endswith(_LOOPBACKS))
    return found


def _sockets(pid: int) -> set[str]:
    """What a process has open, by name."""
    found = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.add(str(entry.readlink()))
    return found


def _less(now: Mapping[str, set[Any]], before: Mapping[str, set[Any]]) -> dict[str, set[Any]]:
    return {node: found - before[node] for node, found in now.items()}


def problems(
    found: Iterable[Found], *, tls: bool, release: tuple[int, int], nodes: int = 2
) -> tuple[list[str], Counter[str]]:
    """What is not as docs/security.md says, in words; and how often each of its rows was found."""
    wrong, rows = [], Counter[str]()
    each: Counter[tuple[int, Row]] = Counter()
    for one in found:
        row = _row(one, tls=tls, release=release, nodes=nodes)
        if row is None:
            wrong.append(f"not in the table: {one}")
            continue
        rows[f"{row.process}: {row.port}"] += 1
        each.update((pid, row) for pid in one.owners)
    too_many = [(row, count) for (_, row), count in each.items() if count > row.most]
    return [*wrong, *(f"{count} ports, not {row.most}: {row.process}, {row.port}" for row, count in too_many)], rows


def _row(one: Found, *, tls: bool, release: tuple[int, int], nodes: int) -> Row | None:
    """The row of the table that a port is in."""
    encrypted = {
        Speaks.PLAIN: False,
        Speaks.RELAY: tls,
        Speaks.TLS: tls,
        Speaks.TLS_4: tls and release >= (4, 0),
    }
    # With one node there may be nobody else to reach.
    remote = {Reach.NODE: False, Reach.CLUSTER: nodes > 1, Reach.NODES: nodes > 1 or one.remote}
    rows: tuple[Row, ...] = SESSION + WITH_TLS if tls else SESSION
    if tls and release < (4, 0):
        rows += WITH_TLS_3_5
    for row in rows:
        ours = any(mark in line for mark in row.marks for line in one.owners.values())
        promised = (row.hears.value, remote[row.reach], encrypted[row.speaks])
        if ours and promised == (one.hears, one.remote, one.tls):
            return row
    return None
