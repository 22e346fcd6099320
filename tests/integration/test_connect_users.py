"""What another user of the node can do to a Spark Connect server that notebooks share: nothing."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest

from tests.support.accounts import Account
from tests.support.faults import launched, place
from tests.support.running import RunningSession

pytestmark = [pytest.mark.root, pytest.mark.integration]

WITHIN = 240.0  # seconds, of a busy machine
CLIENT = """import os, sys
from pyspark.sql import SparkSession
token = sys.stdin.read()
if token:
    os.environ["SPARK_CONNECT_AUTHENTICATE_TOKEN"] = token
spark = SparkSession.builder.remote(sys.argv[1]).create()
print("sum", spark.range(10).selectExpr("sum(id)").first()[0])
"""
# In both families, with and without sharing the port: the owner's clients say localhost, which means either.
TAKE = """import socket, sys
for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET6, "::")):
    for option in (None, socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        taken = socket.socket(family)
        if option:
            taken.setsockopt(socket.SOL_SOCKET, option, 1)
        try:
            taken.bind((address, int(sys.argv[1])))
            taken.listen()
            print(address, option)
        except OSError:
            pass
        taken.close()
"""


@contextmanager
def shared() -> Iterator[tuple[RunningSession, int, str]]:
    """A session with a Spark Connect server that listens, its port and its token."""
    with place() as at:
        at.root.chmod(0o755)  # what protects the session must be the session's own
        with launched(at, "jupyter-spark", "--set", "spark.sharing=connect") as session:
            session.connection()

            def token() -> str | None:
                services = session.status()["services"]
                assert isinstance(services, list)
                ready = any(s["name"] == "spark-connect" and s["state"] == "ready" for s in services)
                return (session.directory / "ood-runtime/spark/connect.token").read_text() if ready else None

            found = session.wait_for(token, "a Spark Connect server", WITHIN)
            wrapper = (session.directory / "ood-runtime/pyspark_shared_kernel.sh").read_text()
            session.add_secret(found)  # which no file may hold after the end
            yield session, int(wrapper.partition("sc://localhost:")[2].split()[0]), found


def ask(who: Account, port: int, token: str) -> str:
    done = who.run([sys.executable, "-c", CLIENT, f"sc://localhost:{port}"], input_text=token, timeout=WITHIN)
    return done.stdout + done.stderr


def test_a_connect_server_and_another_user(mallory: Account) -> None:
    with shared() as (session, port, token):
        for wrong in ("", "x" * 64, token[:-1], token.upper() + "0"):
            said = ask(mallory, port, wrong)
            assert "sum" not in said.split() and "UNAUTHENTICATED" in said, said
        assert "sum 45" in ask(mallory, port, token)  # it was the token that was missing
        assert mallory.run([sys.executable, "-c", TAKE, str(port)]).stdout == ""
        _only_on_loopback(session, port)
        files = list((session.directory / "ood-runtime").rglob("connect*"))
        assert len(files) >= 5 and mallory.run(["cat", *map(str, files)]).stdout == ""
        assert not [line for line in session.processes().values() if token in line]
        logs = [path.read_text(errors="replace") for path in (session.directory / "logs").iterdir()]
        assert not [text for text in logs if token in text]


def _only_on_loopback(session: RunningSession, port: int) -> None:
    listening = set()
    for pid in session.processes():
        with suppress(psutil.Error):
            listening |= {s.laddr for s in psutil.Process(pid).net_connections("tcp") if s.status == psutil.CONN_LISTEN}
    assert {address.ip.removeprefix("::ffff:") for address in listening if address.port == port} == {"127.0.0.1"}
