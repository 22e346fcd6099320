"""Spark's web interfaces in a browser: looked through by clicks, with all that a page loads."""

import os
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as until
from selenium.webdriver.support.ui import WebDriverWait

PAGE_WITHIN = 60.0  # seconds
# What a page has loaded, and how that was answered; where its links lead; whether its styles are in force.
LOOK = """return {
    loaded: performance.getEntriesByType('resource').map(entry => [entry.name, entry.responseStatus]),
    links: [...document.links].map(link => link.href),
    sheets: [...document.styleSheets].filter(sheet => sheet.href && sheet.cssRules.length).length,
    margin: getComputedStyle(document.body).marginTop,
    title: document.querySelector('h3, h1, .navbar-brand') !== null,
}"""


class SparkUi:
    """The interfaces below ``url``, which ends with a slash; the browser is on the master's page."""

    def __init__(self, browser: webdriver.Chrome, url: str) -> None:
        self._browser, self._url = browser, url

    def look_through(self) -> None:
        """Follow the links to every kind of page, of an application that has run a job and a query."""
        self._look(shows="Spark Master at")
        self._save_screenshot()
        self._follow("/proxy/worker-", shows="Running Executors")
        self._browser.get(self._url)
        self._follow("/proxy/app-", shows="Completed Jobs")
        self._follow("/jobs/job/?id=", shows="Details for Job")
        self._follow("/stages/", shows="Completed Stages")
        self._follow("/stages/stage/?id=", shows="Summary Metrics")
        self._follow("/executors/", shows="driver")
        self._follow("/SQL/", shows="Queries")
        self._follow("/SQL/execution/?id=", shows="Details for Query")

    def _follow(self, link: str, *, shows: str) -> None:
        found = WebDriverWait(self._browser, PAGE_WITHIN).until(
            lambda browser: browser.find_elements(By.CSS_SELECTOR, f'a[href*="{link}"]'),
            f"no link to {link} on {self._browser.current_url}",
        )
        self._browser.get(str(found[0].get_attribute("href")))
        assert link in self._browser.current_url or "/jobs/" in self._browser.current_url
        self._look(shows)

    def _look(self, shows: str) -> None:
        found = f'//body[contains(., "{shows}")]'
        waiting = WebDriverWait(self._browser, PAGE_WITHIN)
        waiting.until(until.presence_of_element_located((By.XPATH, found)), f"no {shows!r}")
        assert self._browser.current_url.startswith(self._url)
        page: dict[str, Any] = self._browser.execute_script(LOOK)
        outside = [link for link in page["links"] if not link.startswith((self._url, "javascript:"))]
        assert outside == [], self._browser.current_url
        loaded = [entry for entry in page["loaded"] if not entry[0].startswith("data:")]
        assert len(loaded) >= 5, "styles and programs"
        assert [entry for entry in loaded if entry[1] != 200 or not entry[0].startswith(self._url)] == []
        assert (page["sheets"] >= 2, page["margin"]) == (True, "0px"), "Bootstrap's; a browser's own is 8px"

    def _save_screenshot(self) -> None:
        if place := os.environ.get("OOD_SCREENSHOTS"):
            self._browser.save_screenshot(str(Path(place) / "spark-ui.png"))


def as_a_stranger(browser: webdriver.Chrome, url: str) -> str:
    """The text of a page for a browser that is logged out."""
    browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
    browser.get(url)
    return browser.find_element(By.TAG_NAME, "body").text
