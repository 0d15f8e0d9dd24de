"""A real Chromium, a gateway over fakes, and traffic that went through it."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metabolic.testing.fakeserver import serve_in_thread
from metabolic.testing.gateway import Running, gateway_in_thread
from metabolic.testing.showcase import PROMPTS, ask, showcase

PATIENCE_MS = 20_000
"""The machine may be busy with much else; conditions are waited for, never times."""

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
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


CONTRAST = """() => {
  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const over = (top, below) => {
    const part = top[3] / 255;
    return [0, 1, 2].map((at) => top[at] * part + below[at] * (1 - part)).concat(255);
  };
  const ground = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) {
      layers.push(rgba(getComputedStyle(at).backgroundColor));
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 255]);
  };
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.checkVisibility()) continue;
    if (["SCRIPT", "STYLE", "NOSCRIPT", "TITLE"].includes(node.tagName)) continue;
    const svg = node.namespaceURI.endsWith("svg");
    const style = getComputedStyle(node);
    const below = ground(node);
    const shown = light(over(rgba(svg ? style.fill : style.color), below));
    const [more, less] = [shown, light(below)].sort((a, b) => b - a);
    const text = walker.currentNode.textContent.trim().slice(0, 40);
    found.push([(more + 0.05) / (less + 0.05), node.tagName, text]);
  }
  return found;
}"""
"""The contrast of every visible text with what is behind it. Source: WCAG 2.2, 1.4.3."""

AA = 4.5


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Debian's Chromium under Playwright; skips where either is missing.

    Not for the whole session: while it is there, its loop counts as running in this thread, and no
    other test could run one.
    """
    library = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra: dev)")
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    home = tmp_path_factory.mktemp("chromium")
    with library.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found,
            args=list(FLAGS),
            env=dict(os.environ) | {"HOME": str(home)},
            timeout=2 * PATIENCE_MS,
        )
        yield browser
        browser.close()


class Seen:
    """What a page asked for and complained about."""

    def __init__(self, page: Any) -> None:
        self.urls: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.urls.append(request.url))
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _console(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)


@pytest.fixture
def tab(chromium: Any) -> Iterator[Any]:
    """One page in a context of its own; what it asked for is in ``tab.seen``."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.seen = Seen(page)
    yield page
    context.close()


@pytest.fixture(scope="session")
def upstream() -> Iterator[str]:
    """The base URL of a fake upstream."""
    with serve_in_thread() as server:
        yield server.base_url


@pytest.fixture(scope="session")
def busy(upstream: str) -> Iterator[Running]:
    """A gateway whose sensors read, and that has answered thirty requests."""
    with gateway_in_thread(showcase(upstream)) as running:
        for number in range(30):
            ask(running.base_url, PROMPTS[number % len(PROMPTS)] + f" ({number})")
        yield running


@pytest.fixture(scope="session")
def logs() -> Path:
    """The audit's synthetic logs."""
    return Path(__file__).parents[1] / "audit" / "logs"


@pytest.fixture
def contrast() -> Callable[[Any], list[Any]]:
    """What finds the texts of a page whose contrast is too low; there must be some texts."""

    def too_faint(tab: Any) -> list[Any]:
        found = tab.evaluate(CONTRAST)
        assert len(found) > 20
        return [one for one in found if one[0] < AA]

    return too_faint
