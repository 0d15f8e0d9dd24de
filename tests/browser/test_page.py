"""The page at /ui in a real Chromium: live, by keyboard, legible, and alone."""

import re
from typing import Any

import pytest

from metabolic.testing.gateway import Running, gateway_in_thread
from metabolic.testing.showcase import BLIND, ask, showcase

pytestmark = pytest.mark.timeout(120)


SAID = "text => document.querySelector('#said').textContent.includes(text)"


def address(gateway: Running) -> str:
    return f"http://127.0.0.1:{gateway.port}/ui"


def opened(tab: Any, gateway: Running) -> Any:
    """Open the page and wait until it shows what the gateway says."""
    tab.goto(address(gateway))
    tab.wait_for_selector("#main:not([hidden])")
    return tab


def assert_alone(tab: Any) -> None:
    """Nothing was asked of anybody but loopback, and nothing was complained about."""
    assert tab.seen.urls
    assert [url for url in tab.seen.urls if not url.startswith("http://127.0.0.1:")] == []
    assert tab.seen.complaints == []


def test_it_shows_the_machine_the_fleet_the_savings_and_the_requests(tab, busy):
    opened(tab, busy)
    tab.wait_for_selector("#rows tr")
    tiles = dict(
        zip(
            tab.locator("#tiles dt").all_inner_texts(),
            tab.locator("#tiles dd").all_inner_texts(),
            strict=True,
        )
    )
    assert tiles["thermal level"].startswith("nominal")
    assert tiles["headroom"].startswith("23.5 °C") or tiles["headroom"].startswith("24 °C")
    assert tiles["power"].startswith("41 W")
    assert tiles["memory free"].startswith("20.0 GiB")
    assert tab.locator("#fleet tbody tr").count() == 4
    assert tab.locator("#rows tr").count() == 30
    assert tab.locator("#heat canvas, #power canvas").count() == 2
    assert "cpu 71.5" in tab.locator("#heat").get_attribute("aria-label")
    saving = tab.locator("#saved").inner_text()
    assert re.search(r"\d+ % of USD \(\d+\.\d % to \d+\.\d %\) against always best single", saving)
    assert_alone(tab)


def test_it_is_live(tab, busy):
    tab.clock.install()
    opened(tab, busy)
    first = tab.locator("#rows tr").first.get_attribute("data-id")
    ask(busy.base_url, "What is the capital of France?")
    tab.clock.fast_forward(2_500)
    tab.wait_for_function("id => document.querySelector('#rows tr').dataset.id !== id", arg=first)
    assert tab.locator("#rows tr").nth(1).get_attribute("data-id") == first


def test_a_request_opens_down_to_every_candidate_and_reason(tab, busy):
    opened(tab, busy)
    row = tab.locator("#rows tr", has_text="escalated").first
    row.locator("button").click()
    dialog = tab.locator("dialog[open]")
    dialog.wait_for()
    candidates = dialog.get_by_role("region", name="Candidates")
    assert sorted(candidates.locator("tbody td:first-child").all_inner_texts()) == [
        "edge-1b",
        "full",
        "mini",
        "tiny-135m",
    ]
    assert "stage 1" in candidates.inner_text()
    assert dialog.get_by_role("region", name="Plans").locator("tbody tr").count() >= 2
    calls = dialog.get_by_role("region", name="Calls").inner_text()
    assert "set aside" in calls
    assert "given" in calls
    assert "always full (modelled)" in dialog.get_by_role("region", name="Bill").inner_text()
    assert dialog.locator("ul li").count() >= 2
    assert "Summarise the following" not in tab.content()
    assert_alone(tab)


def test_a_request_with_a_limit_shows_who_was_rejected_and_why(tab, busy):
    ask(busy.base_url, "Extract it as JSON: Invoice 9, 1 May.", metabolic_max_cost="0.000001")
    opened(tab, busy)
    tab.locator("#rows tr button").first.click()
    region = tab.get_by_role("region", name="Candidates")
    region.wait_for()
    assert "rejected: " in region.inner_text()


def test_it_works_by_keyboard_alone(tab, busy):
    opened(tab, busy)
    tab.wait_for_selector("#rows tr")
    press = tab.keyboard.press
    press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    press("Enter")
    for _ in range(6):
        press("Tab")
        if tab.evaluate("document.activeElement.matches('#rows button')"):
            break
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    press("ArrowDown")  # scrolls, and must not lose the place
    press("Enter")
    tab.wait_for_selector("dialog[open] table")
    assert tab.evaluate("document.querySelector('dialog').contains(document.activeElement)")
    press("Escape")
    tab.wait_for_selector("dialog", state="hidden")
    assert tab.evaluate("document.activeElement.matches('#rows button')")
    for _ in range(80):
        press("Shift+Tab")
        if tab.evaluate("document.activeElement.id") == "pause":
            break
    press("Space")
    assert tab.locator("#pause").get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_is_legible(tab, busy, scheme, contrast):
    tab.emulate_media(color_scheme=scheme)
    opened(tab, busy)
    tab.wait_for_selector("#rows tr")
    assert contrast(tab) == []
    tab.locator("#rows tr button").first.click()
    tab.wait_for_selector("dialog[open] table")
    assert contrast(tab) == []


def test_every_control_has_a_name_and_every_table_its_heads(tab, busy):
    opened(tab, busy)
    tab.wait_for_selector("#rows tr")
    nameless = tab.evaluate(
        """() => [...document.querySelectorAll("button, input, [role=img], [role=region]")]
        .filter((one) => !(one.getAttribute("aria-label") || one.textContent.trim()
            || (one.labels && one.labels.length)))
        .map((one) => one.outerHTML)"""
    )
    assert nameless == []
    assert tab.locator("table:not(:has(th[scope=col])):not(.u-legend)").count() == 0
    assert tab.locator("html").get_attribute("lang") == "en"


def test_without_sensors_and_requests_it_says_unknown_and_never_zero(tab, upstream):
    with gateway_in_thread(showcase(upstream, sense=BLIND)) as bare:
        opened(tab, bare)
        for name in ("thermal level", "headroom", "power", "throttle risk", "memory free"):
            tile = tab.locator("#tiles div", has_text=name).locator("dd")
            assert tile.inner_text().startswith("unknown"), name
        assert tab.locator("#heat").inner_text() == "No thermometer can be read here."
        assert "No sensor of this machine can be read" in tab.locator("#devices").inner_text()
        assert tab.locator("#none").is_visible()
        assert tab.locator("#saved").inner_text().startswith("Unknown")
        assert tab.locator("#fleet td.unknown").count() == 4
        assert_alone(tab)


def test_it_says_when_the_gateway_is_gone_and_asks_more_seldom(tab, upstream):
    tab.clock.install()
    with gateway_in_thread(showcase(upstream)) as gateway:
        opened(tab, gateway)
    for passed_ms, wait in ((2_500, "4 s"), (4_500, "8 s"), (8_500, "16 s"), (16_500, "30 s")):
        tab.clock.fast_forward(passed_ms)
        tab.wait_for_function(SAID, arg=f"again in {wait}")
    assert tab.locator("#ready").inner_text() == "no connection"
    assert tab.locator("#tiles dd").count() >= 6


def test_with_keys_it_is_on_its_own_listener_and_asks_for_one(tab, upstream):
    more = (
        '[admin]\nport = 0\n[[key]]\nname = "ops"\n'
        'sha256 = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"\n'
    )  # "secret"
    with gateway_in_thread(showcase(upstream, more=more)) as gateway:
        assert gateway.server.admin_port not in {None, gateway.port}
        tab.goto(f"http://127.0.0.1:{gateway.server.admin_port}/")
        field = tab.get_by_label("This gateway asks for an API key")
        field.wait_for()
        assert tab.locator("#main").is_hidden()
        for word in ("wrong", "secret"):
            field.fill(word)
            tab.keyboard.press("Enter")
            if word == "wrong":
                tab.wait_for_function(SAID, arg="not known")
        tab.wait_for_selector("#main:not([hidden])")
        assert "secret" not in tab.url
