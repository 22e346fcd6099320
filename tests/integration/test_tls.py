"""A session whose every listener speaks TLS, with a certificate of its own that goes with it."""

import os
import socket
import ssl
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.support.faults import Place, assert_gone, launched, place, traces
from tests.support.jupyter import log_in, url_of
from tests.support.needs import need_spark35
from tests.support.running import RunningSession

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

ON = ("--set", "tls.mode=self-signed", "--set", "portal.origin=https://ood.example.org")
SHUFFLE = "sc.parallelize(range(1000), 4).map(lambda n: (n % 7, n)).groupByKey().count()"


@pytest.fixture
def at() -> Iterator[Place]:
    with place() as new:
        yield new


@pytest.mark.parametrize("release", ["4", "3.5"])
def test_every_port_speaks_tls_and_shows_the_same_certificate(at: Place, release: str) -> None:
    env = {"SPARK_HOME": str(need_spark35())} if release == "3.5" else {}
    with launched(at, "jupyter-spark", *ON, env=env) as session:
        seen = traces(session)
        connection = session.connection()
        assert connection["base_url"] == f"/secure-node/{connection['host']}/{connection['port']}/"
        client = log_in(connection)
        kernel = client.start_kernel()
        assert client.run(kernel, SHUFFLE).strip() == "7"
        ui = client.run(kernel, "sc.uiWebUrl").strip("'")
        shown = what_ports_show(session)
        print(release, ui, shown)
        client.close()
    assert_gone(session, seen)


def what_ports_show(session: RunningSession) -> dict[tuple[str, int], str]:
    found = {}
    for pid, command in session.processes().items():
        try:
            listening = [c for c in psutil.Process(pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        except psutil.NoSuchProcess:
            continue
        for connection in listening:
            try:
                text = ssl.get_server_certificate((connection.laddr.ip.removeprefix("::ffff:"), connection.laddr.port), timeout=5)
                found[command[:30] + command[-60:], connection.laddr.port] = x509.load_pem_x509_certificate(text.encode()).fingerprint(hashes.SHA256()).hex()[:8]
            except OSError as e:
                found[command[:30] + command[-60:], connection.laddr.port] = f"plain {e}"
    return found
