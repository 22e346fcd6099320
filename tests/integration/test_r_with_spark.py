"""R as a driver of the session's cluster: in RStudio, and what it finds in a notebook."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import StartSession
from tests.standins.rserver import install
from tests.support.jupyter import Connection, JupyterClient
from tests.support.needs import need, need_r_package
from tests.support.rstudio import RStudioClient

pytestmark = pytest.mark.integration
CLIENT = Path(__file__).parents[1] / "support" / "spark_backend.R"
SUM = "SELECT sum(id) AS n FROM range(0, 1000, 1, 4)"
SAID = r'[1] "{\"n\":499500}"'
REFUSED_WITHIN = 90.0  # seconds; a JVM has to start
SMALL = ("--set", "spark.worker.cores=2", "--set", "spark.worker.memory=1500m")


def test_rstudio_computes_on_the_cluster_and_without_the_secret_it_cannot(
    start_session: StartSession, short_tmp: Path
) -> None:
    need("R")
    command = install(short_tmp / "rstudio", (1, 4, 1103)) / "rserver"
    session = start_session("rstudio-spark", "--set", f"rstudio.command={command}", *SMALL)
    connection = session.connection()
    r = RStudioClient(f"http://{connection['host']}:{connection['port']}/")
    try:
        assert r.sign_in(str(connection["username"]), str(connection["password"])) == ""
        r.run(f'source("{CLIENT}"); backend <- backend_start(); spark <- backend_session(backend)')
        assert r.run(f'backend_query(backend, spark, "{SUM}")').strip() == SAID
        assert r.run("backend_master(backend, spark)") == f'[1] "{connection["spark_master"]}"\n'
        assert _java_arguments(session.processes()).isdisjoint(session.secrets())
        profile = session.directory / "ood-runtime/spark/Rprofile.R"
        _assert_refused(profile, str(connection["spark_master"]), short_tmp)
    finally:
        r.close()


def _assert_refused(profile: Path, master: str, place: Path) -> None:
    """Nobody who knows the address alone becomes a driver, however often it is tried."""
    code = f'Sys.setenv(SPARKR_SUBMIT_ARGS = "--conf spark.master={master} sparkr-shell"); source("{CLIENT}"); '
    code += "spark <- backend_session(backend_start()); cat('a driver\n')"
    output = place / "stranger"
    with output.open("wb") as stream:
        stranger = subprocess.Popen(
            [need("Rscript"), "-e", code],
            env={**os.environ, "R_PROFILE": str(profile), "TMPDIR": str(place)},
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + REFUSED_WITHIN
        while "Failed to connect to master" not in output.read_text():
            assert stranger.poll() is None and time.monotonic() < deadline, output.read_text()
            time.sleep(0.1)
        assert "a driver" not in output.read_text()
    finally:
        os.killpg(stranger.pid, signal.SIGKILL)
        stranger.wait(30)


def _java_arguments(processes: dict[int, str]) -> set[str]:
    return {word for line in processes.values() for word in re.split(r"[ =]", line)}


def test_an_r_notebook_has_what_drivers_need(
    start_session: StartSession, log_in_to: Callable[[Connection], JupyterClient]
) -> None:
    """The same profile as in RStudio, of which the test above shows that it is enough."""
    need_r_package("IRkernel")
    session = start_session("jupyter-spark", *SMALL)
    client = log_in_to(session.connection())
    kernel = client.start_kernel("ir")
    generated = session.directory / "ood-runtime/spark"
    names = ("R_PROFILE", "SPARKLYR_CONFIG_FILE", "SPARKR_SUBMIT_ARGS")
    said = [client.run(kernel, f"cat(Sys.getenv('{name}'))") for name in names]
    assert said == [
        f"{generated}/Rprofile.R",
        f"{generated}/sparklyr.yml",
        f"--properties-file {generated}/spark.conf sparkr-shell",
    ]
    assert client.run(kernel, "cat(file.exists(file.path(Sys.getenv('SPARK_HOME'), 'bin/spark-submit')))") == "TRUE"
