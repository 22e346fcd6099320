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
from tests.standins.rserver import install
from tests.support.faults import Place, assert_gone, kill, launched, pid_of, place, soon, traces
from tests.support.jupyter import JupyterClient, log_in
from tests.support.needs import need, need_spark35
from tests.support.rstudio import RStudioClient
from tests.support.running import RunningSession

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

ON = ("--set", "tls.mode=self-signed", "--set", "portal.origin=https://ood.example.org")
RELEASE = (2026, 5, 0)
# Spark 4: web interfaces, RPC and block managers have TLS; ports that only lead to the former have not, nor has py4j,
# which is for this node alone. So is all of Spark 3.5 here.
WITHOUT = {"4": [*["leads to https"] * 3, "no HTTP"], "3.5": [*["closed"] * 3, *["no HTTP"] * 6]}
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
        assert_pages_come(client)
        client.close()
        with_tls, without = java_ports(session, certificate)
        assert len(with_tls) == (8 if release == "4" else 0), without
        assert sorted(without) == WITHOUT[release]
        keys = [session.directory / "ood-runtime" / name for name in (tls.KEY, tls.STORE)]
        assert [stat.S_IMODE(key.stat().st_mode) for key in keys] == [0o600, 0o600]
    assert_gone(session, seen)
    assert not [key for key in keys if key.exists()]


def test_rstudio_has_tls_in_front(at: Place) -> None:
    need("R")
    install(at.root / "rstudio", RELEASE)
    command = ("--set", f"rstudio.command={at.root / 'rstudio/bin/rserver'}")
    with launched(at, "rstudio", *ON, *command) as session:
        connection = {key: str(value) for key, value in session.connection().items()}
        assert connection["base_url"] == f"/secure-rnode/{connection['host']}/{connection['port']}/"
        client = RStudioClient(f"https://{connection['host']}:{connection['port']}/")
        client.http.trust_env, client.http.verify = False, connection["certificate"]
        assert client.sign_in(connection["username"], "wrong", token=connection["csrf_token"]) == "1"
        assert client.sign_in(connection["username"], connection["password"], token=connection["csrf_token"]) == ""
        assert client.run("sum(1:1000)").strip() == "[1] 500500"
        client.close()
        relay, rserver = (pid_of(session, name) for name in ("rstudio-tls", "rstudio"))
        kill(relay)
        soon(lambda: pid_of(session, "rstudio-tls") not in (relay, None), "another relay")
        assert pid_of(session, "rstudio") == rserver
        assert session.stop() == 143


def assert_names(certificate: str, host: str) -> None:
    loaded = x509.load_pem_x509_certificate(certificate.encode())
    names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {host, "localhost"} <= set(names.get_values_for_type(x509.DNSName))
    assert ipaddress.ip_address("127.0.0.1") in names.get_values_for_type(x509.IPAddress)


def assert_pages_come(client: JupyterClient) -> None:
    """By Jupyter and the master: its own page, a worker's and an application's."""
    state = client.request("GET", "sparkui/json/").json()
    found = [f"proxy/{state['workers'][0]['id']}/", f"proxy/{state['activeapps'][0]['id']}/jobs/"]
    answers = {path: client.request("GET", f"sparkui/{path}") for path in ("", *found)}
    assert [answer.status_code for answer in answers.values()] == [200] * 3
    assert "Completed Jobs" in answers[found[1]].text


def assert_closed(session: RunningSession, url: str, certificate: str, release: str) -> None:
    """The page at ``url`` comes, over TLS where it can, only to who has the token."""
    entries = java_properties.read((session.directory / "ood-runtime/spark/spark.conf").read_text())
    (key,) = [value for name, value in entries.items() if name.endswith((".param.secretKey", ".param.token"))]
    token = ui_filter.authorization((4, 0) if release == "4" else (3, 5), Secret(key)).reveal()
    place = urlsplit(url)
    assert place.scheme == ("https" if release == "4" else "http")
    answers = []
    for headers in ({}, {"Authorization": token}):
        with closing(
            pinned.connection(str(place.hostname), place.port or 0, 20, certificate if release == "4" else "")
        ) as page:
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
                without.append(plain(address, found.laddr.port))
            else:
                assert shown.strip() == certificate.strip()
                with_tls.append(found.laddr.port)
    return with_tls, without


def plain(address: str, port: int) -> str:
    """What a port without TLS answers to a stranger who speaks HTTP."""
    assert address == "127.0.0.1"
    with closing(http.client.HTTPConnection(address, port, timeout=20)) as client:
        try:
            client.request("GET", "/json/")
            answer = client.getresponse()
        except (OSError, http.client.HTTPException):
            return "no HTTP"
        if answer.status == 403:
            return "closed"
        assert (answer.status, answer.read()) == (302, b""), port
        assert answer.headers["Location"].startswith("https://")
        return "leads to https"
