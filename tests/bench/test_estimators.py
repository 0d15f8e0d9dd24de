"""Foretold times and joules, on made tables and on measured ones where they are."""

from pathlib import Path

import pytest

from metabolic.bench.estimators import Options, run
from metabolic.bench.estimators_fit import power_after, time_after
from metabolic.bench.estimators_read import Group, Point, groups

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "energy"


def made(model, *, weights_s, share_s, exponent=0.8, batches=(8, 16, 32, 64, 128)):
    points = [
        Point(
            batch=float(batch),
            token_s=weights_s + share_s * batch**exponent,
            token_j=400.0 * (weights_s + share_s * batch**exponent) / batch,
            power_w=400.0,
            output_tokens=500.0,
        )
        for batch in batches
    ]
    return Group(
        set="made",
        name=model,
        model=model,
        gpu="H100",
        gpus=1,
        precision="bfloat16",
        total=8e9,
        active=8e9,
        points=tuple(points),
    )


def test_a_deployment_of_the_form_is_foretold_exactly_after_two_probes():
    group = made("m", weights_s=0.008, share_s=0.0004)
    times = time_after(group, (0, 2), None)
    for point, found in zip(group.points, times, strict=True):
        assert found["two_probes_line"] == pytest.approx(point.token_s, rel=0.01)
    assert power_after(group, (0, 2)) == [pytest.approx(400.0)] * 5


def test_a_curve_is_put_right_at_both_probes():
    group = made("m", weights_s=0.008, share_s=0.0004)
    curve = [0.02] * 5
    times = time_after(group, (0, 2), curve)
    for index in (0, 2):
        assert times[index]["two_probes"] == pytest.approx(group.points[index].token_s, rel=0.06)


def test_without_data_every_figure_is_missing_and_says_why(tmp_path):
    for data in (None, tmp_path):
        report = run(Options(data=data))
        assert not report.figures
        assert {one.figure for one in report.missing} >= {"tpot_mape", "energy_mape"}


def test_tables_are_found_by_their_columns_whatever_they_are_called(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet  # noqa: PLC0415 - only where it is installed

    rows = [
        {
            "model_id": model,
            "gpu_model": "X9",
            "num_gpus": 2,
            "task": "chat",
            "avg_batch_size": float(batch),
            "output_throughput_tokens_per_sec": batch / (scale * (0.01 + 0.0005 * batch**0.7)),
            "energy_per_token_joules": 1.0 / batch + 0.1,
            "avg_power_watts": 500.0,
            "total_params_billions": 7.0 * scale,
        }
        for model, scale in (("a", 1.0), ("b", 1.5), ("c", 2.0))
        for batch in (1, 4, 16, 64)
    ]
    (tmp_path / "deep").mkdir()
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "deep" / "new.parquet")
    parquet.write_table(pyarrow.table({"other": [1]}), tmp_path / "other.parquet")
    found = groups(tmp_path)
    assert [one.name for one in found] == [f"{name} 2xX9 chat" for name in "abc"]
    report = run(Options(data=tmp_path))
    assert report.figures["tpot_mape"].value < 0.1
    assert not report.missing
    assert {row["protocol"] for row in report.rows} == {"leave_one_out", "two_probes"}
    assert {row["set"] for row in report.rows} == {"new"}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the measured tables are not beside the checkout")
def test_two_probes_foretell_measured_deployments_better_than_a_straight_line():
    report = run(Options(data=SHARED, quick=True))
    figures = report.figures
    assert figures["tpot_mape"].value < 0.16
    assert figures["tpot_mape"].value < figures["tpot_mape_straight_line"].value
    assert figures["energy_mape"].value < figures["energy_mape_straight_line"].value
    assert report.quick
