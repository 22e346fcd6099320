"""What a scientist does who works with R: press the portal's second button, and see what Spark does."""

from pathlib import Path

import pytest
from selenium import webdriver

from tests.conftest import StartSession
from tests.e2e.portal import SPARK_PAGE, Portal
from tests.e2e.spark_ui import SparkUi, as_a_stranger
from tests.standins.rserver import install
from tests.support.needs import need
from tests.support.rstudio import RStudioClient

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
CLIENT = Path(__file__).parents[1] / "support" / "spark_backend.R"
QUERY = "SELECT k, count(*) AS n FROM (SELECT id % 3 AS k FROM range(0, 99, 1, 2)) GROUP BY k"


def test_spark_through_the_gateway(
    portal: Portal, browser: webdriver.Chrome, start_session: StartSession, short_tmp: Path
) -> None:
    need("R")
    command = install(short_tmp / "rstudio", (1, 4, 1103)) / "rserver"
    small = ("--set", "spark.worker.cores=2", "--set", "spark.worker.memory=1500m")
    session = start_session("rstudio-spark", "--set", f"rstudio.command={command}", *small)
    connection = session.connection()
    r = RStudioClient(f"http://{connection['host']}:{connection['port']}/")
    assert r.sign_in(str(connection["username"]), str(connection["password"])) == ""
    r.run(f'source("{CLIENT}"); backend <- backend_start(); spark <- backend_session(backend)')
    r.run(f'backend_query(backend, spark, "{QUERY}")')
    r.close()

    url = f"{portal.origin}{connection['spark_ui_path']}"
    assert "press the button on the session's card" in as_a_stranger(browser, url)
    browser.get(portal.write_page(connection, page=SPARK_PAGE))
    browser.find_element("id", "connect").click()
    SparkUi(browser, url).look_through()
    assert browser.execute_script("return document.cookie") == "", "scripts cannot read it"
    assert "Spark Master" not in as_a_stranger(browser, url)
    assert session.stop() == 128 + 15
