"""Sessions of every shape on two nodes of a batch job, and what another user gets from them: nothing.

What needs one node only is in tests/integration: test_second_user.py (pages of other sites, sockets and memory of
kernels, files of a driver), test_connect_users.py, test_rstudio_users.py, test_planted.py (what is planted or taken
before a session starts) and test_history.py.
"""

from collections import Counter

import pytest

from tests.security.enemy import Found, problems
from tests.security.intruders import Intruder, soon
from tests.security.scenes import Scene, sayings
from tests.support.accounts import user_of_tests
from tests.support.jupyter import JupyterClient

pytestmark = [pytest.mark.root, pytest.mark.integration, pytest.mark.timeout(600)]

BOTH_NODES = {"Spark worker: RPC, drawn by the kernel": 2, "Spark worker: web interface, drawn by the kernel": 2}
IDLE = {"Spark master: RPC, from the range": 1, "Spark master: web interface, from the range": 1, **BOTH_NODES}
# Where Spark 3.5 has TLS the web interfaces of the first node stay there.
IDLE_3_5 = {"Spark master: RPC, from the range": 1, "Spark worker: RPC, drawn by the kernel": 2}


def look(at: Scene) -> tuple[list[Found], Counter[str]]:
    """All ports of all nodes as mallory finds them, and what they are; each must be as docs/security.md says."""
    seen = at.enemy.scan()
    found = at.enemy.talk(seen, ("/files/none", "/jars/none.jar", "/artifacts/../../../etc/passwd", "1_0"), sayings(at))
    wrong, rows = problems(found, tls=at.shape.tls, release=at.shape.release)
    if wrong:
        found = at.enemy.ask_again(seen, found)
        wrong, rows = problems(found, tls=at.shape.tls, release=at.shape.release)
    report = "\n".join(map(str, found))
    print(report)
    assert not wrong, "\n".join(wrong)
    idle = IDLE_3_5 if at.shape.tls and at.shape.release < (4, 0) else IDLE
    assert {name: rows[name] for name in idle} == idle, report
    # Nothing by names that everybody may use, nobody's socket, and nothing without connections.
    for node in at.enemy.nodes:
        assert not [name for name in seen.sockets[node] if name.startswith("@")], node
        assert not seen.entered[node], node
        assert not [port for port, uid in seen.udp[node] if uid == user_of_tests().uid], node
    at.sockets = seen.sockets
    return found, rows


def test_ready(at: Scene) -> None:
    """Idle, and before anybody has logged in."""
    at.wait_until_quiet()
    look(at)


def test_at_work(at: Scene) -> None:
    """With a job that sends things between the nodes all the time."""
    at.use()
    at.found, rows = look(at)
    absent = [name for name in at.shape.opens if not any(row.startswith(name) for row in rows)]
    assert not absent, rows
    if at.shape.app == "jupyter-spark":
        # Shell, control, stdin, iopub and heartbeat, none of which let mallory in.
        assert len([name for name in at.sockets[at.enemy.nodes[0]] if "/kernel-" in name]) >= 5
        soon(at.session.directory / "logs/jupyter.log", r"\b401 POST \S*/login")
    else:
        soon(at.session.directory / "logs/spark-ui.log", r"\b403 POST /ood-runtime/login")


def test_spark_lets_in_only_who_knows_its_secret(at: Scene) -> None:
    """Its own client, at every port that other nodes reach, with no secret, a wrong one and an earlier session's."""
    own = at.keys()["spark"]
    secrets = {"none": "", "wrong": "x" * 43, "kept": at.kept.get("spark", own[:-1] + "x"), "right": own}
    tls = at.shape.tls and at.shape.release >= (4, 0)  # 3.5 knows none for its RPC
    told = Intruder(at.enemy, at.spark_home()).knock(at.found, secrets, tls=tls)
    assert len(told) >= 6, told  # master, two workers, driver and its block manager, an executor
    for port, answers in told.items():
        assert answers.pop("right") == "in", (port, answers)  # it is the secret that the others lack
        assert "in" not in answers.values(), (port, answers)
        print(port, answers)


def test_neither_a_worker_nor_an_executor_of_mallorys_gets_in(at: Scene) -> None:
    if at.shape.tls or not at.driver or not isinstance(at.client, JupyterClient):
        return  # the knocks above are all there is: with TLS they need a certificate, too
    intruder, own = Intruder(at.enemy, at.spark_home()), at.keys()["spark"]
    wrong, master = at.kept.get("spark", own[:-1] + "x"), str(at.connection["spark_master"])
    driver = f"{at.address()}:{at.driver}"
    logs = at.session.directory / "logs"
    assert "Failed to connect to master" in intruder.worker(master, wrong, "Failed to connect|Successfully registered")
    assert "Exception" in intruder.executor(driver, wrong, "Exception in thread|Successfully registered")
    assert at.workers() == 2
    print(soon(logs / "spark-master.log", "AuthRpcHandler"))
    assert "Success" in intruder.worker(master, own, "Failed to connect|Successfully registered")
    assert "Success" in intruder.executor(driver, own, "Exception in thread|Successfully registered")


def test_no_secret_shows_on_any_node(at: Scene) -> None:
    secrets = {value for name, value in at.keys().items() if name != "csrf_token"} | at.session.secrets()
    secrets |= {secret.removeprefix("Bearer ") for secret in secrets}
    assert len(secrets) >= 6 and all(len(secret) >= 16 for secret in secrets), sorted(map(len, secrets))
    places = [str(at.session.job.directory), str(at.session.directory)]
    assert at.enemy.files(places, secrets) == {}
    found = at.enemy.files(places, secrets, user=user_of_tests())
    assert str(at.session.directory / "connection.yml") in found[at.enemy.nodes[0]]  # the search finds what is there
    assert any("/environ" in path for path in found[at.enemy.nodes[1]])  # _SPARK_AUTH_SECRET of an executor
    assert not [line for line in at.watcher.seen for secret in secrets if secret in line]
    assert any("CoarseGrained" in line for line in at.watcher.seen)
    logs = [path.read_text(errors="replace") for path in (at.session.directory / "logs").iterdir()]
    assert not [text[:200] for text in (*logs, at.session.job.output()) for secret in secrets if secret in text]
