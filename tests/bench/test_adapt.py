"""The script on the made machine: every impact shows, and goes again."""

import pytest

from metabolic.bench.adapt import Options, run
from metabolic.bench.adapt_script import PHASES, RULES, phase_at
from metabolic.bench.report import Report
from metabolic.config import Config


@pytest.fixture(scope="module")
def played() -> Report:
    return run(Config(), Options(quick=True))


def test_every_impact_fires_and_reverts(played: Report) -> None:
    rules = {row["rule"]: row for row in played.rows if "rule" in row}
    assert set(rules) == {one.name for one in RULES}
    silent = [
        name
        for name, row in rules.items()
        if row["fired_after_s"] is None or row["reverted_after_s"] is None
    ]
    assert silent == []
    assert played.figures["rules_fired"].value == played.figures["rules_expected"].value


def test_the_machine_stays_out_of_throttling_where_the_largest_model_would_not(
    played: Report,
) -> None:
    assert played.figures["throttled_s_largest"].value > 30.0
    assert played.figures["throttled_s"].value == 0.0


def test_the_level_does_not_flap(played: Report) -> None:
    assert played.figures["transitions_per_h"].value < 10.0


def test_expected_watts_in_the_heat_are_below_those_of_the_largest(played: Report) -> None:
    heat = [row for row in played.rows if row.get("phase") == "heat" and "t_s" in row]
    late = heat[len(heat) // 2 :]
    assert late
    assert all(
        isinstance(row["expected_w"], float)
        and isinstance(row["largest_w"], float)
        and row["expected_w"] < row["largest_w"]
        for row in late
    )


def test_the_script_names_each_rule_s_phase() -> None:
    names = [one.name for one in PHASES]
    assert {one.phase for one in RULES} <= set(names)
    assert {f"after {one.phase}" for one in RULES} <= set(names)
    assert phase_at(0.0)[0].name == "cool"
    assert phase_at(1e9) == (PHASES[-1], 1.0)
