"""Another program that takes a session's port between choosing and listening, as often as it is asked to.

Run with: first and last port of the range, and how many ports to steal. Prints each port that it got.
"""

import socket
import sys
import time
from pathlib import Path

lowest, highest, times = map(int, sys.argv[1:])
stolen: list[socket.socket] = []


def bound() -> set[int]:
    """Ports of the range that are held but not listened on: such a socket is in no table of the kernel,

    only an exclusive bind finds it.
    """
    found = set()
    for port in range(lowest, highest + 1):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                found.add(port)
    return found


def in_use() -> set[int]:
    """Ports that somebody listens on, or that an earlier connection has not given back yet."""
    lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {int(line.split()[1].rpartition(":")[2], 16) for line in lines}


print("watching", flush=True)
deadline = time.monotonic() + 60
while len(stolen) < times and time.monotonic() < deadline:
    for port in bound() - in_use():
        thief = socket.socket()
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            thief.bind(("", port))
            thief.listen()
        except OSError:
            thief.close()
            continue
        stolen.append(thief)
        print(port, flush=True)
        if len(stolen) == times:
            break
time.sleep(60)
