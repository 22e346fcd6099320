"""TLS in plans, in proofs, and in front of what has none."""

import asyncio
import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ood_runtime import certificates, spark_cluster, spark_tls, tls_relay
from ood_runtime.allocation import Allocation, Node
from ood_runtime.context import Context
from ood_runtime.plan import Part, Place
from ood_runtime.probes import JupyterLogin, SparkWorkers
from ood_runtime.secret import Secret
from ood_runtime.settings.tls import Tls as Settings
from ood_runtime.spark_home import Spark
from ood_runtime.tls import STORE, Identity, Tls
from tests.unit.several_nodes import ADDRESS, PRIVATE, ROOT, service, text
from tests.unit.several_nodes import context as plain_context


def made() -> Tls:
    allocation = Allocation("local", "", (Node("localhost", 1, 1),), ROOT)
    return certificates.for_session(Settings(mode="self-signed"), None, allocation, Place("localhost", "127.0.0.1"))


TLS, OTHER = made(), made()


def context(release: str = "4.0.1", nodes: int = 3) -> Context:
    plain = plain_context(nodes)
    assert plain.software.spark
    spark = Spark(Path("/opt/spark"), release, "2.13", ())
    filtered = b"jar" if release.startswith("3") else None
    software = replace(plain.software, spark=replace(plain.software.spark, spark=spark, ui_filter=filtered))
    grant = replace(plain.grant, ports={**plain.grant.ports, "spark_ui": 20004})
    return replace(plain, software=software, grant=grant, tls=TLS)


def cluster(release: str, nodes: int = 3) -> Part:
    return spark_cluster.cluster(context(release, nodes), ROOT)


# --- Spark ---


def test_spark_4_has_tls_for_all_and_trusts_one_file() -> None:
    entries = spark_tls.properties(context())
    assert entries["spark.ssl.enabled"] == entries["spark.ssl.rpc.enabled"] == "true"
    assert entries["spark.network.crypto.enabled"] == "false"
    assert entries["spark.ssl.keyStore"] == entries["spark.ssl.trustStore"] == str(PRIVATE / STORE)
    part = cluster("4.0.1")
    assert '"-Dspark.ssl.standalone.port=20003"' in text(part, "spark/master.args")
    assert (probe(part).page.address, probe(part).page.certificate) == (ADDRESS, TLS.inner.certificate)
    assert "port=20002\n" in text(part, "spark/remote-worker.sh")


def test_what_spark_3_5_cannot_protect_stays_on_its_node() -> None:
    entries = spark_tls.properties(context("3.5.9"))
    assert entries["spark.ssl.enabled"] == "true" and "spark.ssl.rpc.enabled" not in entries
    assert entries["spark.ssl.ui.enabled"] == "false"
    part = cluster("3.5.9")
    for name in ("spark/master.args", "spark/worker-0.args"):
        assert '"-Dspark.ssl.standalone.enabled=false"' in text(part, name)
    assert "standalone" not in text(part, "spark/remote-worker.args"), "those elsewhere have TLS"
    assert "spark.network.crypto.enabled=true" in text(part, "spark/spark.conf")
    assert service(part, "spark-master").environment["SPARK_LOCAL_IP"] == "127.0.0.1"
    assert f'"--host"\n"{ADDRESS}"' in text(part, "spark/master.args"), "the cluster is where it was"
    assert (probe(part).page.address, probe(part).page.certificate) == ("127.0.0.1", "")
    assert "port=20002\n" in text(part, "spark/remote-worker.sh"), "of RPC, which they can reach"


def probe(part: Part) -> SparkWorkers:
    (check,) = part.checks
    assert isinstance(check.ready, SparkWorkers)
    return check.ready


@pytest.mark.parametrize("release", ["4.0.1", "3.5.9"])
def test_its_secrets_are_in_files_that_are_erased(release: str) -> None:
    part = cluster(release)
    held = {file.name for file in part.files if file.secret}
    assert {STORE, "spark/spark.conf", "spark/master.args"} <= held
    password = TLS.store_password.reveal()
    assert not [file.name for file in part.files if file.name not in held and password in str(file.content)]


def test_without_tls_nothing_is_different() -> None:
    off = replace(context(), tls=None)
    assert spark_tls.properties(off) == spark_tls.master_properties(off) == spark_tls.worker_properties(off) == {}
    assert spark_tls.interface_certificate(off) == spark_tls.interface_certificate_file(off) == ""


# --- proofs ---


class Login(http.server.BaseHTTPRequestHandler):
    """As much of Jupyter as the proof looks at."""

    asked: list[str]

    def do_GET(self) -> None:
        if "Content-Length" in self.headers:
            self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(self.path)
        self.send_response({"/api": 200, "/login": 302}.get(self.path, 403))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(identity: Identity, directory: Path) -> Iterator[tuple[int, list[str]]]:
    asked: list[str] = []
    server = http.server.HTTPServer(("127.0.0.1", 0), type("Handler", (Login,), {"asked": asked}))
    server.socket = server_context(identity, directory).wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    try:
        yield int(server.server_address[1]), asked
    finally:
        server.shutdown()
        server.server_close()


def server_context(identity: Identity, directory: Path) -> ssl.SSLContext:
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(*files(identity, directory))
    return found


def files(identity: Identity, directory: Path) -> list[str]:
    for name, content in (("certificate.pem", identity.certificate), ("key.pem", identity.key.reveal())):
        (directory / name).write_text(content)
    return [str(directory / "certificate.pem"), str(directory / "key.pem")]


@pytest.mark.parametrize(("shown", "ready"), [(TLS, True), (OTHER, False)])
def test_a_proof_tells_its_password_to_nobody_with_another_certificate(
    tmp_path: Path, shown: Tls, ready: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ood_runtime.ports.ours", lambda *_: True)
    with serving(shown.front, tmp_path) as (port, asked):
        login = JupyterLogin("127.0.0.1", port, "/", Secret("password"), TLS.front.certificate)
        answer = login({1})
    assert answer.ready == ready, answer.detail
    assert bool(asked) == ready
    assert ready or "certificate verify failed" in answer.detail


# --- in front of what has none ---


def test_a_relay_hands_on_both_ways_until_one_side_ends(tmp_path: Path) -> None:
    """Large, so that neither side's buffers hold it."""
    large = bytes(range(256)) * 40000
    answer = asyncio.run(exchanged(tmp_path, large))
    assert answer == large[::-1]


async def exchanged(directory: Path, sent: bytes) -> bytes:
    async def reverse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readexactly(len(sent)))[::-1])
        await writer.drain()
        writer.close()

    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    async with await asyncio.start_server(reverse, "127.0.0.1", 0) as behind:
        target = behind.sockets[0].getsockname()[1]
        settings: dict[str, Any] = {"address": "127.0.0.1", "port": port, "target": target}
        relay = asyncio.ensure_future(tls_relay.serve({**settings, "tls": files(TLS.front, directory)}))
        reader, writer = await connected(port)
        writer.write(sent)
        await writer.drain()
        answer = await reader.read(-1)
        writer.close()
        behind.close()
        await behind.wait_closed()
        reader, writer = await connected(port)
        assert await reader.read(-1) == b"", "nobody is behind it, who could be anybody"
        writer.close()
        relay.cancel()
    return answer


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    trusting = ssl.create_default_context(cadata=TLS.front.certificate)
    for _ in range(200):
        try:
            return await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="localhost")
        except ConnectionRefusedError:
            await asyncio.sleep(0.02)
    raise AssertionError("the relay does not listen")
