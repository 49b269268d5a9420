"""The pages in a browser: on a phone, in the dark, with tabs that open, and without a word of complaint."""

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.color import Color

from app.web.pages import Library
from tests.floors.source import ROOT
from tests.flow.stack import Stack
from tests.programs import program

PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    """Chromium as a phone."""
    options = ChromeOptions()
    options.binary_location = program("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in FLAGS:
        options.add_argument(flag)
    driver = Chrome(options=options, service=ChromeService(program("chromedriver")))
    try:
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
        yield driver
    finally:
        driver.quit()


def paper(browser: Chrome) -> Color:
    """What is behind the words."""
    return Color.from_string(browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color"))


def test_every_page_fits_a_phone(browser: Chrome, stack: Stack) -> None:
    """Nothing but blocks of code and tables is wider than the screen, and those scroll by themselves."""
    pages = [page for page in Library(ROOT).pages.values() if not page.is_excerpt]
    wide: list[str] = []
    for page in pages:
        browser.get(stack.core_url + page.path)
        if browser.execute_script("return document.documentElement.scrollWidth") > PHONE["width"]:
            wide.append(page.path)
    assert not wide
    assert not browser.get_log("browser")


def test_tabs_open(browser: Chrome, stack: Stack) -> None:
    """One block is seen; its neighbour's name shows that one instead."""
    browser.get(f"{stack.core_url}/docs/sdks")
    tabs = browser.find_element(By.CLASS_NAME, "tabs")
    first, second = tabs.find_elements(By.TAG_NAME, "pre")
    assert (first.is_displayed(), second.is_displayed()) == (True, False)
    tabs.find_elements(By.TAG_NAME, "label")[1].click()
    assert (first.is_displayed(), second.is_displayed()) == (False, True)
    assert not browser.get_log("browser")


def test_a_page_is_dark_where_the_reader_is(browser: Chrome, stack: Stack) -> None:
    """By the setting of their system."""
    shades: list[int] = []
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        browser.get(f"{stack.core_url}/docs/credits")
        shades.append(paper(browser).red)
    assert shades[0] > 200
    assert shades[1] < 50
