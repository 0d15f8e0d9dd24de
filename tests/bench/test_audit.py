"""Pools of known outcomes, their truth, and the report over logs drawn from them."""

import json

import pytest

pytest.importorskip("duckdb")
np = pytest.importorskip("numpy")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("scipy")

from metabolic.bench.audit import Options, run  # noqa: E402
from metabolic.bench.audit_pools import pools  # noqa: E402
from metabolic.bench.audit_truth import Drawn, draw, true_saving  # noqa: E402


@pytest.fixture(scope="module")
def made():
    return pools(None, seed=1)[0][0]


def test_the_truth_grows_with_the_loss_that_is_allowed(made):
    savings = [true_saving(made, epsilon=epsilon) for epsilon in (-1.0, 0.02, 0.06, 1.0)]
    assert savings[0] == 0
    assert savings == sorted(savings)
    assert 0.3 < savings[1] < savings[-1] < 1


def test_a_log_holds_labels_only_where_they_were_drawn(made, tmp_path):
    log = tmp_path / "log.jsonl"
    rows = draw(made, Drawn(sessions=200, labelled=0.3, seed=4), log)
    found = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(found) == rows
    labelled = [row for row in found if "shadow_quality" in row]
    assert 0.2 < len(labelled) / rows < 0.4
    assert {row["propensity"] for row in labelled} == {0.15}
    assert all(row["cached_tokens"] <= row["input_tokens"] for row in found)
    again = tmp_path / "again.jsonl"
    draw(made, Drawn(sessions=200, labelled=0.3, seed=4), again)
    assert again.read_bytes() == log.read_bytes()


def test_tables_and_a_trace_make_pools_and_what_does_not_is_noted(tmp_path):
    rng = np.random.default_rng(2)
    rows = [
        {
            "dataset": "sums",
            "query_id": str(number),
            "category": "a" if number % 2 else "b",
            "model": model,
            "score": float(rng.random() < good),
            "cost_usd": (200 + 3 * out) * price,
            "in_tokens": 200,
            "out_tokens": out,
        }
        for number in range(300)
        for model, good, price in (("Dear", 0.95, 1e-5), ("Cheap", 0.5, 1e-6))
        for out in (int(rng.integers(5, 90)),)
    ]
    (tmp_path / "sums").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "sums" / "outcomes.parquet")
    blocks = [[0, 10 + n // 3] + [100 + n // 3 * 3 + k for k in range(n % 3)] for n in range(30)]
    trace = [{"t_s": float(n), "in_tokens": 2000, "hash_ids": ids} for n, ids in enumerate(blocks)]
    pq.write_table(pa.Table.from_pylist(trace), tmp_path / "trace.parquet")
    found, notes = pools(tmp_path, seed=0)
    assert [one.name for one in found] == ["synthetic", "sums"]
    assert notes == []
    joined = found[1]
    assert joined.lanes == ("a", "b")
    assert joined.used.entry.model == "dear"
    assert [one.entry.model for one in joined.others] == ["cheap"]
    assert joined.used.entry.output == pytest.approx(30, rel=0.01)
    assert joined.cached.max() > 0
    assert true_saving(joined, epsilon=0.02) == 0
    assert true_saving(joined, epsilon=1.0) > 0.3


def test_a_quick_run_reports_what_the_contract_names(monkeypatch):
    monkeypatch.setattr("metabolic.bench.audit._QUICK_ROWS", 2000)
    made = run(Options(quick=True))
    assert {"coverage_ratio", "width_median_ratio", "rows_per_s", "peak_mb"} <= set(made.figures)
    assert made.quick
    assert len(made.rows) == 12
    for row in made.rows:
        assert {"log", "truth", "low", "high"} <= set(row)
        low, truth, high = (float(row[name] or 0) for name in ("low", "truth", "high"))
        assert row["covered"] == (low <= truth <= high)
    assert made.figures["coverage_ratio"].value >= 0.7
