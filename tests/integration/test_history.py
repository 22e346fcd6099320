"""A session that is watched while it computes, and looked at when it is over: by its owner, and by nobody else."""

import json
import os
import re
import shutil
import signal
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import psutil
import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ood_runtime.ports import listeners
from tests.support.accounts import Account
from tests.support.faults import Place, command, launched, place, soon
from tests.support.history import end, history
from tests.support.jupyter import JupyterClient, log_in
from tests.support.needs import need_spark35
from tests.support.running import RunningSession

pytestmark = pytest.mark.integration

APPLICATION = 'a "name" of <b>mine</b>'
NOTEBOOK = f"""
sc.stop()
from pyspark.sql import SparkSession
spark = SparkSession.builder.appName({APPLICATION!r}).config("spark.eventLog.compress", "false").getOrCreate()
sc = spark.sparkContext
print(sc.parallelize(range(1000), 2).sum(), spark.range(100).selectExpr("sum(id)").collect()[0][0])
print(sc.applicationId, sc.uiWebUrl)
"""
SETTINGS = ("spark.event_logs.enabled=true", "spark.prometheus=true", "spark.executor.idle_seconds=600")


@dataclass(frozen=True)
class Over:
    """A session that is over, and what was seen while it ran."""

    at: Place
    directory: Path
    shown: str
    state: dict[str, object]
    metrics: dict[str, tuple[int, str, int]]
    without_logs: str


def seen(session: RunningSession, client: JupyterClient, kernel: str, at: Place) -> Over:
    """Compute, and look at what the session says of it."""
    *_, application, ui = client.run(kernel, NOTEBOOK).split()
    soon(lambda: busy(session), "word of the cores in use")
    config = yaml.safe_load((session.directory / "ood-runtime/spark/prometheus.yml").read_text())
    pages = [
        (job["static_configs"][0]["targets"][0], job["metrics_path"], job["authorization"]["credentials_file"])
        for job in config["scrape_configs"]
    ]
    master, _, token_file = pages[0]
    for path in ("/metrics/executors/prometheus/", "/metrics/prometheus/"):
        pages.append((ui.removeprefix("http://"), path, token_file))
        pages.append((master, f"/proxy/{application}{path}", token_file))
    metrics = {}
    for target, path, file in pages:
        header = {"Authorization": f"Bearer {Path(file).read_text()}"}
        owner = requests.get(f"http://{target}{path}", headers=header, timeout=20)
        stranger = requests.get(f"http://{target}{path}", timeout=20)
        metrics[path.replace(application, "ID")] = (owner.status_code, owner.text, stranger.status_code)
    shown = command(at, "status", session.directory).stdout
    told = json.loads(command(at, "status", session.directory, "--json").stdout)
    return Over(at, session.directory, shown, told, metrics, notebook_without_logs(session, client))


def notebook_without_logs(session: RunningSession, client: JupyterClient) -> str:
    """What a notebook says that can write no event log."""
    logs = session.directory / "spark-events"
    logs.chmod(0o500)
    try:
        return client.run(client.start_kernel(), "print(sc.getConf().get('spark.eventLog.enabled'), sc.version)")
    finally:
        logs.chmod(0o700)


def busy(session: RunningSession) -> bool:
    workers, applications = session.status()["workers"], session.status()["applications"]
    assert isinstance(workers, dict)
    assert isinstance(applications, list)
    named = [application["name"] for application in applications if application["cores"]]
    return named == [APPLICATION] and all(worker["executors"] == 1 for worker in workers["each"])


@pytest.fixture(scope="module")
def over() -> Iterator[Over]:
    flags = [word for setting in SETTINGS for word in ("--set", setting)]
    with place() as at:
        with launched(at, "jupyter-spark", *flags, directory=at.root / "it's, a%20session") as session:
            client = log_in(session.connection())
            found = seen(session, client, client.start_kernel(), at)
            client.close()
        write_long_log(found.directory / "spark-events")
        yield found


LONG = "app-20260101000000-4242"


def write_long_log(logs: Path) -> None:
    """A log whose middle was emptied: the application's own, under another identifier."""
    (text,) = logs.glob("*/events_1_*[0-9]")
    own = re.findall(r"app-\d+-\d+", text.name)[0]
    lines = text.read_text().replace(own, LONG).splitlines(keepends=True)
    log = logs / f"eventlog_v2_{LONG}"
    log.mkdir(mode=0o755)
    (log / f"appstatus_{LONG}").touch()
    middle = len(lines) // 2
    for number, some in ((1, lines[:middle]), (4, lines[middle:])):
        (log / f"events_{number}_{LONG}").write_text("".join(some))
    for number in (2, 3):
        (log / f"events_{number}_{LONG}.zstd").touch()


def test_status_shows_who_uses_what(over: Over) -> None:
    text = re.sub(r" +", " ", over.shown)
    workers, applications = over.state["workers"], over.state["applications"]
    assert isinstance(workers, dict)
    assert isinstance(applications, list)
    (worker,) = workers["each"]
    cores = worker["cores"] // 2  # there are as many for another notebook
    assert (worker["cores_used"], worker["memory_used"], worker["memory"]) == (cores, 512 << 20, 1 << 30)
    assert f"alive {cores}/{2 * cores} 0.5/1.0 1\n" in text
    assert f" {APPLICATION} running {cores} " in text
    (application,) = applications
    assert (application["cores"], application["executor_memory"]) == (cores, 512 << 20)
    assert abs(application["started_at"] - time.time()) < 600


def test_metrics_are_for_who_has_the_token(over: Over) -> None:
    of_driver = {
        "/metrics/executors/prometheus/": "metrics_executor_totalCores",
        "/metrics/prometheus/": "metrics_spark_driver_DAGScheduler",
    }
    named = {
        "/metrics/master/prometheus/": "metrics_master_aliveWorkers_Number",
        "/metrics/applications/prometheus/": "metrics_application_",
        **of_driver,
        **{f"/proxy/ID{path}": name for path, name in of_driver.items()},
    }
    assert set(over.metrics) == set(named)
    for path, (owner, text, stranger) in over.metrics.items():
        assert (owner, stranger) == (200, 403), path
        lines = text.replace(APPLICATION, "x")  # which Spark does not quote
        names = [family.name for family in text_string_to_metric_families(lines)]
        assert any(name.startswith(named[path]) for name in names), (path, text)
    assert not list(over.directory.rglob("metrics-token")), "erased with the session"


def test_event_logs_are_whole_and_for_the_owner_only(over: Over) -> None:
    logs = over.directory / "spark-events"
    assert stat.S_IMODE(logs.stat().st_mode) == 0o700
    names = [path.name for path in logs.glob("*/[!.]*") if LONG not in path.name]
    # One as it comes; and one as text, in which the end of the session was searched for secrets.
    assert {re.sub(r"app-[\d-]+", "", name) for name in names if "events" in name} == {"events_1_", "events_1_.zstd"}
    assert len([name for name in names if re.fullmatch(r"appstatus_app-\d+-\d+", name)]) == 2, "both are over"


def test_a_notebook_goes_on_where_no_event_log_can_be_written(over: Over) -> None:
    assert "this application writes no event log: [Errno 13] Permission denied" in over.without_logs
    assert re.search(r"^false \d+\.\d+", over.without_logs, re.MULTILINE), over.without_logs


# --- afterwards ---


@pytest.mark.parametrize("release", ["4", "3.5"])
def test_the_history_is_for_who_has_the_secret(over: Over, release: str) -> None:
    home = str(need_spark35()) if release == "3.5" else None
    with history(over.at, over.directory, home) as shown:
        owner, stranger = shown.log_in(shown.secret), shown.log_in(shown.secret[:-1])
        java, ports = shown.processes()[1], shown.ports()
        assert not any(shown.secret in " ".join(process.cmdline()) for process in shown.processes())
        listed = owner.get(f"{shown.address}api/v1/applications", timeout=60).json()
        (ours,) = [entry for entry in listed if entry["name"] == APPLICATION and entry["id"] != LONG]
        assert ours["attempts"][0]["completed"] is True
        assert LONG in [entry["id"] for entry in listed], "one that has a gap is shown too"
        pages = [
            "",
            f"history/{LONG}/jobs/",
            f"history/{ours['id']}",
            f"history/{ours['id']}/SQL/",
            f"history/{ours['id']}/executors/",
        ]
        for page in pages:
            answer = owner.get(f"{shown.address}{page}", timeout=60)
            assert answer.status_code == 200, (page, answer.text)
            assert answer.url.startswith(shown.address), "redirects stay inside"
            links = re.findall(r"(?:href|src)=\"(/[^\"]*)\"", answer.text)
            assert links
            outside = [link for link in links if not urljoin(shown.address, link).startswith(shown.address)]
            assert outside == [], page
            assert stranger.get(f"{shown.address}{page}", timeout=20).status_code == 403
            assert "app-" not in stranger.get(f"{shown.address}{page}", timeout=20).text
        assert requests.get(urljoin(shown.address, "/"), timeout=20).status_code == 404
        spark = ports - {urlsplit(shown.address).port}
        assert {requests.get(f"http://127.0.0.1:{port}/", timeout=20).status_code for port in spark} == {403}
        end(shown, over.at)
    assert not psutil.pid_exists(java.pid)
    assert not any(listeners(port) for port in ports)


def test_a_history_that_is_killed_takes_its_java_with_it(over: Over) -> None:
    with history(over.at, over.directory) as shown:
        java = shown.processes()[1]
        (left,) = over.at.left()
        assert not any("secretKey" in path.read_text() for path in left.glob("*.conf")), "read, and removed"
        os.kill(shown.process.pid, signal.SIGKILL)
        soon(lambda: not psutil.pid_exists(java.pid), "end of Java")
    shutil.rmtree(left)


LOG = """{"Event":"SparkListenerLogStart","Spark Version":"4.0.0"}
{"Event":"SparkListenerApplicationStart","App Name":"of ada","App ID":"app-1","Timestamp":1767225600000,"User":"ada"}
"""
ASK = """
import sys, urllib.error, urllib.request
for url in sys.argv[1:]:
    try:
        print(url, 200, urllib.request.urlopen(url, timeout=20).read())
    except urllib.error.HTTPError as error:
        print(url, error.code, error.read())
"""


@pytest.mark.root
def test_a_second_user_learns_nothing(mallory: Account) -> None:
    with place() as at:
        at.root.chmod(0o755)
        directory = at.root / "logs"
        directory.mkdir(mode=0o755)
        (directory / "app-1").write_text(LOG)
        with history(at, directory) as shown:
            owner = shown.log_in(shown.secret)
            applications = f"{shown.address}api/v1/applications"
            soon(lambda: "of ada" in owner.get(applications, timeout=60).text, "application", 60)
            paths = ("/", "/api/v1/applications", "/history/app-1/jobs/", "/static/webui.js")
            urls = [f"http://127.0.0.1:{port}{path}" for port in shown.ports() for path in paths]
            asked = mallory.run([sys.executable, "-c", ASK, *urls])
            assert re.findall(r"^http\S+ (\d+)", asked.stdout, re.MULTILINE).count("403") == len(paths), "Spark's port"
            assert re.findall(r"^http\S+ (\d+)", asked.stdout, re.MULTILINE).count("404") == len(paths), "the way in"
            base = urlsplit(shown.address).path.strip("/")
            seen = mallory.run(["ps", "-ef", "ww"]).stdout + asked.stdout
            assert "HistoryServer" not in seen, "not even what runs: it is in a file"
            assert not any(word in seen for word in (base, shown.secret, "of ada"))
            files = [at.root / "secret", *(path / "java.args" for path in at.left())]
            assert [mallory.run(["cat", str(path)]).returncode for path in files] == [1, 1]
            end(shown, at)
