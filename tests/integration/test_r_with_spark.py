"""R as a driver of the session's cluster: in RStudio, and in a notebook."""

import os
import re
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
        _assert_refused(r, str(connection["spark_master"]))
    finally:
        r.close()


def _assert_refused(r: RStudioClient, master: str) -> None:
    """Nobody who knows the address alone becomes a driver."""
    r.run("invisible(backend_call(backend, spark, 'stop'))")
    r.run(f'Sys.setenv(SPARKR_SUBMIT_ARGS = "--conf spark.master={master} sparkr-shell")')
    r.run("stranger <- backend_start()")
    refusal = r.run("backend_session(stranger)")
    assert re.search("Error: .*(unresponsive|stopped)", refusal, re.DOTALL), refusal


def _java_arguments(processes: dict[int, str]) -> set[str]:
    return {word for line in processes.values() for word in re.split(r"[ =]", line)}


def test_an_r_notebook_computes_on_the_cluster(
    start_session: StartSession, log_in_to: Callable[[Connection], JupyterClient]
) -> None:
    need_r_package("IRkernel")
    session = start_session("jupyter-spark", *SMALL, env={"R_PROFILE_USER": os.devnull})
    client = log_in_to(session.connection())
    kernel = client.start_kernel("ir")
    client.run(kernel, f'source("{CLIENT}"); backend <- backend_start(); spark <- backend_session(backend)')
    assert client.run(kernel, f'backend_query(backend, spark, "{SUM}")').strip() == SAID
    assert client.run(kernel, "basename(Sys.getenv('SPARKLYR_CONFIG_FILE'))") == '[1] "sparklyr.yml"'
