"""The page in a browser, as a customer meets it."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from docs.demo import model
from docs.demo.routes import NO_NAME
from tests.demo.browser import Browser
from tests.demo.running import RunningDemo
from tests.demo.statement import of_kind, statement
from tests.waiting import wait_until

WAIT_SECONDS = 20
LONG = "What if I close this tab now?"
OUTAGE_SECONDS = 30
MOST_ANSWERS = 10


@pytest.fixture
def page(demo: RunningDemo, browser: Browser, customer: str) -> Iterator[Browser]:
    """The page with a customer who has just signed in; it complains of nothing, and asks nobody else for anything."""
    browser.open(demo.url)
    sign_in(browser, customer)
    yield browser
    assert browser.complaints() == []
    assert {urlsplit(url).netloc for url in browser.loaded()} <= {urlsplit(demo.url).netloc}
    browser.forget()


def sign_in(browser: Browser, name: str) -> None:
    """By typing a name."""
    browser.find("#name").send_keys(name)
    browser.click("#sign-in .primary")
    browser.wait_for_text("#customer", name)


def test_a_name_that_is_none(demo: RunningDemo, browser: Browser, customer: str) -> None:
    """The browser says how names are, in the app's words; where it lets one through, the app says so itself."""
    browser.open(demo.url)
    assert browser.find("#name").get_attribute("title") == NO_NAME
    browser.run("document.getElementById('sign-in').noValidate = true")
    browser.find("#name").send_keys("-")
    browser.click("#sign-in .primary")
    browser.wait_for_text("#notice", NO_NAME)
    browser.find("#name").clear()
    sign_in(browser, customer)
    assert browser.notice() == ""
    browser.complaints()  # Chromium's own, of the answer 400
    browser.forget()


def say(page: Browser, prompt: str) -> None:
    """Send a message."""
    page.find("#prompt").send_keys(prompt)
    page.click("#send")


def hear(page: Browser) -> str:
    """Wait for the end of the answer; what stands below it."""
    page.wait_until_gone(".streaming")
    return page.seen(".messages li")[-1].text


def pay(page: Browser, item: str) -> None:
    """Buy it, and have the provider tell of it twice."""
    page.click(f'[data-item="{item}"] button')
    page.click("#pay:enabled")
    page.wait_for_text("#told li:nth-child(1)", "Told once")
    page.click("#pay:enabled")
    page.wait_for_text("#told li:nth-child(2)", "Told twice")
    first, second = page.seen("#told li")
    assert first.text.replace("once", "twice") == second.text
    page.click("#back")
    page.find("#balance")


def spent_by(entries: list[dict[str, Any]]) -> float:
    """All that the entries say was used."""
    lines = [line for entry in entries for line in entry["lines"]]
    return sum(line["amount"] for line in lines if line["account"].startswith("consumed:"))


def test_chat_until_the_paywall_then_pay_and_chat_on(demo: RunningDemo, page: Browser, customer: str) -> None:
    """Each answer reserves, streams and commits; the payment grants once; the ledger agrees with all of it."""
    page.wait_for_number("#balance", 300)
    say(page, "hello")
    wait_until(lambda: page.number("#reserved") > 0, WAIT_SECONDS, "credit to be reserved")
    assert "120 reserved" in hear(page)
    page.wait_for_number("#reserved", 0)
    assert page.number("#left") + page.number("#spent") == 300
    wait_until(lambda: {"check", "reserve", "commit"} <= page.verbs(), WAIT_SECONDS, "the calls to be shown")

    for _ in range(MOST_ANSWERS):
        if page.seen("#paywall"):
            break
        say(page, "hello")
        hear(page)
    page.find("#paywall")
    wait_until(lambda: page.number("#balance") < 10, WAIT_SECONDS, "the credit to be used up")

    pay(page, "chat.small")
    left = statement(demo, customer).total
    assert left >= 500
    page.wait_for_number("#balance", left)
    say(page, "hello")
    hear(page)
    wait_until(lambda: page.number("#balance") < left, WAIT_SECONDS, "the balance to move")

    page.click("#to-ledger")
    page.wait_for_text("#verdict", "the lines of each sum to zero")
    kept = statement(demo, customer)
    assert kept.total + spent_by(kept.entries) == 800
    assert len(page.seen("#entries > li")) == len(kept.entries)
    assert len(of_kind(kept.entries, "reservation_opened")) == len(of_kind(kept.entries, "reservation_committed"))


def test_another_customer_upgrades_twice(demo: RunningDemo, page: Browser, customer: str) -> None:
    """From the free plan to one that is paid for, and from there to the next; a balance each time, in one step."""
    assert page.text("#plan") == "Free"
    page.click("#get-credits")
    pay(page, "chat.plus")
    page.wait_for_text("#plan", "Plus")
    page.wait_for_number("#balance", 2_300)
    page.click("#plan")
    assert not page.find('[data-item="chat.plus"] button').is_enabled()
    pay(page, "chat.pro")
    page.wait_for_text("#plan", "Pro")
    left = statement(demo, customer).total
    assert 10_200 <= left <= 10_300
    wait_until(lambda: page.number("#balance") == int(left * 1e6) / 1e6, WAIT_SECONDS, "what the ledger has")


def test_who_closes_the_tab_pays_for_what_was_streamed(demo: RunningDemo, page: Browser, customer: str) -> None:
    """Not for the answer that was reserved for, and not for nothing; what is left comes back at once."""
    page.in_another_window(demo.url)
    say(page, LONG)
    seen = wait_until(lambda: page.streamed() if page.streamed() >= 10 else None, WAIT_SECONDS, "ten tokens")
    page.close_window()
    [committed] = wait_until(
        lambda: of_kind(statement(demo, customer).entries, "reservation_committed"), WAIT_SECONDS, "the commit"
    )
    charged = spent_by([committed])
    assert seen <= charged < len(model.answer(LONG))
    page.wait_for_number("#balance", 300 - charged)
    page.wait_for_number("#reserved", 0)


def test_who_stops_an_answer_pays_for_what_was_streamed(demo: RunningDemo, page: Browser, customer: str) -> None:
    """The button does what closing the tab does, and the chat goes on."""
    say(page, LONG)
    wait_until(lambda: page.streamed() >= 5, WAIT_SECONDS, "some tokens")
    page.click("#stop")
    assert "what was streamed is charged" in hear(page)
    [committed] = wait_until(
        lambda: of_kind(statement(demo, customer).entries, "reservation_committed"), WAIT_SECONDS, "the commit"
    )
    assert 5 <= spent_by([committed]) < len(model.answer(LONG))
    page.wait_for_number("#balance", committed["total_after"])
    page.wait_for_number("#reserved", 0)
    assert page.find("#send").is_enabled()


def test_the_page_goes_on_while_the_edge_does_not_answer(demo: RunningDemo, page: Browser, customer: str) -> None:
    """It says so; the fail mode says yes, so there are answers; they are charged once, when the edge is back."""
    page.wait_for_number("#balance", 300)
    demo.run_from_page("-STOP")
    try:
        wait_until(lambda: "fails open" in page.notice(), OUTAGE_SECONDS, "the page to say that metering is away")
        say(page, "hello")
        wait_until(lambda: page.streamed() > 0, OUTAGE_SECONDS, "the answer to begin")
        assert "to be charged when metering is back" in hear(page)
        used = page.streamed()
    finally:
        demo.run_from_page("-STOP", STOP="CONT")
    wait_until(lambda: not page.notice(), OUTAGE_SECONDS, "the page to see that it is back")
    page.wait_for_number("#balance", 300 - used)
    wait_until(lambda: statement(demo, customer).total == 300 - used, OUTAGE_SECONDS, "the usage in the ledger")
    assert spent_by(statement(demo, customer).entries) == used
    wait_until(lambda: "record usage" in page.verbs(), WAIT_SECONDS, "the call to be shown")


def test_nothing_is_cut_off(page: Browser) -> None:
    """On a phone, a tablet and a desk: no sideways scrolling, and what one needs is to be seen."""
    say(page, "hello")
    hear(page)
    for size in ((360, 740), (820, 1180), (1280, 860)):
        page.resize(*size)
        assert page.overflow() <= 0, size
        for selector in ("#prompt", "#send", "#balance", "#get-credits"):
            assert page.is_within(selector), (size, selector)
        page.click("#get-credits")
        assert page.overflow() <= 0, size
        assert page.is_within("#paywall"), size
        page.click("#paywall form button")
