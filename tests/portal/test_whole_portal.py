"""What a scientist does, from the form to the end: in a browser, with an app as init writes it, on a real Slurm."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.e2e.browser import Lab, open_browser
from tests.portal import front
from tests.portal.rendering import write_app
from tests.portal.whole import REPOSITORY, Portal, running
from tests.slurm.cluster import Cluster, ClusterSpec, NodeSize, slurm
from tests.slurm.conftest import assert_nothing_left
from tests.support.needs import need

pytestmark = [pytest.mark.root, pytest.mark.e2e, pytest.mark.timeout(600)]

NODES = (NodeSize(cpus=4, memory=20000),) * 2
WORDS_WITHIN = 5.0  # seconds from a session's failure to the card's words
SIGNAL_WITHIN = 45.0  # seconds; slurmctld looks every 30 s
NODES_OF = "sorted(set(sc.parallelize(range(64), 64).map(lambda _: __import__('os').uname().nodename).collect()))"


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
    with running(cluster, place), cluster.network():
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

    with portal.connected():
        lab = Lab(portal.browser)
        lab.open_notebook("PySpark")
        assert lab.run_cell("sc.parallelize(range(1000)).sum()") == "499500"
        assert lab.run_cell(NODES_OF) == str(list(portal.cluster.nodes))
    with portal.connected("btn-secondary"):
        portal.wait_for("Workers: 2 Alive")
        # Followed, not clicked: Spark's own buttons float over what is at the bottom of a small window.
        portal.browser.get(str(portal.find('a[href*="/proxy/app-"]').get_attribute("href")))
        portal.wait_for("Completed Jobs")
        assert re.search(r"/node/node0\d/\d+/sparkui/proxy/app-[^/]+/jobs/$", portal.browser.current_url)

    portal.press(".card button.delete")
    portal.wait_for("The job was ended from outside")
    portal.picture("completed")
    assert not (portal.root() / "connection.yml").exists()
    log = portal.browser.find_element(By.LINK_TEXT, "The job's output").get_attribute("href")
    portal.browser.get(str(log))
    assert "ood-runtime" in portal.text()


def test_r_computes_in_the_job_until_the_card_is_deleted(portal: Portal) -> None:
    need("R")
    portal.open_form("rstudio-spark")
    portal.fill(working_dir="/tmp")
    portal.press("#launch")
    portal.wait_for(r"Ready\b")
    with portal.connected():
        line = portal.find("#line")
        assert re.search(r"^http://[^/]+/rnode/node0\d/\d+/$", portal.browser.current_url)
        line.send_keys('paste(Sys.getenv("SLURM_JOB_ID"), sum(1:10))', Keys.ENTER)
        portal.wait_for(rf'\[1\] "{portal.job()} 55"')
    with portal.connected("btn-secondary"):
        portal.wait_for("Workers: 2 Alive")
        assert re.search(r"^http://[^/]+/rnode/node0\d/\d+/$", portal.browser.current_url)
    portal.press(".card button.delete")
    portal.wait_for("The job was ended from outside")
    assert not (portal.root() / "connection.yml").exists()


def test_the_end_of_the_time_is_told(portal: Portal) -> None:
    """Slurm's signal, a minute ahead of the end, is taken for what it is."""
    portal.open_form("jupyter")
    portal.press("#launch")
    portal.find(".card")
    portal.change_job("TimeLimit=3")
    portal.wait_for(r"Ready\b")
    portal.wait_for("0 h [12] min left")  # one hour was asked for
    portal.change_job("EndTime=now+60")
    portal.wait_for("The time that was asked for is over", SIGNAL_WITHIN)
    assert _seconds_since_the_end(portal) < WORDS_WITHIN


def test_deleted_while_it_starts(portal: Portal) -> None:
    portal.open_form("jupyter-spark")
    portal.press("#launch")
    portal.find("progress")
    portal.press(".card button.delete")
    portal.wait_for("The job was ended from outside")
    assert not (portal.root() / "connection.yml").exists()


def test_a_value_that_makes_no_sense_is_refused_and_never_run(portal: Portal) -> None:
    planted = portal.data / "planted"  # the portal's and the job's user can write there
    hostile = f"/'\"; touch {planted}; $(touch {planted}) `touch {planted}` <b>x</b> %> #"
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
    portal.open_form("jupyter")
    portal.fill(working_dir=hostile)
    portal.press("#launch")
    portal.wait_for(re.escape(f"jupyter.root_dir: {hostile} is no directory"))
    assert not planted.exists()


def test_a_session_that_cannot_start_says_why_soon(portal: Portal) -> None:
    portal.open_form("broken")
    portal.press("#launch")
    portal.wait_for("/nowhere/jupyter-lab")
    assert _seconds_since_the_end(portal) < WORDS_WITHIN
    assert "/nowhere/jupyter-lab" in portal.wait_for("Completed")


def test_a_node_that_is_lost_is_missed_soon(portal: Portal) -> None:
    """One that is switched off: of one whose cable is cut Spark hears nothing for a minute."""
    portal.open_form("jupyter-spark")
    portal.press("#launch")
    portal.wait_for("Ready, 2 of 2 workers")
    portal.cluster.machines.off("node02")
    try:
        portal.wait_for("Ready, 1 of 2 workers", WORDS_WITHIN)
        # Slurm itself waits for the node's SlurmdTimeout, and with the end of the job too.
        portal.cluster.administer("scontrol", "update", "NodeName=node02", "State=DOWN", "Reason=test")
        assert "Ready, 1 of 2 workers" in portal.text()
        portal.press(".card button.delete")
        portal.wait_for("The job was ended from outside")
    finally:
        portal.cluster.machines.on("node02")
        portal.cluster.wait_for_state("node02", "idle")


def test_memory_that_runs_out_is_told_while_the_session_goes_on(portal: Portal) -> None:
    """The kernel kills whoever has taken most: the notebook's kernel, not the server."""
    portal.open_form("jupyter")
    portal.fill(memory="2")
    portal.press("#launch")
    portal.wait_for(r"Ready\b")
    with portal.connected():
        lab = Lab(portal.browser)
        lab.open_notebook("Python 3 (ipykernel)")
        lab.start_cell("x = b'1' * (3 << 30)")
        portal.wait_for("appears to have died")
    portal.wait_for("Note: memory ran out: all 2.0 GiB that the job may use on node0", WORDS_WITHIN)
    assert "Ready" in portal.text()
    portal.press(".card button.delete")
    assert "Note: memory ran out" in portal.wait_for("The job was ended from outside")


def _seconds_since_the_end(portal: Portal) -> float:
    return time.time() - float(json.loads((portal.root() / "status.json").read_text())["ended_at"])
