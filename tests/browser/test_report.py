"""The audit's report, opened as whoever pays would open it: from the disk."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("duckdb", reason="needs the extra audit")

from metabolic.cli.main import main

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module", params=["rows.jsonl", "long-cached-sessions.jsonl", "nginx.log"])
def report(request: Any, logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of one of the logs."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    with pytest.raises(SystemExit) as left:
        main(["audit", str(logs / request.param), "--epsilon", "0.06", "--html", str(path)])
    assert left.value.code == 0
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_is_legible_and_asks_nobody(tab, report, scheme, contrast):
    tab.emulate_media(color_scheme=scheme)
    tab.goto(report.as_uri())
    verdict = tab.locator(".verdict strong").inner_text().lower()
    assert verdict in {"switch", "do not switch", "measure first", "cannot tell"}
    assert tab.locator("h1").count() == 1
    assert tab.locator("table").count() >= 3
    assert contrast(tab) == []
    assert tab.seen.urls == [report.as_uri()]
    assert tab.seen.complaints == []


def test_every_figure_says_what_it_shows(tab, report):
    tab.goto(report.as_uri())
    silent = tab.evaluate(
        "() => [...document.querySelectorAll('svg')].filter(one => !one.ariaLabel).length"
    )
    assert silent == 0
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
