"""No fault of an upstream may pass a broken answer off as a whole one."""

import json

import pytest

from metabolic.bench import failover
from metabolic.bench.report import show
from metabolic.bench.upstreams import KNOWN_TEXT, Answer, verdict
from metabolic.testing.fakeanswers import TEXT


def test_the_known_text_is_what_the_fake_upstream_says() -> None:
    assert KNOWN_TEXT == TEXT


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(status=200, text=TEXT, finish="stop", ended=True), "pass"),
        (Answer(status=200, text=TEXT, finish="content_filter", ended=True), "safe"),
        (Answer(status=200, text=TEXT[:40], finish="stop", ended=True), "fail"),
        (Answer(status=200, text=TEXT, finish="stop", ended=False), "fail"),
        (Answer(status=200, text=TEXT[:40], error=True), "safe"),
        (Answer(status=200, text=TEXT[:40], error=True, ended=True), "fail"),
        (Answer(status=200, text=TEXT + TEXT, finish="stop", ended=True), "fail"),
        (Answer(status=502, error=True, ended=False), "safe"),
        (Answer(status=429), "safe"),
        (Answer(status=None), "fail"),
    ],
    ids=str,
)
def test_a_verdict(answer: Answer, expected: str) -> None:
    assert verdict(answer) == expected


@pytest.mark.timeout(180)
def test_a_quick_run_fails_nothing_and_says_what_it_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = failover.run(quick=True)
    failed = [row for row in report.rows if row["verdict"] == "fail"]
    assert failed == []
    assert report.figures["tried"].value == len(report.rows)
    assert report.figures["passed"].value > report.figures["safe"].value > 0
    assert [one.figure for one in report.missing] == ["llama.cpp outages"]
    assert {row["mode"] for row in report.rows} >= {"whole", "held", "stream"}
    with_sibling = [row for row in report.rows if row.get("sibling") and row["mode"] == "held"]
    assert {row["verdict"] for row in with_sibling} == {"pass"}
    retried = [row for row in report.rows if row["fault"] == "reset" and row["sibling"]]
    assert all(row["attempts_billed"] == 2 for row in retried)
    show(report, as_json=True)
    assert json.loads(capsys.readouterr().out)["bench"] == "failover"
