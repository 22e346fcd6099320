"""The only place for a whole portal: Dashboard and Apache on the head of a cluster, and a browser as people use it."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions as until
from selenium.webdriver.support.ui import WebDriverWait

from tests.portal import front
from tests.slurm.cluster import Cluster
from tests.standins.rserver import install
from tests.support.accounts import user_of_tests
from tests.support.needs import need

REPOSITORY = Path(__file__).parents[2]
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

    def job(self) -> str:
        """Slurm's number of the only session's job."""
        (record,) = self.data.glob("*.json")
        return str(json.loads(record.read_text())["job_id"])

    def change_job(self, change: str) -> None:
        """What Slurm's administrator may change of the job, such as its end."""
        self.cluster.administer("scontrol", "update", f"JobId={self.job()}", change)

    @contextmanager
    def connected(self, button: str = "btn-primary") -> Iterator[None]:
        """Press a button of the card, and be on the page that it opens; that is closed afterwards."""
        sessions = self.browser.current_window_handle
        self.press(f".card form button.{button}")
        WebDriverWait(self.browser, WITHIN).until(until.number_of_windows_to_be(2))
        self.browser.switch_to.window(next(w for w in self.browser.window_handles if w != sessions))
        yield
        self.browser.close()  # a page that reconnects to a server that ends is not the test
        self.browser.switch_to.window(sessions)

    def picture(self, name: str) -> None:
        if place := os.environ.get("OOD_SCREENSHOTS"):
            self.browser.find_element(By.TAG_NAME, "body").screenshot(str(Path(place) / f"portal-{name}.png"))


@contextmanager
def running(cluster: Cluster, place: Path) -> Iterator[None]:
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
    rserver = install(place / "rstudio", (1, 4, 1103)) / "rserver"
    (place / "config.yml").write_text(yaml.safe_dump({**SITE, "rstudio": {"command": str(rserver)}}))
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
