"""The strange device, its judges, and the power model left-one-out."""

from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from metabolic.bench.thermal import Options, run
from metabolic.bench.thermal_plant import PARTS, Plant, draw
from metabolic.bench.thermal_power import power_model
from metabolic.bench.thermal_track import Moment, Track, alarms, onsets

ENERGY = Path(__file__).parents[2].parent / "shared" / "data" / "energy"


def _moment(at_s: float, *, slowed: bool = False, headroom_c: float = 20.0) -> Moment:
    return Moment(at_s, headroom_c, headroom_c, slowed, None, None, (), (), 0.0)


def test_the_plant_slows_down_above_its_limit_and_not_below() -> None:
    for part in [replace(one, full_w=1e4) for one in PARTS]:
        hot, cool = Plant(part, Random(1)), Plant(part, Random(1))
        limit_w = hot.limit_w()
        slowed = [False, False]
        for _ in range(20_000):
            hot.step(1.2 * limit_w, 0.1)
            cool.step(0.7 * limit_w, 0.1)
            slowed = [slowed[0] or hot.slowed, slowed[1] or cool.slowed]
        assert slowed == [True, False]


def test_devices_are_drawn_apart_and_the_same_for_the_same_seed() -> None:
    assert draw(PARTS[0], Random(1)) == draw(PARTS[0], Random(1))
    assert draw(PARTS[0], Random(1)) != draw(PARTS[0], Random(2))


def test_alarms_are_right_false_or_missing() -> None:
    moments = tuple(
        _moment(
            float(at_s),
            slowed=100 <= at_s < 110 or 200 <= at_s < 205,
            headroom_c=3.0 if 75 <= at_s < 100 or 140 <= at_s < 142 else 20.0,
        )
        for at_s in range(300)
    )
    track = Track(scenario="s", part="p", moments=moments)
    starts = onsets(track)
    assert starts == [100.0, 200.0]
    found = alarms(track, starts, lambda moment: moment.headroom_c < 5.0)
    assert (found.onsets, found.missed, found.alarms, found.false) == (2, 1, 2, 1)


def test_a_quick_run_reports_every_figure_or_says_why_not() -> None:
    report = run(Options(quick=True, seconds=180.0))
    names = set(report.figures) | {one.figure for one in report.missing}
    for figure in ("ttt_abs_error_median_s", "ttt_abs_error_p90_s", "missed_alarm_ratio"):
        assert {figure, f"{figure}_threshold", f"{figure}_none"} <= names
    assert {"false_alarm_ratio", "false_alarm_ratio_none", "power_model_mape"} <= names
    assert report.quick


@pytest.mark.skipif(not ENERGY.exists(), reason="the shared recordings are not beside the checkout")
def test_the_power_model_beats_the_limit_on_configurations_it_has_not_seen() -> None:
    pytest.importorskip("pyarrow")
    figures, rows, missing = power_model(ENERGY)
    assert missing == []
    assert figures["power_model_mape"].value < figures["power_model_mape_none"].value
    assert {row["method"] for row in rows} == {"left_out", "shipped", "typical", "limit"}


def test_without_recordings_the_power_model_is_missing(tmp_path: Path) -> None:
    assert len(power_model(None)[2]) == 3
