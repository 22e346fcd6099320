"""A headless Chromium, and JupyterLab as a person sees it in there."""

import os
from pathlib import Path

import selenium.common.exceptions as selenium_errors
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions as until
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.needs import need

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",  # containers have 64 MB there
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
CELL = ".jp-Notebook .jp-CodeCell"
SIDEBAR = "#jp-left-stack"
NOTICE = ".Toastify__toast"
WINDOW = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
PAGE_WITHIN = 90.0  # seconds, for JupyterLab's first page on a busy machine
KERNEL_WITHIN = 180.0  # seconds; the kernel is idle when Spark is ready
RESULT_WITHIN = 120.0  # seconds


def open_browser(profile: Path) -> webdriver.Chrome:
    """A browser with a profile of its own in ``profile``; quit it when done."""
    options = webdriver.ChromeOptions()
    options.binary_location = need("chromium", "chromium-browser", "google-chrome")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(need("chromedriver")))
    # What the page has, without the frame that --window-size counts in.
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", WINDOW)
    return browser


class Lab:
    """JupyterLab in a browser that is logged in, with one notebook."""

    def __init__(self, browser: webdriver.Chrome) -> None:
        self._browser = browser
        self._runs = 0

    def open_notebook(self, kernel_title: str) -> None:
        """Start a new notebook with the launcher's card of this kernel and wait until the kernel is idle."""
        self._find(f'.jp-LauncherCard[data-category="Notebook"][title^="{kernel_title}"]').click()
        self._find(f"{CELL} .cm-content")
        # JupyterLab forgets a cell that is run before its kernel is there. The status bar tells; the circle
        # beside the kernel's name shows "idle" before there is a kernel.
        idle = f'//*[contains(@class, "jp-StatusBar-TextItem") and . = "{kernel_title} | Idle"]'
        self._find(idle, KERNEL_WITHIN, By.XPATH)

    def run_cell(self, code: str) -> str:
        """Type code into the last cell, which is empty, and run it; its value as the page shows it.

        What the code or the kernel prints before is not part of it.
        """
        self.start_cell(code)
        return self._value()

    def start_cell(self, code: str) -> None:
        """The same for what never has a value."""
        self._browser.find_elements(By.CSS_SELECTOR, f"{CELL} .cm-content")[-1].click()
        ActionChains(self._browser).send_keys(code).perform()
        self._run_selected()

    def run_first_cell_again(self) -> str:
        """Run the first cell again, which clears what it printed the first time; its value."""
        self._find(f"{CELL} .cm-content").click()
        self._run_selected()
        return self._value()

    def save_screenshot(self, name: str) -> None:
        """Save the notebook without what stands around it as NAME.png in $OOD_SCREENSHOTS."""
        if self._shown(SIDEBAR):
            self._press(Keys.CONTROL, "b")
            self._until_gone(SIDEBAR)
        if self._shown(NOTICE):
            self._find(f"{NOTICE} button.jp-toast-button:last-child").click()
            self._until_gone(NOTICE)
        self._browser.save_screenshot(str(Path(os.environ["OOD_SCREENSHOTS"]) / f"{name}.png"))

    def _run_selected(self) -> None:
        self._press(Keys.SHIFT, Keys.ENTER)
        self._runs += 1

    def _value(self) -> str:
        # The number in front of a value is that of the run.
        prompt = f'div[contains(@class, "jp-OutputPrompt") and normalize-space() = "[{self._runs}]:"]'
        value = f'//{prompt}/../div[contains(@class, "jp-OutputArea-output")]'
        return self._find(value, RESULT_WITHIN, By.XPATH).text

    def _press(self, modifier: str, key: str) -> None:
        ActionChains(self._browser).key_down(modifier).send_keys(key).key_up(modifier).perform()

    def _shown(self, selector: str) -> bool:
        return any(found.is_displayed() for found in self._browser.find_elements(By.CSS_SELECTOR, selector))

    def _find(self, selector: str, within: float = PAGE_WITHIN, by: str = By.CSS_SELECTOR) -> WebElement:
        """The visible element, when it is there; seconds."""
        return self._waiting(within).until(
            until.visibility_of_element_located((by, selector)),
            f"nothing like {selector} on {self._browser.current_url}",
        )

    def _until_gone(self, selector: str) -> None:
        self._waiting(PAGE_WITHIN).until(
            until.invisibility_of_element_located((By.CSS_SELECTOR, selector)), f"{selector} does not go"
        )

    def _waiting(self, seconds: float) -> WebDriverWait[webdriver.Chrome]:
        # JupyterLab draws an element anew while we look at it.
        stale = selenium_errors.StaleElementReferenceException
        return WebDriverWait(self._browser, seconds, ignored_exceptions=[stale])
