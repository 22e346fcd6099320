"""How notebooks share a cluster: what each of the three ways tells drivers, and that there is room for a second one."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ood_runtime import spark_sharing, spark_software
from ood_runtime.allocation import Node
from ood_runtime.errors import MissingError, SettingsError
from ood_runtime.settings.model import Spark
from ood_runtime.settings.sizes import GIB
from ood_runtime.spark_sizes import Offer, Sizes, compute
from tests.unit.test_spark_properties import SIZES, compose


def sizes(cores: int, gib: int = 64, nodes: int = 1, **spark: object) -> Sizes:
    return compute([Node(f"n{i}", cores, gib * GIB) for i in range(nodes)], Spark.model_validate(spark))


def test_one_has_all_of_it_until_it_ends() -> None:
    entries = compose(sharing="one")
    assert entries["spark.dynamicAllocation.enabled"] == "false"
    assert "spark.cores.max" not in entries
    found = sizes(8, sharing="one")
    assert (found.executor_cores, found.executors, found.most_cores) == (7, 1, None)


@pytest.mark.parametrize("sharing", ["fair", "connect"])
def test_a_fair_one_asks_for_its_part_at_once_and_gives_it_back(sharing: str) -> None:
    settings = Spark.model_validate({"sharing": sharing, "executor": {"idle_seconds": 7}})
    entries = spark_sharing.entries(settings, Sizes(SIZES.worker, 4, 8 * GIB, 6, 2 * GIB, most_cores=16))
    assert entries["spark.cores.max"] == "16"
    assert entries["spark.dynamicAllocation.enabled"] == "true"
    assert entries["spark.dynamicAllocation.shuffleTracking.enabled"] == "true"
    assert entries["spark.dynamicAllocation.initialExecutors"] == "4"
    assert entries["spark.dynamicAllocation.executorIdleTimeout"] == "7s"
    assert entries["spark.dynamicAllocation.shuffleTracking.timeout"] == "7s"


@given(st.integers(1, 256), st.integers(8, 1024), st.integers(1, 8), st.integers(1, 4))
def test_as_many_notebooks_find_room_as_there_are_shares(cores: int, gib: int, nodes: int, shares: int) -> None:
    found, alone = sizes(cores, gib, nodes, shares=shares), sizes(cores, gib, nodes, sharing="one")
    assert found.worker is not None and found.most_cores == (None if found.shares == 1 else found.cores)
    assert found.executors >= nodes, "each has executors on every node"
    if found.shares == shares:
        assert found.cores >= alone.cores // 2, "and the processors of all of them, but for a rest"
    told = Offer(found.told(found.worker.cores), found.worker.memory)
    assert told.executors(found.executor_cores, found.executor_memory) >= found.shares


def test_memory_is_shared_and_processors_are_not() -> None:
    def told(found: Sizes) -> tuple[int, int, int, int | None]:
        return found.shares, found.executor_cores, found.executors, found.most_cores

    assert [told(s) for s in (sizes(2), sizes(8), sizes(33, 512), sizes(8, 64, 4))] == [
        (2, 2, 1, 2),
        (2, 7, 1, 7),
        (2, 8, 4, 32),
        (2, 7, 4, 28),
    ]
    assert sizes(8).executor_memory == sizes(8, sharing="one").executor_memory // 2
    assert told(sizes(8, gpu={"enabled": True})) == (1, 7, 1, None), "a GPU is one executor's alone"
    assert told(sizes(2, 4)) == (2, 2, 1, 2) and sizes(2, 4, shares=8).shares < 8, "as far as the memory goes round"
    assert told(sizes(8, executor={"memory": "20g"})) == (1, 7, 1, None)
    assert sizes(8, executor={"memory": "6g"}).shares == 2


@pytest.mark.parametrize(("asked", "most"), [("5", 5), ("50%", 16), ("1%", 1), ("100%", 32)])
def test_the_settings_say_how_much_one_may_hold(asked: str, most: int) -> None:
    found = sizes(33, 512, cores_per_application=asked)
    assert found.most_cores == most
    assert found.executor_cores <= most


def test_less_than_an_executor_is_an_error() -> None:
    with pytest.raises(SettingsError, match="fewer than the 4 of one executor"):
        sizes(33, cores_per_application="10%", executor={"cores": 4})


def test_the_shared_driver_may_use_all_processors() -> None:
    settings = Spark.model_validate({"sharing": "connect", "conf": {"spark.dynamicAllocation.minExecutors": "2"}})
    small = Sizes(SIZES.worker, 4, 8 * GIB, 6, 2 * GIB, most_cores=16)
    entries = spark_sharing.entries(settings, small) | settings.conf | {"spark.x": "kept"}
    shared = spark_sharing.shared_entries(settings, small, entries)
    assert shared["spark.cores.max"] == "24"
    assert shared["spark.dynamicAllocation.initialExecutors"] == "6"
    assert shared["spark.dynamicAllocation.minExecutors"] == "2"
    assert shared["spark.scheduler.mode"] == "FAIR"
    assert shared["spark.x"] == "kept"
    own = Spark.model_validate({"sharing": "connect", "conf": {"spark.cores.max": "3", "spark.scheduler.mode": "FIFO"}})
    assert own.conf.items() <= spark_sharing.shared_entries(own, small, dict(own.conf)).items()


def test_an_old_spark_cannot_be_shared_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from ood_runtime.spark_home import Spark as Home  # noqa: PLC0415

    with pytest.raises(MissingError, match=r"connect needs Spark 4; /opt/spark is 3\.5\.9") as caught:
        spark_software._check_release(Home(Path("/opt/spark"), "3.5.9", "2.13", ()))
    assert "fair" in caught.value.remedy
    spark_software._check_release(Home(Path("/opt/spark"), "4.0.0", "2.13", ()))


def test_a_python_without_the_client_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    python = Path(sys.executable)
    names = {"json": "there", "no_such_parent.rpc": "google-something", "no_such_module": "'other<3'"}
    monkeypatch.setattr(spark_software, "_CLIENT_PACKAGES", names)
    with pytest.raises(MissingError, match="lacks google-something, 'other<3'") as caught:
        spark_software._check_client(python, {})
    assert caught.value.remedy == f"{python} -m pip install google-something 'other<3'"
    monkeypatch.setattr(spark_software, "_CLIENT_PACKAGES", {"json": "there"})
    spark_software._check_client(python, {})
    with pytest.raises(MissingError, match="cannot say"):
        spark_software._check_client(Path("/nonexistent/python"), {})


def test_where_a_driver_is_shared_no_other_is_kept_warm() -> None:
    warm = {sharing: spark_sharing.warm(Spark.model_validate({"sharing": sharing})) for sharing in ("one", "fair")}
    assert warm == dict.fromkeys(("one", "fair"), "gateway")
    assert spark_sharing.warm(Spark.model_validate({"sharing": "connect", "warm": "context"})) == "off"
