"""The gateway's benchmark keeps its contract, on a small run."""

import json

import pytest

from metabolic.bench import gateway
from metabolic.bench.client import request
from metabolic.bench.report import show

FIGURES = {
    "cpu_us_per_request_c16",
    "cpu_us_per_request_c16_8kb",
    "cpu_us_per_event",
    "added_p50_ms_c1",
    "p99_ms_c64",
    "rss_idle_mb",
    "rss_after_mb",
    "startup_s",
}
COLUMNS = {"target", "concurrency", "body_bytes", "rps", "cpu_us", "p50_ms", "p99_ms"}


@pytest.mark.timeout(120)
def test_a_quick_run_gives_every_figure_and_row(capsys: pytest.CaptureFixture[str]) -> None:
    report = gateway.run(quick=True)
    assert set(report.figures) == FIGURES
    assert report.missing == ()
    assert report.quick
    for figure in report.figures.values():
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value <= figure.high
        assert figure.n > 0
    assert report.figures["rss_idle_mb"].value < 200
    assert {row["target"] for row in report.rows} >= {"direct", "gateway"}
    assert all(set(row) >= COLUMNS for row in report.rows)
    assert all((row["rps"] or 0) for row in report.rows)
    assert not [note for note in report.notes if "failed requests" in note]
    show(report, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["bench"] == "gateway"


@pytest.mark.parametrize("size", [200, 8192])
def test_bodies_have_exactly_the_size_they_say(size: int) -> None:
    body = gateway._body(size, "auto", stream=True)
    assert len(body) == size
    assert json.loads(body)["stream"] is True
    assert request(body).endswith(body)
