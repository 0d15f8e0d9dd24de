"""Certificates of several lanes, and the file they are kept in."""

import random
from pathlib import Path

import msgspec
import pytest

from metabolic.calibrate.fit import Asked, fit
from metabolic.calibrate.rows import Labelled
from metabolic.cli.main import app
from metabolic.config import parse
from metabolic.config.certificates import read_certificates, write_certificates
from metabolic.core.certificate import Certificate
from metabolic.core.errors import ConfigError
from metabolic.core.hardware import HardwareState
from metabolic.testing.fleets import deployment, fleet_of
from metabolic.wiring.certificates import score_of
from metabolic.wiring.policy import Chooser

ASKED = Asked(labeller="judge", score="s@1", deployment="small", reference="large")


def rows(lane: str, count: int, *, wrong: float = 0.0, seed: int = 0) -> list[Labelled]:
    draw = random.Random(seed)
    return [
        Labelled(lane=lane, confidence=0.9, loss=1.0 if draw.random() < wrong else 0.0)
        for _ in range(count)
    ]


def test_lanes_share_the_error_probability() -> None:
    made = fit(rows("a", 200) + rows("b", 200), ASKED)
    assert [one.lane for one in made] == ["a", "b"]
    assert {one.p_exceed for one in made} == {0.05}
    assert all(one.refused is None for one in made)


def test_a_lane_that_cannot_be_certified_still_counts() -> None:
    made = {one.lane: one for one in fit(rows("a", 200) + rows("b", 5), ASKED)}
    assert made["a"].p_exceed == 0.05
    assert made["b"].refused is not None


def test_a_lane_that_loses_is_refused() -> None:
    made = fit(rows("a", 400, wrong=0.3), ASKED)
    assert made[0].thresholds == ()
    assert "loses" in (made[0].refused or "")


def test_rows_must_say_whose_they_are() -> None:
    with pytest.raises(ConfigError, match="--deployment"):
        fit(rows("a", 9), msgspec.structs.replace(ASKED, deployment=None))
    with pytest.raises(ConfigError, match="no labelled rows"):
        fit([], ASKED)


def test_models_are_named_when_both_are_known() -> None:
    both = msgspec.structs.replace(ASKED, models={"small": "s-q4", "large": "l-q8"})
    assert fit(rows("a", 60), both)[0].models == ("s-q4", "l-q8")
    one = msgspec.structs.replace(ASKED, models={"small": "s-q4"})
    assert fit(rows("a", 60), one)[0].models == ()


# --- the file ---------------------------------------------------------------------------------


def kept(path: Path) -> tuple[Certificate, ...]:
    made = fit(rows("a", 200), ASKED)
    write_certificates(path, made)
    return made


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    assert kept(path) == read_certificates(path)


def test_a_certificate_changed_by_hand_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    kept(path)
    path.write_text(path.read_text().replace('"max_loss_ratio": 0.05', '"max_loss_ratio": 0.01'))
    with pytest.raises(ConfigError, match="changed after it was made"):
        read_certificates(path)


def test_a_file_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no certificates"):
        read_certificates(tmp_path / "none.json")


def test_the_configuration_names_it_relative_to_itself(tmp_path: Path) -> None:
    made = kept(tmp_path / "c.json")
    config = parse('[[certificate]]\npath = "c.json"', source=str(tmp_path / "m.toml"))
    fleet = fleet_of(deployment("small"), deployment("large"))
    chooser = Chooser(config, fleet, HardwareState(taken_at_s=0.0))
    assert chooser.policy.certificates == made
    assert chooser.policy.score == score_of(config)
    assert set(chooser.prepared.held) == {"a"}
    chooser.alarm(("a",))
    assert chooser.prepared.held["a"].alarm
    chooser.alarm(())
    assert not chooser.prepared.held["a"].alarm


def test_a_scorer_is_named_by_its_validators_and_their_options() -> None:
    plain = score_of(parse("", source="x"))
    assert plain.startswith("shape@")
    assert "+confidence@" in plain
    other = score_of(
        parse('[routing]\nvalidators = [{kind = "fake", confidence = 0.5}]', source="x")
    )
    assert other.startswith("fake@1[")
    learned = score_of(parse('[routing]\nvalidators = ["learned"]', source="x"))
    assert learned.startswith("learned@")
    assert learned != "learned@1"


# --- the command ------------------------------------------------------------------------------


def test_the_command_writes_what_it_certifies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "l.jsonl"
    line = '{"lane": "a", "score": 0.9, "correct_small": 1, "correct_large": 1}\n'
    labels.write_text(line * 100)
    words = ["calibrate", str(labels), "--labeller", "exact_match"]
    words += ["--deployment", "small", "--reference", "large", "--out", str(tmp_path / "c.json")]
    assert app(words) == 0
    assert "Certificates" in capsys.readouterr().out
    assert read_certificates(tmp_path / "c.json")[0].labeller == "exact_match"
    assert app([*words, "--json"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out)[0]["lane"] == "a"


def test_the_command_fails_when_nothing_is_certified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "l.csv"
    labels.write_text("lane,score,preference\n" + "a,0.9,reference\n" * 60)
    words = ["calibrate", str(labels), "--labeller", "judge", "--deployment", "small"]
    assert app([*words, "--reference", "large", "--out", str(tmp_path / "c.json")]) == 1
    assert "refused: already the strictest threshold" in capsys.readouterr().out
