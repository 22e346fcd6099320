"""What crosses the network of the test cluster: every packet at the head, where all machines are plugged in."""

import socket
import struct
import threading
import time

from tests.slurm.cluster import Cluster

_ALL_PROTOCOLS = 3  # ETH_P_ALL, packet(7)
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SO_RCVBUFFORCE = 33
_BUFFER = 256 * 1024 * 1024  # bytes; what does not fit in is lost, and counted


class Capture:
    """All packets from the beginning of the context to its end, searched for ``words`` as they come; by root.

    A word that two packets share is not found: it has to be sent many times.
    """

    def __init__(self, cluster: Cluster, *words: str) -> None:
        self.seen: dict[str, int] = dict.fromkeys(words, 0)
        self.packets = 0
        self._words = {word: word.encode() for word in words}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read)
        with cluster.network():
            # Of this network for good, whoever reads it.
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        self._socket.settimeout(0.2)

    def __enter__(self) -> "Capture":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        counted = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self._socket.close()
        _, lost = struct.unpack("II", counted)
        assert lost == 0, f"{lost} packets were not seen"

    def wait_for(self, word: str, within: float = 20.0) -> None:
        """Wait until a packet with this word was seen; seconds."""
        deadline = time.monotonic() + within
        while not self.seen[word]:
            assert time.monotonic() < deadline, f"{word} is in none of {self.packets} packets"
            time.sleep(0.05)

    def _read(self) -> None:
        # To the last packet: what is there when the context ends is read, too.
        while True:
            try:
                packet = self._socket.recv(1 << 17)
            except TimeoutError:
                if self._ended.is_set():
                    return
                continue
            self.packets += 1
            for word, text in self._words.items():
                self.seen[word] += text in packet
