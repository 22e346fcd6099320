"""Sessions in batch jobs of two nodes with everything that opens ports, and what mallory kept of an earlier one."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from ood_runtime import ui_filter
from ood_runtime.secret import Secret
from tests.security.enemy import Enemy, Found
from tests.slurm.sessions import REPOSITORY, JobSession, start
from tests.slurm.spark_jobs import MEMORY, SMALL, spark
from tests.standins.rserver import install
from tests.support.accounts import user_of_tests
from tests.support.jupyter import JupyterClient, log_in
from tests.support.needs import need, need_spark35
from tests.support.rstudio import RStudioClient
from tests.support.running import files_below
from tests.support.session_of_two import SECRETS_OF_KERNEL, Watcher
from tests.support.spark_interfaces import spark_home

RSERVER = (2026, 5, 0)
ON = ("tls.mode=self-signed", "portal.origin=https://ood.example.org")
# All the time something is sent to the executors, between them, and back. A stranger who comes first to a port that the
# notebook has just opened for itself makes a job fail, no more.
LOAD = """import threading, time
def work():
    pairs = sc.parallelize(range(4000), 8).map(lambda n: (n % 97, "x" * 200)).cache()
    held = sc.broadcast(list(range(1000)))
    while not stop.is_set():
        try:
            done.append(pairs.map(lambda pair: (pair[0], len(held.value))).groupByKey(8).count())
        except Exception as error:
            done.append(repr(error))
        time.sleep(0.2)  # for others
stop, done = threading.Event(), []
threading.Thread(target=work, daemon=True).start()"""
SHARED_LOAD = """import threading, time
from pyspark.sql.functions import udf
def work():
    rows = spark.range(0, 20000, 1, 8).select(udf(lambda n: str(n % 97))("id").alias("key"))
    while not stop.is_set():
        done.append(rows.groupBy("key").count().count())
        time.sleep(0.2)
stop, done = threading.Event(), []
threading.Thread(target=work, daemon=True).start()"""
WORKED = """import time
deadline = time.time() + 120
while not done:
    assert time.time() < deadline
    time.sleep(0.1)
print(done[-1])"""
_PUBLISHED = ("password", "xsrf", "csrf_token", "spark_ui_secret")
SPARK_CLIENT = REPOSITORY / "tests" / "support" / "spark_backend.R"


@dataclass(frozen=True)
class Shape:
    """What a session is like."""

    name: str
    settings: tuple[str, ...] = ()
    app: str = "jupyter-spark"
    tls: bool = False
    release: tuple[int, int] = (4, 3)
    kernel: str = "pyspark"
    waiting: tuple[str, int] = ("/master.args", 2)  # how many ports of what there are when it is ready
    opens: tuple[str, ...] = ()  # rows of the table that it has at work, by how they begin

    def words(self) -> tuple[str, ...]:
        """Its settings."""
        return (*self.settings, *(ON if self.tls else ()))


_ALL = ("Jupyter", "kernel", "executor: block manager", "executor's Python workers")
_OWN = (
    *_ALL,
    "driver of a notebook, also one that waits for it: py4j",
    "driver of a notebook or of R",
    "PySpark kernel",
)
_MOVED = "Spark 4: master, worker, driver"
_R = (
    "relay before RStudio Server",
    "RStudio Server behind it",
    "gateway to",
    "driver of R (SparkR)",
    "executor: block",
)
# What these open is in the others too, in other company: two minutes each, where somebody asks for them.
_MORE = (
    Shape("one-off", ("spark.sharing=one", "spark.warm=off"), opens=_OWN),
    Shape(
        "connect",
        ("spark.sharing=connect",),
        kernel="pyspark-shared",
        waiting=("/connect.args", 4),
        opens=(*_ALL, "Spark Connect server ("),
    ),
    Shape(
        "3.5-fair-tls",
        ("spark.sharing=fair", "spark.warm=context"),
        release=(3, 5),
        tls=True,
        waiting=("/driver.args", 4),
        opens=_OWN,
    ),
    Shape("rstudio", app="rstudio-spark", opens=("RStudio Server", *_R[2:])),
)
SHAPES = (
    Shape("fair-context", ("spark.sharing=fair", "spark.warm=context"), waiting=("/driver.args", 4), opens=_OWN),
    Shape(
        "connect-tls",
        ("spark.sharing=connect",),
        tls=True,
        kernel="pyspark-shared",
        waiting=("/connect.args", 5),
        opens=(*_ALL, "Spark Connect server (", _MOVED),
    ),
    Shape(
        "3.5-one-gateway",
        ("spark.sharing=one", "spark.warm=gateway"),
        release=(3, 5),
        waiting=("/driver.args", 1),
        opens=_OWN,
    ),
    Shape("rstudio-tls", app="rstudio-spark", tls=True, opens=(*_R, _MOVED)),
    *(_MORE if "OOD_TEST_ALL_SHAPES" in os.environ else ()),
)


@dataclass
class Scene:
    """A session that is ready, and mallory. ``kept`` is what opened doors of an earlier session, by what it was."""

    shape: Shape
    session: JobSession
    enemy: Enemy
    watcher: Watcher
    kept: dict[str, str]
    connection: dict[str, Any]
    facts: dict[str, str] = field(default_factory=dict)
    found: list[Found] = field(default_factory=list)  # when it was at work
    sockets: dict[str, set[str]] = field(default_factory=dict)
    client: JupyterClient | RStudioClient | None = None
    kernel: str = ""
    driver: str = ""  # its port

    def keys(self) -> dict[str, str]:
        """What opens doors of this session, and what an earlier owner's browser has."""
        text = (self.session.directory / "ood-runtime/spark/spark.conf").read_text()
        entries = dict(re.findall(r"^(\S+?)[ =]+(\S+)$", text, re.MULTILINE))
        key = next(value for name, value in entries.items() if name.endswith((".param.secretKey", ".param.token")))
        header = ui_filter.authorization(self.shape.release, Secret(key)).reveal()
        found = {name: str(self.connection[name]) for name in _PUBLISHED if name in self.connection}
        found |= {"authorization": header, "spark": entries["spark.authenticate.secret"], **self.facts}
        if self.client is not None:
            found |= {_cookie(cookie.name): cookie.value or "" for cookie in self.client.http.cookies}
        return {name: value for name, value in found.items() if len(value) >= 16}  # not cookies that say 1

    def address(self) -> str:
        """Of the first node."""
        return self.enemy.cluster.machines.by_name[self.enemy.nodes[0]].address

    def workers(self) -> int:
        """How many the master has, where it has no TLS."""
        arguments = (self.session.directory / "ood-runtime/spark/master.args").read_text()
        port = re.findall(r'"--webui-port"\n"(\d+)"', arguments)[0]
        with self.session.job.cluster.network():
            url, header = f"http://{self.address()}:{port}/json/", {"Authorization": self.keys()["authorization"]}
            return int(requests.get(url, headers=header, timeout=20).json()["aliveworkers"])

    def spark_home(self) -> Path:
        """A Spark like the session's, which mallory has, too."""
        return spark_home("3.5" if self.shape.release < (4, 0) else "4")

    def wait_until_quiet(self, within: float = 90.0) -> None:
        """Wait until everything has opened its ports that does so without being used."""
        mark, count = self.shape.waiting
        look = self.enemy.owners
        self.session.job.wait_for(
            lambda: sum(mark in line for here in look().values() for line in here.values()) >= count or None,
            f"{count} ports of {mark or 'nothing'}",
            within,
        )

    def use(self) -> None:
        """Log in, start a driver, and let it work."""
        with self.session.job.cluster.network():
            if self.shape.app == "rstudio-spark":
                self._use_r()
            else:
                self._use_notebook()

    def run(self, code: str) -> str:
        """What a cell prints."""
        assert isinstance(self.client, JupyterClient)
        with self.session.job.cluster.network():
            return self.client.run(self.kernel, code).strip()

    def _use_notebook(self) -> None:
        self.client = log_in(self.connection)
        self.kernel = self.client.start_kernel(self.shape.kernel)
        if self.shape.kernel == "pyspark":
            told = json.loads(self.client.run(self.kernel, SECRETS_OF_KERNEL))
            self.facts = {name: told[name] for name in ("py4j", "worker", "accumulators", "kernel") if told[name]}
            self.driver = str(told["driver"])
        self.client.run(self.kernel, LOAD if self.shape.kernel == "pyspark" else SHARED_LOAD)
        assert self.client.run(self.kernel, WORKED).strip() in ("97", "'97'")

    def _use_r(self) -> None:
        host, port = self.connection["host"], self.connection["port"]
        self.client = RStudioClient(f"http{'s' if self.shape.tls else ''}://{host}:{port}/")
        self.client.http.trust_env = False
        self.client.http.verify = self.connection.get("certificate", True)
        user, password = str(self.connection["username"]), str(self.connection["password"])
        assert self.client.sign_in(user, password, token=str(self.connection["csrf_token"])) == ""
        begin = f"source('{SPARK_CLIENT}'); backend <- backend_start(); spark <- backend_session(backend)"
        self.client.run(begin)
        query = "SELECT count(*) AS n FROM (SELECT id % 97 AS key, count(*) FROM range(0, 20000, 1, 8) GROUP BY 1)"
        assert '"n":97' in self.client.run(f'cat(backend_query(backend, spark, "{query}"))').replace("\\", "")


@contextmanager
def scene(shape: Shape, enemy: Enemy, kept: dict[str, str]) -> Iterator[Scene]:
    """A session of this shape, ready; afterwards it ends, and what it had to hide is nowhere."""
    with Watcher() as watcher:
        session = _start(shape, enemy)
        connection = session.connection()
        made = Scene(shape, session, enemy, watcher, dict(kept), connection)
        yield made
        if made.client is not None:
            made.client.close()
        keys = [value.removeprefix("Bearer ") for value in made.keys().values()]
        session.job.cancel()
        assert session.job.wait() == "CANCELLED"
        session.assert_gone()
        held = {path: path.read_text(errors="replace") for path in files_below(session.job.directory)}
        assert not [path for path, text in held.items() for key in keys if key in text]


def _start(shape: Shape, enemy: Enemy) -> JobSession:
    cluster = enemy.cluster
    options = ("--nodelist=" + ",".join(enemy.nodes),)
    if shape.app == "jupyter-spark":
        home = f"export SPARK_HOME={need_spark35()}\n" if shape.release < (4, 0) else ""
        return spark(cluster, *shape.words(), options=options, script=f"{home}exec {{start}}").session
    need("R")
    rserver = install(cluster.directory / "rstudio", RSERVER) / "rserver"
    settings = (f"rstudio.command={rserver}", *SMALL, *shape.words())
    words = [word for setting in settings for word in ("--set", setting)]
    geometry = ("--nodes=2", "--ntasks-per-node=1", "--no-requeue", f"--mem={MEMORY}")
    return start(cluster, shape.app, *words, options=(*geometry, *options))


def web(method: str, path: str, body: str = "", **headers: str) -> str:
    """What a browser would send."""
    fields = {
        "Host": "localhost",
        "Connection": "close",
        "Content-Type": "application/x-www-form-urlencoded",
        "Content-Length": str(len(body)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {it}\r\n" for name, it in fields.items()) + f"\r\n{body}"


def sayings(one: Scene) -> dict[str, str]:
    """What mallory says beside to every port: with the keys of an earlier session, or wrong ones."""
    base = str(one.connection.get("base_url", "/"))
    kept = {name: one.kept.get(name, "x" * 43) for name in (*_PUBLISHED, "authorization", "py4j", "login cookie")}
    cookies = "; ".join(
        (
            f"username-{one.connection['host']}-{one.connection['port']}={kept['login cookie']}",
            f"ood-runtime-gateway={kept['spark_ui_secret']}",
            f"_xsrf={kept['xsrf']}",
        )
    )
    return {
        "web wrong token": web("GET", "/json/", Authorization="Bearer x.y.z"),
        "web kept token": web("GET", "/json/", Authorization=kept["authorization"]),
        "web kept token for jobs": web("GET", "/jobs/", Authorization=kept["authorization"]),
        "web kept cookies": web("GET", f"{base}api/kernels", Cookie=cookies),
        "web kept cookies for Spark": web("GET", f"{base}sparkui/json/", Cookie=cookies),
        "web kept cookies at the gateway": web("GET", "/json/", Cookie=cookies),
        "web rpc of RStudio": web("POST", "/rpc/console_input", '{"method":"console_input","params":["1"]}'),
        "web files": web("GET", f"{base}files/"),
        "web kernels": web("POST", f"{base}api/kernels"),
        "web gateway": web("POST", "/ood-runtime/login", f"secret={kept['spark_ui_secret']}"),
        "web sign-in": web("POST", "/auth-do-sign-in", f"username={user_of_tests().name}&password={kept['password']}"),
        "web kept password": web("POST", f"{base}login", f"password={kept['password']}&_xsrf=x", Cookie="_xsrf=x"),
        "py4j with a kept secret": f"A\n{kept['py4j']}\ne\n",
    }


def _cookie(name: str) -> str:
    return "login cookie" if name.startswith("username-") else f"cookie {name}"
