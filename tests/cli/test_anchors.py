"""Anchor questions: asked once, checked, counted like other labels."""

import json
from pathlib import Path

import pytest

from metabolic.bench.grading import is_right
from metabolic.bench.questions import own_questions
from metabolic.cli.anchors import MOST, anchors
from metabolic.cli.main import app
from metabolic.config import load
from metabolic.core.errors import ConfigError
from metabolic.execute.clock import RealClock
from metabolic.testing.fakeserver import FakeServer, serve_in_thread
from metabolic.testing.gateway import config_for
from metabolic.wiring.lane_files import LaneFiles
from metabolic.wiring.lanes import Lanes


def written(tmp_path, up: FakeServer, more: str = "") -> str:
    text = config_for({"good": (up.base_url, "good"), "bad": (up.base_url, "bad")}, more=more)
    text = text.replace('kind = "memory"', f'kind = "sqlite"\npath = "{tmp_path}/ledger.sqlite"')
    assert "sqlite" in text
    path = tmp_path / "metabolic.toml"
    path.write_text(text)
    return str(path)


def knows() -> FakeServer:
    """Return a server that knows one word."""
    return FakeServer(answers={"good": "Oslo", "bad": "No idea."})


def test_a_hundred_questions_are_asked_of_every_kind():
    asked = anchors()
    assert len(asked) == MOST
    assert {one.kind for one in asked} == {one.kind for one in own_questions()}
    assert len({one.id for one in asked}) == MOST


def test_a_newcomer_is_asked_once_and_its_labels_count(tmp_path, capsys):
    with serve_in_thread(knows) as up:
        config = ["--config", written(tmp_path, up)]
        assert app(["lanes", "--anchor", "good", *config, "--json"]) == 0
        (first,) = json.loads(capsys.readouterr().out)
        assert (first["asked"], first["failed"], first["known"]) == (MOST, 0, 0)
        assert first["good"] == sum(is_right(one, "Oslo") for one in anchors()) > 0
        assert app(["lanes", "--anchor", "good", *config]) == 0
        assert "asked before" in capsys.readouterr().out
        asked = len(up.seen)
    lines = (tmp_path / "ledger.labels.jsonl").read_text().splitlines()
    assert (len(lines), asked) == (MOST, MOST)
    assert {json.loads(line)["by"] for line in lines} == {"anchor"}


def test_who_does_not_answer_is_given_up_and_said(tmp_path, capsys):
    with serve_in_thread() as up:
        config = ["--config", written(tmp_path, up)]
    assert app(["lanes", "--anchor", "bad", *config, "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert found["asked"] == 0
    assert 5 <= found["failed"] < 20
    assert found["why"]


def test_nobody_of_that_name_and_nowhere_to_keep_it_are_mistakes(tmp_path):
    with serve_in_thread() as up:
        config = ["--config", written(tmp_path, up)]
        with pytest.raises(ConfigError, match="is no deployment; known are bad, good"):
            app(["lanes", "--anchor", "gone", *config])
        other = tmp_path / "memory.toml"
        other.write_text(config_for({"a": (up.base_url, "a")}))
        with pytest.raises(ConfigError, match="anchors could not be kept"):
            app(["lanes", "--anchor", "all", "--config", str(other)])


def test_a_gateway_counts_anchors_at_its_next_epoch(tmp_path, capsys):
    with serve_in_thread(knows) as up:
        path = written(tmp_path, up, more='[lanes]\nmode = "route"\nmin_labels = 20\n')
        app(["lanes", "--anchor", "good", "bad", "--config", path])
    capsys.readouterr()
    told, config = [], load(Path(path))
    lanes = Lanes(config, clock=RealClock(), publish=told.append)
    lanes.turn()
    lanes._tell()
    root = {one.deployment: one.labels for one in told[-1].tallies if one.lane == "*"}
    assert root == {"bad": MOST, "good": MOST}
    right = {one.deployment: one.correct for one in told[-1].tallies if one.lane == "*"}
    assert right["good"] > right["bad"] == 0
    assert LaneFiles(config).state().labels_bytes > 0
    assert app(["lanes", "--config", path]) == 0
    shown = capsys.readouterr().out
    assert told[-1].version in shown
    assert app(["lanes", "--history", "--config", path, "--json"]) == 0
    (version,) = json.loads(capsys.readouterr().out)["versions"]
    assert version["id"] == told[-1].version
