"""Chromium as a person would use it: look, click, type, and wait for what is to come."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.programs import program
from tests.waiting import wait_until

WAIT_SECONDS = 20
UNKNOWN = "–"  # noqa: RUF001 - what the page shows before it knows a number
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,860",
)


class Browser:
    """A window of Chromium."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Go there."""
        self.driver.get(url)

    def find(self, selector: str) -> WebElement:
        """The first of these that is to be seen, as soon as it is."""
        return wait_until(lambda: next(iter(self.seen(selector)), None), WAIT_SECONDS, f"{selector} to be seen")

    def seen(self, selector: str) -> list[WebElement]:
        """Those that are to be seen at this moment."""
        return [found for found in self.driver.find_elements(By.CSS_SELECTOR, selector) if found.is_displayed()]

    def click(self, selector: str) -> None:
        """Click on it."""
        self.find(selector).click()

    def text(self, selector: str) -> str:
        """What stands there."""
        return self.find(selector).text

    def number(self, selector: str) -> float:
        """The number that stands there, as soon as one does."""
        text = wait_until(
            lambda: self.text(selector).replace(",", "").strip(UNKNOWN), WAIT_SECONDS, f"{selector} to know"
        )
        return float(text)

    def wait_for_text(self, selector: str, text: str) -> None:
        """Until it says that."""
        wait_until(lambda: text in self.text(selector), WAIT_SECONDS, f"{selector} to say {text!r}")

    def wait_for_number(self, selector: str, number: float) -> None:
        """Until it shows that."""
        wait_until(lambda: self.number(selector) == number, WAIT_SECONDS, f"{selector} to show {number}")

    def wait_until_gone(self, selector: str) -> None:
        """Until nothing of it is to be seen."""
        wait_until(lambda: not self.seen(selector), WAIT_SECONDS, f"{selector} to be gone")

    def run(self, script: str) -> Any:
        """What a script in the page answers."""
        return self.driver.execute_script(script)

    def streamed(self) -> int:
        """How many tokens of the newest answer have come."""
        return int(self.run("return [...document.querySelectorAll('.model-says')].at(-1)?.dataset.tokens ?? 0"))

    def verbs(self) -> set[str]:
        """The calls that the panel shows."""
        return set(self.run("return [...document.querySelectorAll('#calls li')].map((item) => item.dataset.verb)"))

    def notice(self) -> str:
        """What the page says of itself across its top; nothing where all is well."""
        return self.run("const it = document.getElementById('notice'); return it.hidden ? '' : it.textContent")

    def loaded(self) -> list[str]:
        """The addresses of all that the page has asked for."""
        return self.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return self.run("return document.documentElement.scrollWidth - innerWidth")

    def is_within(self, selector: str) -> bool:
        """Whether all of it is inside the window."""
        box = self.find(selector).rect
        width, height = self.run("return [innerWidth, innerHeight]")
        across, down = box["x"] + box["width"], box["y"] + box["height"]
        return box["x"] >= 0 and box["y"] >= 0 and across <= width + 1 and down <= height + 1

    def resize(self, width: int, height: int) -> None:
        """The window that the page has for itself, as a phone or a desk would give it."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def in_another_window(self, url: str) -> None:
        """Go there in a new window, as the same person."""
        self.driver.switch_to.new_window("tab")
        self.open(url)

    def close_window(self) -> None:
        """Close it, and look at the first one."""
        self.driver.close()
        self.driver.switch_to.window(self.driver.window_handles[0])

    def forget(self) -> None:
        """Be somebody new, at a desk."""
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.driver.delete_all_cookies()
        self.open("about:blank")

    def complaints(self) -> list[str]:
        """What the page has complained of in the console."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


@contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """A browser, closed with all of its processes. Without Chromium the test ends here and says what installs it."""
    options = ChromeOptions()
    options.binary_location = program("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    driver = Chrome(options=options, service=ChromeService(program("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
