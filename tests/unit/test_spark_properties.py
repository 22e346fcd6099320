"""Spark's configuration: who overrules whom, and that nothing overrules what secures the cluster."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ood_runtime import spark_properties, spark_workers, ui_filter
from ood_runtime.allocation import Allocation, Node
from ood_runtime.context import Context, Software, SparkSoftware
from ood_runtime.errors import OodRuntimeError
from ood_runtime.java import Java
from ood_runtime.plan import Directories, Grant, Place
from ood_runtime.secret import Secret
from ood_runtime.settings import Settings
from ood_runtime.settings.sizes import GIB
from ood_runtime.spark_home import Spark
from ood_runtime.spark_sizes import Offer, Sizes
from tests.unit.settings_files import PROTECTED_ENTRIES

SIZES = Sizes(Offer(8, 16 * GIB), 4, 8 * GIB, 6, 2 * GIB)
MASTER = "spark://127.0.0.1:20002"
ROOT = Path("/session")


def context(site: Mapping[str, str] | None = None, nodes: int = 1, release: str = "4.0.1", **spark: Any) -> Context:
    software = SparkSoftware(
        spark=Spark(Path("/opt/spark"), release, "2.13", ()),
        java=Java(Path("/opt/java"), "21.0.8", frozenset({"jdk.incubator.vector"}), "$JAVA_HOME"),
        python=Path("/usr/bin/python3"),
        archives=None,
        archive_directory=None,
        ui_filter=None if release.startswith("4") else b"jar",
        site_conf=site or {},
        conf_directory=None,
    )
    return Context(
        settings=Settings.model_validate({"spark": spark}),
        allocation=Allocation("local", "", tuple(Node(f"n{i}", 8, 32 * GIB) for i in range(nodes)), ROOT),
        software=Software(spark=software),
        place=Place("n0", "192.0.2.7", "192.0.2.7" if nodes > 1 else "127.0.0.1"),
        directories=Directories(ROOT, ROOT / "private", ROOT / "logs", ROOT / "scratch", ROOT / "sockets"),
        grant=Grant(
            {"spark_master": 20002, "spark_master_ui": 20003, "spark_ui": 20004},
            {"spark": Secret("s" * 43), "spark_ui": Secret("u" * 43)},
        ),
        environment={},
    )


def compose(**values: Any) -> dict[str, str]:
    return spark_properties.compose(context(**values), MASTER, SIZES)


def test_who_overrules_whom() -> None:
    site = {"spark.a": "site", "spark.driver.memory": "site", "spark.executor.cores": "site", "spark.b": "site"}
    entries = compose(site=site, conf={"spark.b": "user", "spark.executor.cores": "1"})
    assert entries["spark.a"] == "site"
    assert entries["spark.driver.memory"] == "2048m", "what we compute is for this job"
    assert entries["spark.executor.cores"] == "1"
    assert entries["spark.b"] == "user"


@given(st.dictionaries(st.sampled_from([*PROTECTED_ENTRIES, "spark.x"]), st.text(max_size=5)))
def test_a_sites_own_file_cannot_open_the_cluster(site: dict[str, str]) -> None:
    entries = compose(site=site)
    secured = spark_properties.secure((4, 0), context().grant.secrets)
    assert secured.items() <= entries.items()
    assert entries["spark.master"] == MASTER
    left = set(site) & set(entries) - set(secured) - {"spark.master"}
    assert left <= {"spark.x"}
    assert set(spark_properties.dropped(context(site=site))) == set(site) - {"spark.x", "spark.master"}


def test_what_keeps_others_out() -> None:
    entries = compose()
    assert entries["spark.authenticate"] == "true"
    assert entries["spark.authenticate.secret"] == "s" * 43
    assert entries["spark.network.crypto.enabled"] == "true"
    assert entries["spark.network.crypto.cipher"] == "AES/GCM/NoPadding"
    assert entries["spark.io.encryption.enabled"] == "true"
    assert entries["spark.master.rest.enabled"] == "false"
    assert entries["spark.ui.killEnabled"] == "false"
    assert entries["spark.ui.filters"] == ui_filter.JWS_CLASS_NAME
    assert compose(release="3.5.9")["spark.ui.filters"] == ui_filter.CLASS_NAME


def test_a_site_that_allows_it_decides() -> None:
    insecure = compose(site={"spark.ui.killEnabled": "true"}, conf={"spark.authenticate": "false"}, allow_insecure=True)
    assert insecure["spark.authenticate"] == "false"
    assert insecure["spark.ui.killEnabled"] == "true"
    assert spark_properties.dropped(context(site={"spark.authenticate": "x"}, allow_insecure=True)) == []


def test_a_single_node_talks_to_itself_only() -> None:
    assert compose()["spark.driver.host"] == "127.0.0.1"
    assert compose(nodes=2)["spark.driver.host"] == "192.0.2.7"
    assert "-Djava.io.tmpdir=." in compose(nodes=2)["spark.executor.extraJavaOptions"].split()
    assert spark_properties.master_url(context()) == MASTER
    assert spark_properties.master_url(context(nodes=2)) == "spark://192.0.2.7:20002"


def test_options_of_executors_are_kept() -> None:
    entries = compose(site={"spark.executor.extraJavaOptions": "-Dsite"})
    assert "-Dsite" in entries["spark.executor.extraJavaOptions"].split()


def test_a_context_without_spark() -> None:
    without = Context(**{**vars(context()), "software": Software()})
    with pytest.raises(OodRuntimeError, match="without looking for Spark"):
        spark_properties.compose(without, MASTER, SIZES)


# --- a site's spark-defaults.conf ---


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("spark.a b", {"spark.a": "b"}),
        ("  spark.a \t b c ", {"spark.a": "b c"}),
        ("spark.a=b", {"spark.a": "b"}),
        ("spark.a = b", {"spark.a": "b"}),
        ("spark.a: b", {"spark.a": "b"}),
        ("spark.a b=c", {"spark.a": "b=c"}),
        ("# spark.a b", {}),
        ("! spark.a b", {}),
        ("", {}),
        ("spark.a", {"spark.a": ""}),
    ],
)
def test_lines_of_a_sites_file(tmp_path: Path, line: str, entry: dict[str, str]) -> None:
    path = tmp_path / "spark-defaults.conf"
    path.write_text(f"{line}\n")
    assert spark_properties.read(path) == entry


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("spark.a b,\\\n   c\n", {"spark.a": "b,c"}),
        ("spark.a \\u00fc\n", {"spark.a": "ü"}),
        ("spark.a C:\\\\x\n", {"spark.a": "C:\\x"}),
    ],
)
def test_a_sites_file_is_a_properties_file(tmp_path: Path, text: str, entry: dict[str, str]) -> None:
    path = tmp_path / "spark-defaults.conf"
    path.write_text(text)
    assert spark_properties.read(path) == entry


def test_a_sites_file_that_is_not_there(tmp_path: Path) -> None:
    assert spark_properties.read(tmp_path / "gone") == {}


# --- how many workers ---


@pytest.mark.parametrize(
    ("setting", "total", "wanted"),
    [("1", 4, 1), ("9", 4, 4), ("all", 4, 4), ("80%", 4, 4), ("50%", 4, 2), ("1%", 4, 1), ("0%", 4, 1), ("100%", 3, 3)],
)
def test_workers_to_wait_for(setting: str, total: int, wanted: int) -> None:
    assert spark_workers.wanted(setting, total) == wanted
