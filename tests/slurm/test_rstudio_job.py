"""RStudio as the first process of a real batch job, as Open OnDemand submits it: a real R, MPI and Spark from it.

What stands in for rserver says what it lacks.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.slurm.cluster import Cluster, ClusterSpec, NodeSize, slurm
from tests.slurm.mpi import HELLOS, MPIEXEC, PYTHON, SRUN_BY_VARIABLES, TASKS, hosts_of, need_mpi, need_rmpi
from tests.slurm.sessions import REPOSITORY, JobSession, start
from tests.slurm.spark_jobs import MEMORY, SMALL, soon
from tests.standins.rserver import install
from tests.support.modules import need_modules
from tests.support.needs import need
from tests.support.rstudio import RStudioClient
from tests.support.running import files_below

pytestmark = [pytest.mark.root, pytest.mark.integration]

RELEASE = (1, 4, 1103)
SCRIPT = """umask 027
export MODULESHOME=/usr/share/lmod/lmod MODULEPATH=$PWD/../modules
export PATH=/opt/of-the-job:$PATH XDG_DATA_HOME=$PWD/data OF_THE_SCRIPT="it's  \\"so\\""
exec {start}
"""
SPARK_CLIENT = REPOSITORY / "tests" / "support" / "spark_backend.R"
ENDS_WITHIN = 10.0  # seconds: Slurm's KillWait here, after which it kills
NODES = ("node01", "node02")
# Apps, and how Slurm knows which processes belong to a job.
ALONE, WITH_SPARK = ("rstudio", "cgroup"), ("rstudio-spark", "linuxproc")
# A query whose tasks tell where they run.
WHERE = (
    "SELECT concat_ws(' ', sort_array(collect_set(split(host, '/')[0]))) AS found "
    "FROM (SELECT reflect('java.net.InetAddress', 'getLocalHost') AS host FROM range(0, 16, 1, 16))"
)


@dataclass(frozen=True)
class Scene:
    """An R session on the first of two nodes with two tasks each, of somebody who has signed in."""

    session: JobSession
    connection: dict[str, Any]
    client: RStudioClient

    def run(self, code: str) -> str:
        """What R prints for a line of code."""
        with self.session.job.cluster.network():
            return self.client.run(code).strip()

    def system(self, command: str) -> str:
        """What a command prints that R runs where the job is; what it complains of is in a file there."""
        code = f"setwd('{self.session.job.directory}'); writeLines(system('{command} 2>>complaints', intern = TRUE))"
        return self.run(code)


@pytest.fixture(scope="module", params=[ALONE, WITH_SPARK], ids="-".join)
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    need("R")
    app, tracking = request.param
    with slurm(ClusterSpec(nodes=(NodeSize(),) * 2, tracking=tracking)) as cluster:
        session = _start(cluster, app)
        connection = session.connection()
        with cluster.network():
            client = RStudioClient(f"http://{connection['host']}:{connection['port']}/")
            user, password, token = (str(connection[key]) for key in ("username", "password", "csrf_token"))
            assert client.sign_in(user, f"{password}x", token=token) == "1"
            assert client.page().status_code == 302
            assert client.sign_in(user, password, token=token) == ""
            assert client.page().status_code == 200
        yield Scene(session, connection, client)
        with cluster.network():
            client.run("saved <- 41 + 1")
        client.close()
        session.assert_told_nobody()
        began = time.monotonic()
        session.job.cancel()
        assert session.job.wait() == "CANCELLED"
        session.assert_gone(within=ENDS_WITHIN)
        assert time.monotonic() - began < ENDS_WITHIN
        assert not session.remains()
        _assert_saved(session)


def _start(cluster: Cluster, app: str) -> JobSession:
    rserver = install(cluster.directory / "rstudio", RELEASE) / "rserver"
    modules = need_modules("lmod", cluster.directory / "modules")
    modules.write("of-the-site/1.0", OF_THE_SITE='it\'s "odd"')
    settings = (
        f"rstudio.command={rserver}",
        "environment.modules=[of-the-site]",
        *(SMALL if app == "rstudio-spark" else ()),
    )
    words = [word for setting in settings for word in ("--set", setting)]
    return start(cluster, app, *words, options=(*TASKS, f"--mem={MEMORY}"), script=SCRIPT)


def _assert_saved(session: JobSession) -> None:
    """What R had in memory is where the next job finds it, and nothing secret with it."""
    (saved,) = (session.job.directory / "data").rglob("suspended-session-data/environment")
    code = f"load('{saved}'); cat(saved)"
    assert subprocess.run([need("Rscript"), "-e", code], capture_output=True, check=True, text=True).stdout == "42"
    for path in files_below(session.job.directory):
        content = path.read_text(errors="replace")
        assert not [secret for secret in session.secrets() if secret in content], path


def test_r_has_the_environment_of_the_job(scene: Scene) -> None:
    here = "Sys.info()[['nodename']], format(Sys.umask())"
    variables = "'SLURM_JOB_ID', 'OF_THE_SCRIPT', 'PATH'"
    node, umask, job, of_the_script, path = scene.run(f"writeLines(c({here}, Sys.getenv(c({variables}))))").splitlines()
    assert (node, umask, job) == (scene.connection["host"], "27", scene.session.job.id)
    assert of_the_script == 'it\'s  "so"'
    assert path.startswith("/opt/of-the-job:")


def test_r_has_the_modules_of_the_settings(scene: Scene) -> None:
    assert scene.run("cat(Sys.getenv('OF_THE_SITE'))") == 'it\'s "odd"'
    assert scene.system('LMOD_REDIRECT=yes bash -c "module -t list"') == "of-the-site/1.0"


@pytest.mark.parametrize("launch", [SRUN_BY_VARIABLES, MPIEXEC], ids=["srun", "mpiexec"])
def test_mpi_from_r_is_on_all_nodes(scene: Scene, launch: str) -> None:
    need_mpi(scene.session.job.cluster)
    for name, text in HELLOS.items():
        (scene.session.job.directory / name).write_text(text)
    for program in (f"{PYTHON} hello.py", f"{need_rmpi()} hello.R"):
        assert hosts_of(scene.system(f"{launch} -n 4 {program}"), 4) == sorted(NODES * 2)


@pytest.mark.parametrize("scene", [WITH_SPARK], indirect=True, ids="-".join)
def test_r_computes_on_the_workers_of_all_nodes(scene: Scene) -> None:
    """Executors come one by one, and the first one would do it all."""
    scene.run(f"source('{SPARK_CLIENT}'); backend <- backend_start(); spark <- backend_session(backend)")
    ask = f'cat(backend_query(backend, spark, "{WHERE}"))'
    soon(lambda: json.loads(scene.run(ask)) == {"found": " ".join(NODES)}, "executors on all nodes", 60)
