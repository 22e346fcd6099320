"""What another user finds on a node: ports that take connections, sockets, and files that hold certain words.

Run with addresses, and on standard input {"places": [...], "words": [...]} as JSON. Prints as JSON which ports of each
address are open, which listening Unix sockets there are, which of them let us in, whose UDP ports there are, and which
files below the places hold one of the words. Only Python's own library.
"""

import json
import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SECONDS = 1.0
LISTENS = "00010000"  # /proc/net/unix, flags: __SO_ACCEPTCON


def open_ports(address: str) -> list[int]:
    """By connecting to all of them."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return [port for port in range(1, 1 << 16) if _takes(family, address, port)]


def _takes(family: int, address: str, port: int) -> bool:
    with socket.socket(family) as client:
        client.settimeout(SECONDS)
        # A client whose own port is by chance the one that it asks for connects to itself.
        return client.connect_ex((address, port)) == 0 and client.getsockname()[:2] != client.getpeername()[:2]


def unix_sockets() -> list[str]:
    """The names of those that listen in this network's namespace; of abstract ones with an @ before them."""
    lines = [line.split(maxsplit=7) for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return sorted({line[7] for line in lines if len(line) > 7 and line[3] == LISTENS})


def lets_in(name: str) -> bool:
    """Whether a Unix socket takes a connection, or would."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_UNIX, kind) as client:
            client.settimeout(SECONDS)
            try:
                client.connect("\0" + name[1:] if name.startswith("@") else name)
            except OSError:
                continue
            return True
    return False


def udp() -> list[list[int]]:
    """Port and user of each."""
    lines = [
        line.split() for name in ("udp", "udp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return [[int(line[1].rpartition(":")[2], 16), int(line[7])] for line in lines]


def holding(places: list[str], words: list[bytes]) -> list[str]:
    """The files that we can read and that hold a word."""
    found = []
    for top in places:
        for root, _, names in os.walk(top):
            found += [path for name in names if _holds(path := Path(root, name), words)]
    return sorted(map(str, found))


def _holds(path: Path, words: list[bytes]) -> bool:
    try:
        content = path.read_bytes() if path.is_file() else b""
    except OSError:
        return False
    return any(word in content for word in words)


def processes(words: list[bytes]) -> list[str]:
    """What we can read of processes that holds a word."""
    paths = [
        process / name for process in Path("/proc").glob("[0-9]*") for name in ("cmdline", "environ", "comm", "maps")
    ]
    return sorted(str(path) for path in paths if _holds(path, words))


asked = json.loads(sys.stdin.read() or "{}")
words = [word.encode() for word in asked.get("words", [])]
with ThreadPoolExecutor() as pool:
    ports = dict(zip(sys.argv[1:], pool.map(open_ports, sys.argv[1:]), strict=True))
names = unix_sockets()
print(
    json.dumps(
        {
            "open": ports,
            "sockets": names,
            "entered": list(filter(lets_in, names)),
            "udp": udp(),
            "files": holding(asked.get("places", []), words) if words else [],
            "processes": processes(words) if words else [],
        }
    )
)
