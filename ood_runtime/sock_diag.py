"""The sockets that listen on this node, as the kernel tells them by netlink (sock_diag(7), as ss(8) asks).

Reading /proc/net/tcp, where the same stands, makes the kernel walk through its table of all connections: 5 ms on an
idle node of 24 GiB, for each look of each probe.
"""

import os
import socket
import struct
from collections.abc import Iterator

# <linux/netlink.h>, <linux/sock_diag.h>, <linux/inet_diag.h>, <net/tcp_states.h>
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_ERROR, _DONE = 2, 3
_TCP_LISTEN = 10
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2: family, protocol, extensions, states, socket
_PORT = struct.Struct("!4xH")  # the start of struct inet_diag_msg, after which come addresses, times, lengths
_OWNER = struct.Struct("=64xII")  # its uid and inode


def listening() -> list[tuple[int, int, int]]:
    """Port, uid and inode of each TCP socket that listens, at any address; OSError where the kernel does not tell."""
    return [found for family in (socket.AF_INET, socket.AF_INET6) for found in _listening(family)]


def _listening(family: int) -> Iterator[tuple[int, int, int]]:
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 1 << _TCP_LISTEN)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.send(_HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + request)
        while True:
            for kind, message in _messages(kernel.recv(1 << 16)):
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    number = -struct.unpack_from("=i", message)[0]
                    raise OSError(number, os.strerror(number))
                (port,) = _PORT.unpack_from(message)
                uid, inode = _OWNER.unpack_from(message)
                yield port, uid, inode


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of each message of an answer."""
    while data:
        length, kind, *_ = _HEADER.unpack_from(data)
        yield kind, data[_HEADER.size : length]
        data = data[(length + 3) & ~3 :]
