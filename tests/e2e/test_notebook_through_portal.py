"""What a scientist does: press the portal's button, open a notebook, compute on the Spark cluster."""

import http.client
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import websocket
from selenium import webdriver

from tests.conftest import StartSession
from tests.e2e.browser import Lab
from tests.e2e.portal import Portal
from tests.e2e.spark_ui import SparkUi, as_a_stranger
from tests.support.accounts import user_of_tests
from tests.support.authority import Site
from tests.support.jupyter import Connection, JupyterClient, log_in
from tests.support.portal_proxy import verifying

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_a_sum_on_the_cluster_through_the_portal(
    portal: Portal,
    browser: webdriver.Chrome,
    start_session: StartSession,
    log_in_to: Callable[[Connection], JupyterClient],
) -> None:
    session = start_session("jupyter-spark", "--set", f"portal.origin={portal.origin}")
    connection = session.connection()
    browser.get(portal.write_page(connection, f"{connection['base_url']}lab"))
    browser.find_element("id", "connect").click()
    lab = Lab(browser)
    lab.open_notebook("PySpark")

    assert lab.run_cell("sc.parallelize(range(1000)).sum()") == "499500"

    if os.environ.get("OOD_SCREENSHOTS"):
        _picture_for_the_readme(lab)
    _assert_the_spark_ui_is_there(portal, browser, lab, connection)
    _assert_strangers_are_refused(portal, connection, log_in_to(connection))
    browser.get("about:blank")  # a page that reconnects to a server that ends is not the test
    assert session.stop() == 128 + 15
    assert not (session.directory / "connection.yml").exists()


def _assert_the_spark_ui_is_there(portal: Portal, browser: webdriver.Chrome, lab: Lab, connection: Connection) -> None:
    lab.run_cell("spark.range(99).selectExpr('id % 3 AS k').groupBy('k').count().count()")
    tiles = log_in(connection).request("GET", "server-proxy/servers-info").json()["server_processes"]
    (tile,) = [tile["launcher_entry"] for tile in tiles if tile["name"] == "sparkui"]
    assert (tile["title"], tile["path_info"]) == ("Spark UI", "sparkui/")
    url = f"{portal.origin}{connection['spark_ui_path']}"
    assert url == f"{portal.origin}{connection['base_url']}{tile['path_info']}"
    assert "Spark Master" not in as_a_stranger(browser, url)
    assert "/login" in browser.current_url
    browser.get(portal.write_page(connection, str(connection["spark_ui_path"])))
    browser.find_element("id", "connect").click()
    SparkUi(browser, url).look_through()


def _assert_strangers_are_refused(portal: Portal, connection: Connection, client: JupyterClient) -> None:
    assert _login_without_xsrf(portal, connection) == 403
    kernel = client.request("GET", "api/kernels").json()[0]["id"]
    with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
        client.channels(kernel, origin="http://evil.example.org")
    assert refusal.value.status_code == 403


def _picture_for_the_readme(lab: Lab) -> None:
    lab.run_first_cell_again()
    query = "SELECT id % 3 AS k, count(*) AS n FROM range(1000000) GROUP BY k ORDER BY k"
    assert "Row(k=0, n=333334)" in lab.run_cell(f"spark.sql('{query}').collect()")
    lab.save_screenshot("notebook")


def _login_without_xsrf(portal: Portal, connection: Connection) -> int:
    """The status of a login through the portal with the right password but without XSRF cookie and field."""
    server = http.client.HTTPConnection(portal.origin.removeprefix("http://"), timeout=60)
    server.request(
        "POST",
        f"{connection['base_url']}login",
        body=f"password={connection['password']}",
        headers={"Content-Type": "application/x-www-form-urlencoded", "Origin": portal.origin},
    )
    status = server.getresponse().status
    server.close()
    return status


def test_a_cell_through_a_portal_that_verifies_the_nodes_certificate(
    short_tmp: Path, browser: webdriver.Chrome, start_session: StartSession
) -> None:
    user = user_of_tests()
    (short_tmp / "node").mkdir()
    site = Site(short_tmp / "node", [socket.gethostname(), "localhost"])
    for path in (site.directory, *site.directory.iterdir()):
        os.chown(path, user.uid, user.gid)
    with Portal(short_tmp / "portal", verifying(site.directory / "authority.pem")) as portal:
        settings = [f"tls.{key}={value}" for key, value in site.settings.items()]
        settings += [f"portal.origin={portal.origin}"]
        words = [word for setting in settings for word in ("--set", setting)]
        session = start_session("jupyter", *words, env={"NODE": str(site.directory)})
        connection = session.connection()
        assert str(connection["base_url"]).startswith("/secure-node/")
        browser.get(portal.write_page(connection, f"{connection['base_url']}lab"))
        browser.find_element("id", "connect").click()
        lab = Lab(browser)
        lab.open_notebook("Python 3 (ipykernel)")
        assert lab.run_cell("sum(range(1000))") == "499500"
        browser.get("about:blank")
        assert session.stop() == 128 + 15
        # Whoever has another certificate hears nothing, neither password nor cookie.
        own = start_session("jupyter", "--set", "tls.mode=self-signed").connection()
        assert _login_without_xsrf(portal, own) in (500, 502)
