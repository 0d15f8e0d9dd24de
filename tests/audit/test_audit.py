"""An audit of every kind of log: what each gives, what is said of bad rows, what is concluded."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("duckdb", reason="needs the extra audit")

from metabolic import plugins
from metabolic.audit.html import html_report
from metabolic.audit.prices import read_prices
from metabolic.audit.result import Audit
from metabolic.audit.run import Options, run
from metabolic.core.errors import ConfigError
from metabolic.core.request import Message, Request, Text

LOGS = Path(__file__).parent / "logs"
COUNTED = (
    ("envoy.jsonl", "envoy"),
    ("litellm.csv", "litellm"),
    ("litellm.json", "litellm"),
    ("litellm.jsonl.gz", "litellm"),
    ("otel.jsonl", "otel"),
    ("usage.csv", "openai-usage"),
    ("usage.json", "openai-usage"),
)


@cache
def audited(*names: str, **options: Any) -> Audit:
    made = plugins.classifier("rules")

    def classify(text: str):
        said = Message(role="user", content=(Text(text=text),))
        return made.classify(Request(id="1", dialect="chat", model="m", messages=(said,)))

    paths = tuple(LOGS / name if "/" not in name else Path(name) for name in names)
    return run(Options(paths=paths, threads=1, **options), prices=read_prices(), classify=classify)


def figure(audit: Audit, name: str) -> float | None:
    return next(one.value for one in audit.figures if one.name == name)


@pytest.mark.parametrize(("name", "kind"), COUNTED)
def test_the_same_calls_give_the_same_counts_whatever_their_format(name, kind):
    found = audited(name)
    assert found.sources[0].format == kind
    assert found.calls == 60
    assert figure(found, "input_tokens") == 26987
    assert figure(found, "cached_tokens") == 10240
    assert figure(found, "output_tokens") == 5852
    assert found.verdict.word == "measure first"


@pytest.mark.parametrize("name", ["nginx.log", "envoy.log", "vllm.log"])
def test_access_logs_give_calls_and_say_what_they_lack(name):
    found = audited(name)
    assert found.calls == 60
    assert not found.has_tokens
    assert found.verdict.word == "cannot tell"
    assert any("Tokens" in one for one in found.unknown)


def test_prompts_in_a_vllm_log_give_task_types_and_arithmetic():
    found = audited("vllm.log")
    assert found.has_text
    assert len(found.tasks) > 1
    ratio = figure(found, "no_model_ratio")
    assert ratio is not None
    assert 0.1 < ratio < 0.2


def test_bad_rows_are_counted_with_reason_and_line():
    found = audited("openai.jsonl", "litellm.csv", "nginx.log")
    assert {(one.path, one.reason, one.lines) for one in found.bad} == {
        ("openai.jsonl", "not JSON", (21,)),
        ("openai.jsonl", "a count below zero", (62,)),
        ("litellm.csv", "CSV: 2 columns instead of 14", (62,)),
        ("nginx.log", "not an access-log line", (7,)),
    }
    assert found.calls == 180


def test_text_gives_lanes_and_sessions_by_how_they_begin():
    found = audited("openai.jsonl")
    assert found.has_text
    assert {"open_qa", "code_generation"} <= {one.task for one in found.tasks}
    assert [(one.kind, one.count) for one in found.chains] == [("session", 20)]


def test_parquet_and_json_lines_of_the_same_rows_agree():
    lines, table = audited("rows.jsonl"), audited("rows.parquet")
    assert lines.verdict == table.verdict
    assert lines.lanes == table.lanes
    assert figure(lines, "spent_usd") == pytest.approx(figure(table, "spent_usd"))


def test_labels_tell_the_lane_that_may_move_from_the_one_that_may_not():
    found = audited("rows.jsonl", epsilon=0.06)
    known = {one.lane: one for one in found.lanes}
    assert known["extraction"].adequate == "yes"
    assert known["code_generation"].adequate == "no"
    assert found.verdict.word == "switch"
    assert "extraction to gpt-4o-mini" in found.verdict.sentence
    policy = next(one for one in found.policies if "per lane" in one.policy)
    assert policy.saving_ratio is not None
    assert 0.4 < policy.saving_low <= policy.saving_ratio <= policy.saving_high < 0.6


def test_at_a_strict_epsilon_it_asks_to_measure_first():
    found = audited("rows.jsonl", epsilon=0.005)
    assert found.verdict.word == "measure first"
    assert any(one.labels_needed for one in found.lanes)


def test_long_cached_sessions_should_not_switch():
    found = audited("long-cached-sessions.jsonl", candidates=("llama-3.3-70b-instruct",))
    assert found.verdict.word != "switch"
    dearer = audited("long-cached-sessions.jsonl", candidates=("llama-3.1-70b-instruct",))
    assert dearer.verdict.word == "do not switch"
    assert any("forgets the prompt cache" in one for one in dearer.verdict.reasons)
    assert dearer.policies[1].saving_high < 0


def test_repeats_are_found_where_there_are_hashes():
    found = audited("rows.jsonl")
    assert next(one for one in found.waste if one.kind == "asked before").calls == 99
    assert not any(one.kind == "asked before" for one in audited("litellm.csv").waste)


def test_a_log_of_nothing_known_is_refused_by_name(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("dear diary\n")
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        audited(str(path))
    path.write_text("")
    with pytest.raises(ConfigError, match="empty"):
        audited(str(path))


def test_a_log_without_a_usable_row_says_why(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"model": "a", "input_tokens": -1}\n' * 3)
    with pytest.raises(ConfigError, match="line 1: a count below zero"):
        audited(str(path))


def test_a_candidate_without_a_price_is_refused():
    with pytest.raises(ConfigError, match="no-such-model"):
        audited("rows.jsonl", candidates=("no-such-model",))


def test_the_report_is_one_file_that_fetches_and_runs_nothing():
    page = html_report(audited("rows.jsonl", "openai.jsonl"))
    assert page.startswith("<!doctype html>")
    for forbidden in ("<script", "http://", "https://", "src=", "url(", "@import", "<link"):
        assert forbidden not in page
    assert page.count("<svg") >= 3
    assert page.count("<svg") == page.count("</svg>")


def test_no_prompt_and_no_session_is_in_the_result_or_the_report():
    found = audited("openai.jsonl")
    for text in (repr(found), html_report(found)):
        assert "capital of Peru" not in text
        assert "session-1" not in text
