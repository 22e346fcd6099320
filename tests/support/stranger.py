"""What a stranger says to ports, in the languages of everything that a session listens with.

Run with ports, PORT or ADDRESS:PORT, and names of files; on standard input may be more that is to be said, as JSON.
Prints as JSON what came back: for each port, for each thing said; and "tls", whether it was all said over TLS.
Only Python's own library: another user may have nothing else.
"""

import json
import re
import socket
import ssl
import struct
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

SECONDS = 1.5  # that an answer may take
# org.apache.spark.network.protocol.Message.Type
CHUNK_REQUEST, RPC_REQUEST, STREAM_REQUEST, ONE_WAY = 0, 3, 6, 9
OPEN_BLOCKS = 0  # org.apache.spark.network.shuffle.protocol.BlockTransferMessage.Type
LAST_HEADER_FRAME, LAST_DATA_FRAME = b"\x01\x04", b"\x00\x01"  # of HTTP/2, with their flags


def web(method: str, path: str, body: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def frame(kind: int, body: bytes) -> bytes:
    """A message of Spark's network protocol, as who has not logged in sends it."""
    return struct.pack(">qB", 9 + len(body), kind) + body


def text(value: str) -> bytes:
    return struct.pack(">i", len(value)) + value.encode()


def request(body: bytes) -> bytes:
    return frame(RPC_REQUEST, struct.pack(">qi", 7, len(body)) + body)


def open_blocks(*names: str) -> bytes:
    words = text("app") + text("0") + struct.pack(">i", len(names)) + b"".join(map(text, names))
    return request(struct.pack(">B", OPEN_BLOCKS) + words)


def stream(name: str) -> bytes:
    return frame(STREAM_REQUEST, text(name))


def http2(kind: bytes, stream_number: int, body: bytes) -> bytes:
    return struct.pack(">I", len(body))[1:] + kind + struct.pack(">I", stream_number) + body


def grpc(method: str) -> bytes:
    """A call without arguments."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    literals = [bytes([0, len(name)]) + name.encode() + bytes([len(it)]) + it.encode() for name, it in headers.items()]
    call = http2(LAST_HEADER_FRAME, 1, b"".join(literals)) + http2(LAST_DATA_FRAME, 1, bytes(5))
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + http2(b"\x04\x00", 0, b"") + call


SAYINGS = {
    "web /": web("GET", "/"),
    "web /json/": web("GET", "/json/"),
    "web applications": web("GET", "/api/v1/applications"),
    "web metrics": web("GET", "/metrics/executors/prometheus/"),
    "web kill": web("POST", "/app/kill/", "id=app&terminate=true"),
    "rest status": web("GET", "/v1/submissions/status/driver-1"),
    "rest submission": web("POST", "/v1/submissions/create", '{"action": "CreateSubmissionRequest"}'),
    "rpc": request(b"hello"),
    "rpc blocks": open_blocks("broadcast_0_piece0", "rdd_0_0", "shuffle_0_0_0"),
    "rpc chunk": frame(CHUNK_REQUEST, struct.pack(">qi", 0, 0)),
    "one way": frame(ONE_WAY, struct.pack(">i", 5) + b"hello"),
    "py4j without a secret": b"c\nz:java.lang.System\nlineSeparator\ne\n",
    "py4j with a wrong secret": b"A\nwrong\ne\n",
    "a worker's wrong secret": text("wrong"),
    "grpc config": grpc("/spark.connect.SparkConnectService/Config"),
    "nothing": b"",
}


def trusting() -> ssl.SSLContext:
    """Whoever it is that answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def place(word: str) -> tuple[str, int]:
    address, _, port = word.rpartition(":")
    return address or "127.0.0.1", int(port)


def has_tls(word: str) -> bool:
    try:
        with socket.create_connection(place(word), SECONDS) as plain, trusting().wrap_socket(plain):
            return True
    except OSError:
        return False


def reply(word: str, said: bytes, tls: bool) -> str:
    """The first bytes that come back, as Latin-1; "" for silence, "refused" where nobody listens."""
    received = b""
    try:
        with socket.create_connection(place(word), timeout=SECONDS) as plain:
            server = trusting().wrap_socket(plain) if tls else plain
            server.sendall(said)
            while len(received) < 2000 and (more := server.recv(4096)):
                received += more
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        pass  # silence, or the end
    return received.decode("latin-1")[:2000]


warnings.simplefilter("ignore")
words = [word for word in sys.argv[1:] if re.fullmatch(r"([^/]*:)?\d+", word)]
sayings = SAYINGS | {f"stream {name}": stream(name) for name in sys.argv[1:] if name not in words}
sayings |= {name: said.encode("latin-1") for name, said in json.loads(sys.stdin.read() or "{}").items()}
with ThreadPoolExecutor(256) as pool:
    tls = dict(zip(words, pool.map(has_tls, words), strict=True))
    replies = {w: {what: pool.submit(reply, w, said, tls[w]) for what, said in sayings.items()} for w in words}
    answers = {w: {what: future.result() for what, future in all_.items()} for w, all_ in replies.items()}
print(json.dumps({w: {**all_, "tls": "yes" if tls[w] else ""} for w, all_ in answers.items()}))
