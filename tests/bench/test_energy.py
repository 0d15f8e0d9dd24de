"""Whether every joule is accounted for, as the benchmark says it."""

from pathlib import Path

import pytest

from metabolic.bench import energy, energy_phases, energy_served
from metabolic.bench.energy_schedules import conserve
from metabolic.bench.energy_scores import METHODS, Case, pooled, scored
from metabolic.bench.energy_simulator import LOADS, simulate

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "energy"


def test_random_schedules_lose_and_invent_nothing() -> None:
    found = conserve(60, seed=3)
    assert found.max_error_j == 0.0
    assert found.energy_j > found.unattributed_j > 0
    assert found.gaps > 0
    assert found.calls > 100


@pytest.mark.parametrize(("load", "rate"), LOADS)
def test_the_simulated_joules_are_all_somebody_s(load: str, rate: float) -> None:
    run = simulate(load, rate, seconds=10.0, seed=1)
    assert sum(one.true_j for one in run.requests) == pytest.approx(run.active_j[-1][1])
    assert [at_s for at_s, _ in run.active_j] == [float(n) for n in range(len(run.active_j))]
    assert all(one.true_j > 0 and one.ended_s > one.began_s for one in run.requests)


def test_ours_is_nearer_to_the_truth_than_simpler_ways_where_requests_compete() -> None:
    for load, cases in energy_served.cases(seconds=15.0, seed=5).items():
        scores = {one.method: one for one in scored(load, cases, seed=0)}
        assert scores["ours"].mape < 0.3
        assert scores["ours"].mape < scores["equal_split"].mape
        assert scores["ours"].mape < scores["tokens_only"].mape


def test_a_perfect_method_has_no_error_and_intervals_hold_the_mean() -> None:
    cases = [
        Case(cluster=i // 2, true_j=2.0, charged_j=dict.fromkeys(METHODS, 3.0) | {"ours": 2.0})
        for i in range(10)
    ]
    scores = {one.method: one for one in scored("x", cases, seed=0)}
    assert (scores["ours"].mape, scores["ours"].worse) == (0.0, 0.0)
    assert scores["equal_split"].low <= scores["equal_split"].mape == 0.5
    assert scored("x", [], seed=0) == []
    assert pooled([], "ours") is None


def _table(folder: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    rows = [
        {
            "Phase": f"start-inference-{n}",
            "Runtime (s)": 1.0 + n % 7,
            "GPU Energy (J)": 250.0 * (1.0 + n % 7),
            "Number of Input Tokens": 32,
            "Number of Output Tokens": 16 * (1 + n % 7),
            "Iteration": 1,
            "Model": "m",
            "Number of GPUs": 1,
            "Batch Size": 4,
            "System": "s",
        }
        for n in range(16)
    ]
    parquet.write_table(arrow.Table.from_pylist(rows), folder / "renamed.parquet")
    parquet.write_table(arrow.Table.from_pylist([{"other": 1}]), folder / "other.parquet")


def test_tables_are_found_by_their_columns(tmp_path: Path) -> None:
    _table(tmp_path)
    (name, runs), *others = energy_phases.read(tmp_path).items()
    assert (name, len(runs), others) == ("renamed", 16, [])
    cases = energy_phases.cases(runs, seed=0, most=None)
    assert len(cases) == 16
    assert max(one.error("ours") for one in cases) < 0.01


def test_the_report_names_every_figure_and_what_is_missing(tmp_path: Path) -> None:
    made = energy.run(seed=1, quick=True, data=tmp_path)
    assert {
        "conservation_max_error_j",
        "unattributed_ratio",
        "attribution_mape",
        "attribution_mape_equal_split",
        "attribution_mape_tokens_only",
    } <= made.figures.keys()
    assert made.figures["conservation_max_error_j"].value == 0.0
    assert made.quick
    assert [one.figure for one in made.missing] == ["attribution_mape of recordings"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="no recordings beside this checkout")
def test_recordings_of_metered_runs_are_all_found() -> None:
    assert len(energy_phases.read(SHARED)) == 3
