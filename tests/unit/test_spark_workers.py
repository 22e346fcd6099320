"""The plan of a cluster's workers: who runs where under which name, and what the other nodes are told."""

import re
import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ood_runtime import spark_workers
from ood_runtime.allocation import Node
from ood_runtime.context import Context
from ood_runtime.errors import SettingsError
from ood_runtime.plan import Part
from ood_runtime.probes import SparkWorkers
from ood_runtime.settings.sizes import GIB, MIB
from ood_runtime.spark_sizes import compute
from tests.unit.java_readers import java_arguments
from tests.unit.several_nodes import (
    ADDRESS,
    PRIVATE,
    ROOT,
    context,
    one_for_each,
    one_for_each_node,
    service,
    text,
)


def workers(of: Context) -> Part:
    return spark_workers.workers(of, compute(of.allocation.nodes, of.settings.spark))


def proof(part: Part) -> SparkWorkers:
    (check,) = part.checks
    assert isinstance(check.ready, SparkWorkers)
    return check.ready


def names(part: Part) -> list[str]:
    return [item.name for item in part.services]


def variable(script: str, name: str) -> str:
    """What the script for other nodes sets this variable to."""
    found = re.search(rf"^ *{name}=(.*)$", script, re.MULTILINE)
    assert found, name
    return shlex.split(found[1])[0] if found[1] else ""


def rows(script: str) -> list[tuple[int, ...]]:
    """Last rank, cores, MiB."""
    table = re.search(r"done <<'END'\n(.*?)END\n", script, re.DOTALL)
    assert table
    return [tuple(map(int, line.split())) for line in table[1].splitlines()]


# --- who runs where ---


@given(st.integers(1, 40), st.integers(1, 8), st.booleans())
def test_ranks_count_all_workers_node_by_node(nodes: int, per_node: int, driver_only: bool) -> None:
    here, tasks = spark_workers.ranks(context(nodes, workers_per_node=per_node, driver_only=driver_only))
    assert len(here) == (0 if driver_only else per_node)
    assert [*here, *(task.rank for task in tasks)] == list(range(len(here) + (nodes - 1) * per_node))
    assert [task.node for task in tasks] == [node for node in range(1, nodes) for _ in range(per_node)]


@given(st.integers(1, 1000), st.integers(0, 100))
def test_a_share_of_the_workers(total: int, percent: int) -> None:
    wanted = spark_workers.wanted(f"{percent}%", total)
    assert 1 <= wanted <= total
    assert wanted == 1 or (wanted - 1) / total < percent / 100 <= wanted / total


@pytest.mark.parametrize(("setting", "wanted"), [("all", 6), ("1", 1), ("6", 6), ("7", 6), ("34%", 3), ("100%", 6)])
def test_how_many_workers_are_waited_for(setting: str, wanted: int) -> None:
    assert proof(workers(context(6, wait_for_workers=setting))).wanted == wanted


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"nodes": 1}, {"spark-worker": (0,)}),
        ({"nodes": 1, "workers_per_node": 2}, {"spark-worker-0": (0,), "spark-worker-1": (1,)}),
        ({"nodes": 2}, {"spark-worker-0": (0,), "spark-workers": (1,)}),
        ({"nodes": 3, "driver_only": True}, {"spark-workers": (0, 1)}),
        (
            {"nodes": 3, "workers_per_node": 2},
            {"spark-worker-0": (0,), "spark-worker-1": (1,), "spark-workers": (2, 3, 4, 5)},
        ),
    ],
)
def test_one_call_for_all_other_nodes(values: dict[str, Any], expected: dict[str, tuple[int, ...]]) -> None:
    part = workers(context(**values))
    assert dict(proof(part).ranks) == expected
    assert set(names(part)) == set(expected)
    assert proof(part).total == len({rank for ranks in expected.values() for rank in ranks})


def test_a_call_for_each_worker_is_called_by_its_rank() -> None:
    part = workers(replace(context(3, workers_per_node=2), launch=one_for_each))
    others = [f"spark-workers-{rank}" for rank in (2, 3, 4, 5)]
    assert names(part) == ["spark-worker-0", "spark-worker-1", *others]
    assert [proof(part).ranks[name] for name in others] == [(2,), (3,), (4,), (5,)]
    assert service(part, "spark-workers-4").argv == ("pbsdsh", str(PRIVATE / "spark/remote-worker.sh"), "4")


def test_a_call_for_each_node_has_a_name_that_a_file_can_have() -> None:
    part = workers(
        replace(
            context([Node(f"n{i}", 64, 512 * GIB) for i in range(4)], workers_per_node=64), launch=one_for_each_node
        )
    )
    assert names(part)[-3:] == ["spark-workers-64-127", "spark-workers-128-191", "spark-workers-192-255"]


# --- what runs on this node ---


def test_workers_on_this_node() -> None:
    part = workers(context(2, workers_per_node=2))
    for rank in (0, 1):
        found = service(part, f"spark-worker-{rank}")
        gate = ROOT / "scratch/spark" / f"gate-{rank}"
        assert found.argv == (str(PRIVATE / "spark/worker.sh"), str(PRIVATE / f"spark/worker-{rank}.args"), str(gate))
        assert (found.gate, found.after, found.restarts) == (gate, ("spark-master",), 3)
        assert not found.essential and not found.remote
        words = java_arguments(text(part, f"spark/worker-{rank}.args"))
        assert words[words.index("--host") + 1] == ADDRESS
        assert words[-1] == f"spark://{ADDRESS}:20002"
        assert f"-Dspark.metrics.conf={gate}" in words


def test_the_workers_share_the_node() -> None:
    alone, two = (
        java_arguments(text(workers(context(1, workers_per_node=count)), f"spark/{name}.args"))
        for count, name in ((1, "worker"), (2, "worker-0"))
    )
    assert [int(words[words.index("--cores") + 1]) for words in (alone, two)] == [14, 6]  # of 8, for two notebooks


def test_without_a_worker_on_this_node() -> None:
    part = workers(context(2, driver_only=True))
    assert names(part) == ["spark-workers"]
    assert not [file.name for file in part.files if file.name.startswith("spark/worker")]
    (check,) = part.checks
    assert check.log == "logs/spark-master.log"
    assert check.after == ("spark-master",)


def test_the_check_waits_for_the_master_and_this_nodes_workers_only() -> None:
    (check,) = workers(context(3, workers_per_node=2)).checks
    assert check.name == "spark-cluster"
    assert check.after == ("spark-master", "spark-worker-0", "spark-worker-1")
    assert check.log == "logs/spark-worker-0.log"


@pytest.mark.parametrize("where", ["site", "user"])
def test_no_gate_where_somebody_has_a_file_for_metrics(where: str) -> None:
    entry = {"spark.metrics.conf": "/etc/metrics"}
    values: dict[str, Any] = {"site": entry} if where == "site" else {"conf": entry}
    part = workers(context(2, **values))
    assert service(part, "spark-worker-0").gate is None
    assert service(part, "spark-worker-0").argv[-1] == ""
    assert "metrics" not in text(part, "spark/worker-0.args") + text(part, "spark/remote-worker.sh")
    assert "open_gate" not in text(part, "spark/remote-worker.sh")


# --- what runs on the others ---


def test_on_one_node_there_is_nothing_for_others() -> None:
    part = workers(context(1))
    assert {file.name for file in part.files} == {"spark/worker.sh", "spark/worker.args"}
    assert not part.directories


def test_the_launcher_is_a_service_that_the_session_can_lose() -> None:
    found = service(workers(context(2, {"TMPDIR": "/job/tmp"})), "spark-workers")
    assert (found.essential, found.remote, found.restarts, found.ready, found.after) == (False, True, 3, None, ())
    # Its TMPDIR is the job's: the session's own is on this node only.
    assert found.environment == {"SLURM_HINT": None, "TMPDIR": "/job/tmp"}
    assert service(workers(context(2)), "spark-workers").environment["TMPDIR"] is None


def test_files_for_the_other_nodes() -> None:
    part = workers(context(2, {"PATH": "/opt/bin", "TOKEN": "secret", "SLURM_NODEID": "0", "HOSTNAME": "n0"}))
    files = {file.name: file for file in part.files}
    assert files["spark/remote-worker.sh"].executable and not files["spark/remote-worker.sh"].secret
    assert files["spark/environment.sh"].secret, "it is as secret as what users have in their environment"
    environment = text(part, "spark/environment.sh")
    assert "TOKEN" in environment and "/opt/bin" in environment
    assert "SLURM_NODEID" not in environment and "HOSTNAME" not in environment
    assert "secret" not in text(part, "spark/remote-worker.sh")
    assert "java.io.tmpdir" not in text(part, "spark/remote-worker.args"), "each node has its own"


def test_the_script_knows_the_session() -> None:
    script = text(workers(context(3, workers_per_node=2)), "spark/remote-worker.sh")
    values = {name: variable(script, name) for name in ("session", "master", "port", "per_node", "logs")}
    expected = {"session": "id-of-session", "master": ADDRESS, "port": "20002", "per_node": "2"}
    assert values == {**expected, "logs": str(ROOT / "logs")}
    assert f"read -r _ <{shlex.quote(str(spark_workers.master_ready(context(3))))}" in script
    assert "umask 0027" in script
    assert f"{ROOT}/scratch" not in script, "scratch space is on this node only"


def test_word_of_trouble_is_of_this_session() -> None:
    """What an earlier session in this directory has left says nothing of this one's workers."""
    one, other = context(2), context(2)
    other = replace(other, grant=replace(other.grant, session_id="another"))
    places = [proof(workers(of)).trouble for of in (one, other)]
    assert places[0] != places[1]
    for of, place in zip((one, other), places, strict=True):
        part = workers(of)
        assert part.directories == (place,)
        assert variable(text(part, "spark/remote-worker.sh"), "record") == f"{place}/$rank"


@pytest.mark.parametrize(
    ("network", "interface", "cidr"),
    [(None, "", ""), ("ib*", "ib*", ""), ("10.1.0.0/16", "", "10.1.0.0/16")],
)
def test_the_network_to_look_for(network: str | None, interface: str, cidr: str) -> None:
    script = text(workers(context(2, network=network)), "spark/remote-worker.sh")
    assert f"interface={shlex.quote(interface) if interface else ''}" in script.replace("''", "")
    assert f"network={cidr}" in script.replace("''", "")


def test_equal_nodes_are_told_once() -> None:
    nodes = [Node(f"n{i}", cpus, gib * GIB) for i, (cpus, gib) in enumerate([(4, 16), (8, 32), (8, 32), (2, 16)])]
    script = text(workers(context(nodes, workers_per_node=2)), "spark/remote-worker.sh")
    assert rows(script) == [(5, 8, 32 * 1024), (7, 2, 16 * 1024)]


def test_a_thousand_equal_nodes_are_one_row() -> None:
    assert rows(text(workers(context(1024)), "spark/remote-worker.sh")) == [(1023, 8, 32 * 1024)]


@pytest.mark.parametrize(
    ("unlimited", "counts"), [("all", "MemTotal:"), ("part", "MemTotal:"), ("free", "MemAvailable:")]
)
def test_memory_that_nobody_limits(unlimited: str, counts: str) -> None:
    several = context(2)
    given = replace(several.allocation, unlimited_memory=unlimited)  # type: ignore[arg-type]
    script = text(workers(replace(several, allocation=given)), "spark/remote-worker.sh")
    assert [key for key in ("MemTotal:", "MemAvailable:") if key in script] == [
        "MemAvailable:" if unlimited == "free" else "MemTotal:"
    ]
    assert ("memory * told / online" in script) == (unlimited == "part")


def test_what_was_not_told_each_node_looks_for() -> None:
    several = context(3)
    first, second, third = several.allocation.nodes
    nodes = (first, replace(second, memory_told=False), replace(third, cpus_told=False, memory_told=False))
    given = replace(several, allocation=replace(several.allocation, nodes=nodes))
    assert rows(text(workers(given), "spark/remote-worker.sh")) == [(1, 8, 0), (2, 0, 0)]


@given(
    st.lists(st.tuples(st.integers(1, 128), st.integers(4 * 1024 * MIB, 512 * 1024 * MIB)), min_size=1, max_size=5),
    st.integers(1, 9),
    st.booleans(),
)
def test_an_executor_fits_where_the_script_says_so_too(
    sizes: list[tuple[int, int]], per_node: int, driver_only: bool
) -> None:
    """The script counts in whole MiB, for itself; where it comes to less than we do here, its worker would fail."""
    nodes = [Node("first", 16, 256 * GIB), *(Node(f"n{i}", cpus, size) for i, (cpus, size) in enumerate(sizes))]
    settings = context(nodes, workers_per_node=per_node, driver_only=driver_only).settings.spark
    try:
        found = compute(nodes, settings)
    except SettingsError:
        return
    for cpus, size in sizes:
        heap = (size // MIB // per_node - settings.master_memory // MIB) * 70 // 100
        assert heap >= found.executor_memory // MIB, "as spark_remote_node.sh.j2 does it"
        assert max(1, cpus // per_node) >= found.executor_cores
