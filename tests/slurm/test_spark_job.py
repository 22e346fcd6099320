"""A Spark session on all nodes of a real batch job, as Open OnDemand submits it: what is there, and who sees what."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.slurm.cluster import ClusterSpec, NodeSize, slurm
from tests.slurm.spark_jobs import SRUN, WORKER, Run, SparkJob, spark
from tests.support.modules import need_modules
from tests.support.running import files_below
from tests.support.session_of_two import Watcher

pytestmark = [pytest.mark.root, pytest.mark.integration]

SCRIPT = """umask 027
ulimit -S -s 4096
ulimit -n 3000
export PATH=/opt/of-the-job:$PATH MODULESHOME=/usr/share/lmod/lmod MODULEPATH=$PWD/../modules
export BLANKS=' two  words ' QUOTES='it"s '"'"'so'"'"' $HOME `id` \\' TEXT=$'one\\ntwo\\n' LATIN=$'\\xfc'
exec env ÜMLAUT=no {start}
"""
EXPORTED = {
    "BLANKS": " two  words ",
    "QUOTES": "it\"s 'so' $HOME `id` \\",
    "TEXT": "one\ntwo\n",
    "LATIN": "\udcfc",
}
MODULE = "of the site/it's"
OF_THE_SITE = 'it\'s "odd" $HOME `id` \\ ü'
# What a Python sees: here that of the notebook, and those of executors.
LOOK = """import json, os, resource
def look(_):
    time.sleep(0.1)
    mask = os.umask(0)
    os.umask(mask)
    facts = {"umask": mask, "stack": resource.getrlimit(resource.RLIMIT_STACK), "environment": dict(os.environ)}
    facts["files"] = resource.getrlimit(resource.RLIMIT_NOFILE)
    return os.uname().nodename, facts
found = {name: facts for name, facts in sc.parallelize(range(32), 32).map(look).collect()}
print(json.dumps([look(0)[1], found]))"""


@dataclass
class Scene:
    """A session that is ready, watched from its first moment on."""

    spark: SparkJob
    nodes: tuple[str, ...]
    at_once: dict[str, Any]
    run: Run
    watcher: Watcher
    facts: list[Any] = field(default_factory=list)

    def looked(self) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """What the notebook's Python sees, and those of executors by their nodes."""
        self.facts = self.facts or json.loads(self.run(LOOK))
        return self.facts[0], self.facts[1]


@pytest.fixture(scope="module", params=[("linuxproc", 3), ("cgroup", 2)], ids=["linuxproc-3", "cgroup-2"])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    tracking, nodes = request.param
    with slurm(ClusterSpec(nodes=(NodeSize(),) * nodes, tracking=tracking)) as cluster, Watcher() as watcher:
        modules = need_modules("lmod", cluster.directory / "modules")
        modules.write(MODULE, Path("/opt/of-the-module"), OF_THE_SITE=OF_THE_SITE)
        environment = f"environment.modules={json.dumps([MODULE])}"
        session = spark(cluster, environment, nodes=nodes, options=("--exclusive",), script=SCRIPT)
        session.connection()
        at_once = session.session.status()
        with session.notebook(nodes) as run:
            yield Scene(session, cluster.nodes, at_once, run, watcher)
        session.job.cancel()
        assert session.job.wait() == "CANCELLED"
        session.assert_gone()
    secrets = session.session.secrets()
    assert len(secrets) >= 4 and any(WORKER in line for line in watcher.seen)
    assert not [line for line in watcher.seen for secret in secrets if secret in line]


def test_connection_yml_comes_when_all_workers_are_there(scene: Scene) -> None:
    count = len(scene.nodes)
    assert scene.at_once["workers"]["ready"] == scene.at_once["workers"]["wanted"] == count
    assert [entry["host"] for entry in scene.at_once["workers"]["each"]] == list(scene.nodes)
    directory = scene.spark.session.directory
    events = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    proven = next(e["time"] for e in events if e.get("service") == "spark-cluster" and e["state"] == "ready")
    ready = next(e["time"] for e in events if e["event"] == "ready")
    written = (directory / "connection.yml").stat().st_mtime
    assert proven - 0.1 <= written <= ready + 0.1  # a file's time is that of the kernel's last tick
    made = {path: path.stat().st_mtime for path in files_below(directory / "ood-runtime")}
    assert not [path for path, time in made.items() if time > written]


def test_the_master_has_a_worker_on_each_node_of_the_right_size(scene: Scene) -> None:
    workers = scene.spark.alive()
    assert sorted(workers) == list(scene.nodes)
    # 4 and 3500 MB were asked for, of processors that may not be there; the first node has more to run than workers.
    cpus = min(4, len(os.sched_getaffinity(0)))
    first, *others = (workers[node] for node in scene.nodes)
    # Spark is told of each processor once for each notebook that may have it (spark.shares is 2).
    assert first["cores"] == 2 * (cpus - (1 if cpus >= 4 else 0))
    assert first["memory"] == int((3500 - 512 - 2 * 512 - 512 - 51.2) * 0.7)
    assert [worker["cores"] for worker in others] == [2 * cpus] * len(others)
    assert [worker["memory"] for worker in others] == [int((3500 - 512) * 0.7)] * len(others)


def test_a_job_runs_on_all_nodes_in_the_environment_of_the_job_and_its_modules(scene: Scene) -> None:
    notebook, executors = scene.looked()
    assert sorted(executors) == list(scene.nodes)
    for node, facts in executors.items():
        environment = facts["environment"]
        assert {name: environment[name] for name in EXPORTED} == EXPORTED
        for name in ("PATH", "HOME", "SLURM_JOB_ID", "LANG", "XDG_CACHE_HOME", "LOADEDMODULES", "_LMFILES_"):
            assert environment.get(name) == notebook["environment"].get(name), name
        assert environment["PATH"].startswith("/opt/of-the-module:/opt/of-the-job:")
        assert (environment["LOADEDMODULES"], environment["OF_THE_SITE"]) == (MODULE, OF_THE_SITE)
        assert environment["SLURMD_NODENAME"] == node
        assert facts["umask"] == notebook["umask"] == 0o027
        assert facts["stack"] == notebook["stack"]
        assert facts["files"][0] >= notebook["files"][0] == 3000


def test_the_workers_have_the_environment_of_the_notebook(scene: Scene) -> None:
    notebook = scene.looked()[0]["environment"]
    for node in scene.nodes:
        (pid,) = scene.spark.pids(node, WORKER if node != scene.nodes[0] else "/spark/worker-0.args")
        entries = os.fsdecode(Path(f"/proc/{pid}/environ").read_bytes()).split("\0")
        worker = dict(entry.split("=", 1) for entry in entries if "=" in entry)
        for name in ("PATH", "LOADEDMODULES", "OF_THE_SITE", "JAVA_HOME", "SPARK_HOME"):
            assert worker[name] == notebook[name], (node, name)


def test_one_launcher_call_starts_the_workers_of_all_other_nodes(scene: Scene) -> None:
    assert len({line for line in scene.watcher.seen if SRUN in line}) == 1
    assert scene.spark.job.steps().count("spark-workers") == 1


def test_no_secret_is_in_what_slurm_knows(scene: Scene) -> None:
    scene.spark.session.assert_told_nobody()
    cluster = scene.spark.cluster
    told = [cluster.administer("scontrol", "--details", "show", "step"), scene.spark.job.script()]
    for node in scene.nodes:
        spool = cluster.machines.state / "machines" / node / "spool"
        told += [path.read_bytes().decode(errors="replace") for path in files_below(spool)]
        told.append(cluster.machines.path(node, cluster.machines.state / "machines" / node / "slurmd.log").read_text())
    secrets = scene.spark.session.secrets()
    assert any("spark-workers" in text for text in told)
    assert not [secret for secret in secrets for text in told if secret in text]
