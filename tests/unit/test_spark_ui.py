"""Where the Spark UI is found, and what Spark is told, by settings and by what there is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ood_runtime import spark_ui, spark_ui_entrance
from ood_runtime.context import Context
from ood_runtime.jupyter_home import Jupyter
from ood_runtime.plan import Grant, Part
from ood_runtime.secret import Secret
from tests.unit.test_spark_properties import compose, context

PORTS = {"jupyter": 20001, "spark_master": 20002, "spark_master_ui": 20003, "spark_ui": 20004}
SECRETS = ("spark", "spark_ui", "spark_ui_entry", "password", "xsrf")
OURS = Jupyter(Path("/env/bin/python"), Path("/env/bin/jupyter-lab"), "lab", "4.2.5", True)
WRAPPER = replace(OURS, python=None)


def session(jupyter: Jupyter | None, host: str = "node1", **spark: Any) -> Context:
    plain = context(**spark)
    return replace(
        plain,
        software=replace(plain.software, jupyter=jupyter),
        place=replace(plain.place, host=host),
        grant=Grant(PORTS, {name: Secret(name * 43) for name in SECRETS}),
    )


@pytest.mark.parametrize(
    ("jupyter", "base", "services"),
    [
        (OURS, "/node/node1/20001/sparkui", []),
        (WRAPPER, "/node/node1/20004", ["spark-ui"]),
        (None, "/rnode/node1/20004", ["spark-ui"]),
    ],
)
def test_the_way_in(jupyter: Jupyter | None, base: str, services: list[str]) -> None:
    made = session(jupyter)
    part = spark_ui_entrance.entrance(made)
    assert spark_ui.properties(made)["spark.ui.reverseProxyUrl"] == spark_ui.base(made) == base
    assert part.connection["spark_ui_path"] == f"{base}/"
    assert ("spark_ui_secret" in part.connection) == bool(services)
    assert [service.name for service in part.services] == services
    assert not any(service.essential for service in part.services)
    assert [check.essential for check in part.checks] == [False]
    assert (spark_ui_entrance.tile(made) is not None) == (jupyter is OURS)


@pytest.mark.parametrize("jupyter", [OURS, WRAPPER, None])
def test_there_is_none_where_none_is_wanted(jupyter: Jupyter | None) -> None:
    made = session(jupyter, ui=False)
    assert spark_ui.properties(made) == {"spark.ui.enabled": "false"}
    assert spark_ui_entrance.entrance(made) == Part()
    assert spark_ui_entrance.tile(made) is None


@pytest.mark.parametrize("host", ["proxy", "history"])
def test_a_path_that_spark_would_refuse_ends_no_session(host: str) -> None:
    made = session(OURS, host)
    part = spark_ui_entrance.entrance(made)
    assert spark_ui.properties(made) == {}
    assert (part.connection, part.checks) == ({}, ())
    assert f"Spark reserves the word {host}" in part.notices[0]


def test_only_a_site_may_lead_the_pages_elsewhere() -> None:
    """The site's own file is for its own installation."""
    entries = compose(site={"spark.ui.reverseProxyUrl": "/mine", "spark.ui.proxyRedirectUri": "http://mine"})
    assert entries["spark.ui.reverseProxyUrl"] == "/rnode/n0/20004"
    assert entries["spark.ui.proxyRedirectUri"] == "http://n0"
