"""What a scientist does, from the form to the end: in a browser, with an app as init writes it, on a real Slurm."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions as until
from selenium.webdriver.support.ui import WebDriverWait

from tests.e2e.browser import Lab, open_browser
from tests.portal import front
from tests.portal.rendering import write_app
from tests.slurm.cluster import Cluster, ClusterSpec, NodeSize, slurm
from tests.slurm.conftest import assert_nothing_left
from tests.support.accounts import user_of_tests
from tests.support.needs import need

pytestmark = [pytest.mark.root, pytest.mark.e2e, pytest.mark.timeout(600)]

REPOSITORY = Path(__file__).parents[2]
NODES = (NodeSize(cpus=4, memory=20000),) * 2
# What the site says; the machine beneath is small.
SITE = {
    "portal": {"origin": front.ORIGIN},
    "spark": {
        "driver": {"memory": "512m"},
        "worker": {"memory": "1g"},
        "class_data": "use",
        "wait_for_workers": "all",
    },
}
WITHIN = 60.0  # seconds
WORDS_WITHIN = 5.0  # seconds from a session's failure to the card's words
NODES_OF = "sorted(set(sc.parallelize(range(64), 64).map(lambda _: __import__('os').uname().nodename).collect()))"


@dataclass
class Portal:
    """A portal that is up, a browser that is logged in there, and the cluster behind it."""

    cluster: Cluster
    browser: webdriver.Chrome
    data: Path

    def open_form(self, app: str) -> None:
        self.browser.get(f"{front.ORIGIN}/pun/sys/dashboard/batch_connect/sys/{app}/session_contexts/new")

    def fill(self, **fields: str) -> None:
        for name, value in fields.items():
            field = self.browser.find_element(By.ID, f"batch_connect_session_context_{name}")
            field.clear()
            field.send_keys(value)

    def press(self, selector: str) -> None:
        self.find(selector).click()

    def find(self, selector: str, within: float = WITHIN) -> WebElement:
        found = until.presence_of_element_located((By.CSS_SELECTOR, selector))
        return WebDriverWait(self.browser, within, poll_frequency=0.05).until(found, f"no {selector}:\n{self.text()}")

    def wait_for(self, words: str, within: float = WITHIN) -> str:
        """The text of the page when it has these words."""
        deadline = time.monotonic() + within
        while not re.search(words, text := self.text()):
            assert time.monotonic() < deadline, f"no {words!r} after {within:.0f} s:\n{text}"
            time.sleep(0.05)
        return text

    def text(self) -> str:
        return str(self.browser.execute_script("return document.body.innerText"))

    def root(self) -> Path:
        """Where the only session is staged."""
        (root,) = (self.data / "output").iterdir()
        return root

    def picture(self, name: str) -> None:
        if place := os.environ.get("OOD_SCREENSHOTS"):
            self.browser.find_element(By.TAG_NAME, "body").screenshot(str(Path(place) / f"portal-{name}.png"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes, on which Slurm knows a job's processes by control groups: its signals reach the job's script alone."""
    with slurm(ClusterSpec(NODES, tracking="cgroup")) as cluster:
        yield cluster


@pytest.fixture
def portal(cluster: Cluster, short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Portal]:
    """A portal of its own for each test; nothing of its sessions may be left."""
    monkeypatch.setenv("HOME", str(short_tmp))  # Chromium keeps things outside its profile too
    place = cluster.directory / f"portal-{time.monotonic_ns()}"
    shutil.copytree(REPOSITORY / "examples" / "portal", place / "apps")
    write_app(place / "apps" / "broken", "jupyter", command="/nowhere/jupyter-lab")
    with _running(cluster, place), cluster.network():
        browser = open_browser(short_tmp / "profile")
        try:
            browser.get(front.ORIGIN)
            browser.find_element(By.ID, "user").send_keys(front.USER)
            browser.find_element(By.ID, "password").send_keys(front.PASSWORD)
            browser.find_element(By.ID, "login").click()
            ready = Portal(cluster, browser, place / "data")
            ready.find("#batch_connect_sessions")
            yield ready
        finally:
            browser.quit()
    cluster.end_all_jobs()
    assert_nothing_left(cluster)


@contextmanager
def _running(cluster: Cluster, place: Path) -> Iterator[None]:
    """The Dashboard and Apache, on the head."""
    user = user_of_tests()
    configuration = front.write(place / "front")
    (place / "data").mkdir()
    subprocess.run(["chown", "-R", f"{user.uid}:{user.gid}", place], check=True)
    own = {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    server = [sys.executable, "-m", "tests.portal.server", str(front.DASHBOARD_PORT), str(place / "apps")]
    server += [str(place / "data"), _wrapper(place)]
    apache = [need("apache2", "httpd"), "-f", str(configuration), "-DFOREGROUND"]
    processes = []
    try:
        for name, argv in (("dashboard", server), ("apache", apache)):
            with (place / f"{name}.log").open("wb") as log:
                command = cluster.machines.command(argv, user=user)
                env = {**user.environment(own), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin:/usr/sbin"}
                processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=env, cwd="/"))
        with cluster.network():
            _until_it_answers()
        yield
    finally:
        for process in processes:
            for child in psutil.Process(process.pid).children():  # nsenter's: the program itself
                child.terminate()
        for process in processes:
            process.wait(20)


def _wrapper(place: Path) -> str:
    """What the site's modules and the cluster's file do: ood-runtime on PATH, its settings, a home directory."""
    program = place / "bin" / "ood-runtime"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {sys.executable} -m ood_runtime "$@"\n')
    program.chmod(0o755)
    (place / "config.yml").write_text(yaml.safe_dump(SITE))
    values = {
        "HOME": place,
        "PATH": f"{place}/bin:/usr/bin:/bin",
        "OOD_RUNTIME_SITE_CONFIG": place / "config.yml",
        "XDG_CACHE_HOME": user_of_tests().home / ".cache" / "ood-runtime-tests",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return "".join(f"export {name}={shlex.quote(str(value))}\n" for name, value in values.items()) + "%s"


def _until_it_answers() -> None:
    deadline = time.monotonic() + WITHIN
    for port in (front.PORT, front.DASHBOARD_PORT):
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
            except OSError as error:
                assert time.monotonic() < deadline, error
                time.sleep(0.05)
            else:
                break


def test_from_the_form_to_a_sum_on_two_nodes_and_to_the_end(portal: Portal) -> None:
    portal.open_form("jupyter-spark")
    portal.fill(nodes="2", num_cores="4", memory="16")
    portal.picture("form")
    portal.press("#launch")
    portal.find("progress")
    portal.wait_for(r"\d of 2 workers")
    portal.picture("starting")
    portal.wait_for(r"Ready, 2 of 2 workers")
    portal.picture("ready")

    sessions = portal.browser.current_window_handle
    portal.press(".card form button.btn-primary")
    WebDriverWait(portal.browser, WITHIN).until(until.number_of_windows_to_be(2))
    portal.browser.switch_to.window(next(w for w in portal.browser.window_handles if w != sessions))
    lab = Lab(portal.browser)
    lab.open_notebook("PySpark")
    assert lab.run_cell("sc.parallelize(range(1000)).sum()") == "499500"
    assert lab.run_cell(NODES_OF) == str(list(portal.cluster.nodes))
    portal.browser.close()  # a page that reconnects to a server that ends is not the test

    portal.browser.switch_to.window(sessions)
    portal.press(".card button.delete")
    portal.wait_for("The job was ended from outside")
    portal.picture("completed")
    assert not (portal.root() / "connection.yml").exists()
    log = portal.browser.find_element(By.LINK_TEXT, "The job's output").get_attribute("href")
    portal.browser.get(str(log))
    assert "ood-runtime" in portal.text()


def test_deleted_while_it_starts(portal: Portal) -> None:
    portal.open_form("jupyter-spark")
    portal.press("#launch")
    portal.find("progress")
    portal.press(".card button.delete")
    portal.wait_for("The job was ended from outside")
    assert not (portal.root() / "connection.yml").exists()


def test_a_value_that_makes_no_sense_is_refused_by_the_form(portal: Portal) -> None:
    portal.open_form("jupyter-spark")
    portal.fill(extra_modules="$(touch /tmp/x)")
    portal.press("#launch")
    portal.wait_for("extra_modules: no names of modules")
    portal.open_form("jupyter-spark")
    driver_only = portal.find("#batch_connect_session_context_driver_only")
    portal.fill(nodes="1")
    assert not driver_only.is_enabled(), "there would be no node for workers"
    portal.fill(nodes="2")
    assert driver_only.is_enabled()
    portal.fill(spark_conf="spark.authenticate false")
    portal.press("#launch")
    assert "settings.yml" in portal.wait_for("spark.authenticate secures the cluster")


def test_a_session_that_cannot_start_says_why_soon(portal: Portal) -> None:
    portal.open_form("broken")
    portal.press("#launch")
    portal.wait_for("/nowhere/jupyter-lab")
    ended_at = json.loads((portal.root() / "status.json").read_text())["ended_at"]
    assert time.time() - ended_at < WORDS_WITHIN
    assert "/nowhere/jupyter-lab" in portal.wait_for("Completed")
