"""A session whose every listener speaks TLS, with a certificate of its own that goes with it."""

import http.client
import ipaddress
import ssl
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from cryptography import x509

from ood_runtime import java_properties, pinned, tls, ui_filter
from ood_runtime.secret import Secret
from tests.support.faults import Place, assert_gone, launched, place, traces
from tests.support.jupyter import log_in
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
def test_whatever_listens_shows_the_sessions_certificate(at: Place, release: str) -> None:
    env = {"SPARK_HOME": str(need_spark35())} if release == "3.5" else {}
    with launched(at, "jupyter-spark", *ON, env=env) as session:
        seen = traces(session)
        connection = session.connection()
        host = str(connection["host"])
        assert connection["base_url"] == f"/secure-node/{host}/{connection['port']}/"
        certificate = Path(str(connection["certificate"])).read_text()
        assert_names(certificate, host)
        client = log_in(connection)  # trusts this certificate, for this host
        kernel = client.start_kernel()
        assert client.run(kernel, SHUFFLE).strip() == "7"
        assert_closed(session, client.run(kernel, "sc.uiWebUrl").strip("'"), certificate, release)
        client.close()
        with_tls, without = java_ports(session, certificate)
        # Web interfaces, RPC and block managers; ports that lead to the former, and what is for this node alone.
        assert (len(with_tls), len(without)) == ((8, 4) if release == "4" else (3, 9)), (with_tls, without)
        keys = [session.directory / "ood-runtime" / name for name in (tls.KEY, tls.STORE)]
        assert [stat.S_IMODE(key.stat().st_mode) for key in keys] == [0o600, 0o600]
    assert_gone(session, seen)
    assert not [key for key in keys if key.exists()]


def assert_names(certificate: str, host: str) -> None:
    loaded = x509.load_pem_x509_certificate(certificate.encode())
    names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {host, "localhost"} <= set(names.get_values_for_type(x509.DNSName))
    assert ipaddress.ip_address("127.0.0.1") in names.get_values_for_type(x509.IPAddress)


def assert_closed(session: RunningSession, url: str, certificate: str, release: str) -> None:
    """The page at ``url`` comes over TLS, and only to who has the token."""
    entries = java_properties.read((session.directory / "ood-runtime/spark/spark.conf").read_text())
    (key,) = [value for name, value in entries.items() if name.endswith((".param.secretKey", ".param.token"))]
    token = ui_filter.authorization((4, 0) if release == "4" else (3, 5), Secret(key)).reveal()
    place = urlsplit(url)
    assert place.scheme == "https"
    answers = []
    for headers in ({}, {"Authorization": token}):
        with closing(pinned.connection(str(place.hostname), place.port or 0, 20, certificate)) as page:
            page.request("GET", "/jobs/", headers=headers)
            answers.append(page.getresponse().status)
    assert answers == [403, 200]


def java_ports(session: RunningSession, certificate: str) -> tuple[list[int], list[str]]:
    """The ports of the session's Java programs that show this certificate, and what is known of the others."""
    with_tls, without = [], []
    for pid, command in session.processes().items():
        if "java" not in command:
            continue
        for found in psutil.Process(pid).net_connections("tcp"):
            if found.status != psutil.CONN_LISTEN:
                continue
            address = found.laddr.ip.removeprefix("::ffff:")
            try:
                shown = ssl.get_server_certificate((address, found.laddr.port), timeout=20)
            except OSError:
                without.append(f"{command.split()[-1]} {plain(address, found.laddr.port)}")
            else:
                assert shown.strip() == certificate.strip()
                with_tls.append(found.laddr.port)
    return with_tls, without


def plain(address: str, port: int) -> str:
    """What a port without TLS answers to HTTP: nothing else than where to go instead, or no HTTP at all."""
    with closing(http.client.HTTPConnection(address, port, timeout=20)) as client:
        try:
            client.request("GET", "/json/")
            answer = client.getresponse()
        except (OSError, http.client.HTTPException):
            assert address == "127.0.0.1"
            return "no HTTP"
        assert (answer.status, answer.read()) == (302, b""), port
        assert answer.headers["Location"].startswith("https://")
        return "redirect"
