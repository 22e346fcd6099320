"""A session and its secrets as another user of the node may see them: command lines, ports, files."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import requests

from ood_runtime import ui_filter
from ood_runtime.secret import Secret
from tests.support.accounts import Account, second_user, user_of_tests
from tests.support.faults import Place, launched, place
from tests.support.jupyter import JupyterClient, log_in
from tests.support.running import RunningSession

PYTHON = "/usr/bin/python3"  # what mallory surely has
SECRETS_OF_KERNEL = """import json, os
sc.parallelize(range(4), 2).sum()
worker = sc.parallelize([0], 1).map(lambda _: os.environ.get("PYTHON_WORKER_FACTORY_SECRET", "")).first()
print(json.dumps({
    "py4j": sc._gateway.gateway_parameters.auth_token, "worker": worker, "ui": sc.uiWebUrl,
    "accumulators": sc._accumulatorServer.auth_token, "kernel": get_ipython().kernel.session.key.decode(),
    "driver": sc.getConf().get("spark.driver.port"),
}))"""
GREP = """import os, sys
patterns = [line.encode() for line in sys.stdin.read().split()]
for top in sys.argv[1:]:
    for root, _, names in os.walk(top):
        for name in names:
            path = os.path.join(root, name)
            try:
                content = open(path, 'rb').read() if os.path.isfile(path) else b''
            except OSError:
                continue
            if any(pattern in content for pattern in patterns):
                print(path)"""


@dataclass
class Watcher:
    """Root's eye on every command line of the machine, as long as the context lasts."""

    seen: set[str] = field(default_factory=set)
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Watcher":
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.03):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue  # ended


@dataclass(frozen=True)
class Scene:
    """A session with a notebook that has computed, and all that must stay secret."""

    at: Place
    session: RunningSession
    client: JupyterClient
    kernel: str
    watcher: Watcher
    facts: dict[str, str]
    secrets: frozenset[str]
    scratch: tuple[Path, ...]
    waiting: dict[str, dict[str, str]]  # what a stranger heard from the driver that waited for the notebook

    def pids(self) -> list[int]:
        return list(self.session.processes())

    def master(self) -> str:
        """What the master says in its /json/ to who has the token."""
        key = next(secret for secret in properties(self.session).items() if secret[0].endswith("secretKey"))[1]
        token = ui_filter.authorization((4, 3), Secret(key)).reveal()
        ports = [one.port for one in listening(self.pids()) if "/master.args" in one.line]
        for port in ports:
            try:
                url = f"http://127.0.0.1:{port}/json/"
                return requests.get(url, headers={"Authorization": token}, timeout=3).text
            except requests.RequestException:
                continue  # the other of the two
        raise AssertionError(f"the master answers at none of {ports}")


@contextmanager
def session_of_two() -> Iterator[Scene]:
    """A session of the one user, watched for what the other can see, to its end."""
    second_user()
    with place() as at, Watcher() as watcher:
        at.root.chmod(0o755)  # what protects the session must be the session's own
        with launched(at, "jupyter-spark", env={"TMPDIR": None}) as session:
            connection = session.connection()
            client = log_in(connection)
            waiting = stranger(second_user(), *session.wait_for(lambda: _driver_ports(session), "a warm driver"))
            kernel = client.start_kernel()
            facts = json.loads(client.run(kernel, SECRETS_OF_KERNEL))
            secrets, outside = _secrets(session, client, facts), _outside(session)
            scene = Scene(at, session, client, kernel, watcher, facts, secrets, outside, waiting)
            yield scene
            client.close()
            assert session.stop() == 143
            assert_nothing_shows(scene)
            assert not (left := find_secrets(scene, user_of_tests())), left


def stranger(mallory: Account, *words: object) -> dict[str, dict[str, str]]:
    """What mallory hears from these ports, saying everything that a protocol might take; ``words`` go along."""
    program = (Path(__file__).parent / "stranger.py").read_text()
    done = mallory.run([PYTHON, "-c", program, *map(str, words)], timeout=120)
    assert done.returncode == 0, done.stderr
    answers: dict[str, dict[str, str]] = json.loads(done.stdout)
    return answers


def _driver_ports(session: RunningSession) -> list[int] | None:
    """The ports of drivers, as soon as there are any."""
    return [one.port for one in listening(list(session.processes())) if "/driver.args" in one.line] or None


def _outside(session: RunningSession) -> tuple[Path, ...]:
    record = json.loads((session.directory / "ood-runtime/session.json").read_text())
    return tuple(Path(path) for path in record["outside"])


def properties(session: RunningSession) -> dict[str, str]:
    lines = (session.directory / "ood-runtime/spark/spark.conf").read_text().splitlines()
    return {found[1]: found[2] for line in lines if (found := re.match(r"(\S+?)[ =]+(\S+)$", line))}


def _secrets(session: RunningSession, client: JupyterClient, facts: dict[str, str]) -> frozenset[str]:
    entries = properties(session)
    key = next(value for name, value in entries.items() if name.endswith("secretKey"))
    config = (session.directory / "ood-runtime/jupyter/jupyter_config.py").read_text()
    hashes = re.findall(r"argon2:[^\"']+", config)
    assert hashes and len(entries["spark.authenticate.secret"]) >= 43
    kernel = [facts[name] for name in ("py4j", "worker", "accumulators", "kernel") if facts[name]]
    cookies = [cookie.value or "" for cookie in client.http.cookies]
    found = {*session.secrets(), *hashes, *kernel, *cookies, key, ui_filter.jws_token(Secret(key)).reveal()}
    assert len(found) >= 9 and all(len(secret) >= 16 for secret in found)
    return frozenset(found)


@dataclass(frozen=True, order=True)
class Listener:
    """A TCP port that a process of the session listens on."""

    pid: int
    line: str
    port: int
    address: str


def listening(pids: list[int]) -> list[Listener]:
    """All of these processes."""
    found = set()
    for pid in pids:
        try:
            process = psutil.Process(pid)
            line = " ".join(process.cmdline())
            sockets = [s for s in process.net_connections("tcp") if s.status == psutil.CONN_LISTEN]
        except psutil.Error:
            continue
        found |= {Listener(pid, line, s.laddr.port, s.laddr.ip.removeprefix("::ffff:")) for s in sockets}
    return sorted(found)


def find_secrets(scene: Scene, who: Account) -> str:
    """The files of the session, wherever they are, in which this user finds a secret."""
    places = [str(path) for path in (scene.at.root, *scene.scratch, scene.session.directory)]
    done = who.run([PYTHON, "-c", GREP, *places], input_text="\n".join(scene.secrets))
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_nothing_shows(scene: Scene) -> None:
    """No command line, log or output told a secret so far, and no file that another user can read holds one."""
    logs = (scene.session.directory / "logs").iterdir()
    told = [scene.session.output(), *(path.read_text(errors="replace") for path in logs)]
    assert not [text for text in (*told, *scene.watcher.seen) for secret in scene.secrets if secret in text]
    assert find_secrets(scene, second_user()) == ""
