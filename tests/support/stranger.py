"""What a stranger says to ports, in the languages of everything that a session listens with.

Run with port numbers and names of files. Prints as JSON what came back: for each port, for each thing said.
Only Python's own library: another user may have nothing else.
"""

import json
import socket
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

SECONDS = 1.5  # that an answer may take
RPC_REQUEST, STREAM_REQUEST, ONE_WAY = 3, 6, 9  # org.apache.spark.network.protocol.Message.Type


def web(method: str, path: str, body: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def frame(kind: int, body: bytes) -> bytes:
    """A message of Spark's network protocol, as who has not logged in sends it."""
    return struct.pack(">qB", 9 + len(body), kind) + body


def stream(name: str) -> bytes:
    return frame(STREAM_REQUEST, struct.pack(">i", len(name)) + name.encode())


SAYINGS = {
    "web /": web("GET", "/"),
    "web /json/": web("GET", "/json/"),
    "web applications": web("GET", "/api/v1/applications"),
    "rest status": web("GET", "/v1/submissions/status/driver-1"),
    "rest submission": web("POST", "/v1/submissions/create", '{"action": "CreateSubmissionRequest"}'),
    "rpc": frame(RPC_REQUEST, struct.pack(">qi", 7, 5) + b"hello"),
    "one way": frame(ONE_WAY, struct.pack(">i", 5) + b"hello"),
    "py4j without a secret": b"c\nz:java.lang.System\nlineSeparator\ne\n",
    "py4j with a wrong secret": b"A\nwrong\ne\n",
    "a worker's wrong secret": struct.pack(">i", 5) + b"wrong",
    "nothing": b"",
}


def reply(port: int, said: bytes) -> str:
    """The first bytes that come back, as Latin-1; "" for silence, "refused" where nobody listens."""
    received = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as server:
            server.sendall(said)
            while len(received) < 2000 and (more := server.recv(4096)):
                received += more
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        pass  # silence, or the end
    return received.decode("latin-1")[:2000]


numbers = [int(word) for word in sys.argv[1:] if word.isdecimal()]
sayings = SAYINGS | {f"stream {name}": stream(name) for name in sys.argv[1:] if not name.isdecimal()}
with ThreadPoolExecutor(16) as pool:
    answers = {port: {what: pool.submit(reply, port, said) for what, said in sayings.items()} for port in numbers}
    print(
        json.dumps({port: {what: future.result() for what, future in all_.items()} for port, all_ in answers.items()})
    )
