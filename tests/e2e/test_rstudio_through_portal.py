"""What a scientist does: press the portal's button, and let R compute with what the job has."""

from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.conftest import StartSession
from tests.e2e.portal import RSTUDIO_PAGE, Portal
from tests.standins.rserver import install
from tests.standins.rserver_options import Release
from tests.support.needs import need
from tests.support.rstudio import RStudioClient

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
RESULT_WITHIN = 60.0  # seconds


@pytest.mark.parametrize(
    ("release", "tls"), [((1, 4, 1103), "off"), ((2026, 8, 0), "off"), ((2026, 8, 0), "self-signed")], ids=str
)
def test_r_through_the_portal(
    portal: Portal,
    browser: webdriver.Chrome,
    start_session: StartSession,
    short_tmp: Path,
    release: Release,
    tls: str,
) -> None:
    need("R")
    command = install(short_tmp / "rstudio", release) / "rserver"
    env = {"OMP_PLACES": "it is the job", "SLURM_CPUS_ON_NODE": "7"}
    settings = (f"rstudio.command={command}", f"portal.origin={portal.origin}", f"tls.mode={tls}")
    session = start_session("rstudio", *(word for setting in settings for word in ("--set", setting)), env=env)
    connection = session.connection()
    below = f"{portal.origin}/{'rnode' if tls == 'off' else 'secure-rnode'}/{connection['host']}/{connection['port']}/"
    browser.get(f"{below}auth-sign-in")  # leaves a token, as an earlier job on this host and port has
    browser.get(portal.write_page(connection, page=RSTUDIO_PAGE))
    browser.find_element("id", "connect").click()
    WebDriverWait(browser, RESULT_WITHIN).until(lambda page: page.title == "RStudio", "no page of RStudio")

    assert browser.current_url == below
    code = 'paste(Sys.getenv("SLURM_CPUS_ON_NODE"), Sys.getenv("OMP_PLACES"), sum(1:10))'
    browser.find_element("id", "line").send_keys(code, Keys.ENTER)
    output = WebDriverWait(browser, RESULT_WITHIN).until(lambda page: page.find_element("id", "output").text, "no R")
    assert output.strip() == '[1] "7 it is the job 55"'

    _assert_strangers_are_refused(below, str(connection["username"]), str(connection["password"]))
    assert session.stop() == 128 + 15


def _assert_strangers_are_refused(url: str, user: str, password: str) -> None:
    client = RStudioClient(url)
    assert client.sign_in(user, password + "x") == "1"
    assert client.sign_in("root", password) == "1"
    assert client.sign_in(user, password, cookies="csrf-token=x; rs-csrf-token=x") == "2"
    assert client.page().headers["Location"] == f"{url.removeprefix(_origin(url))}auth-sign-in?appUri=%2F"
    client.close()


def _origin(url: str) -> str:
    return "/".join(url.split("/")[:3])
