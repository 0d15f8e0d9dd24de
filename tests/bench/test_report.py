"""The contract every benchmark's output keeps."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.bench.report import Figure, Missing, commit, interval, quantile, report, show


def test_the_interval_is_wilsons() -> None:
    """Textbook case: 81 of 263."""
    found = interval(81, 263)
    assert (found.low, found.high) == (
        pytest.approx(0.2553, abs=1e-4),
        pytest.approx(0.3662, abs=1e-4),
    )


def test_a_perfect_score_is_no_certainty() -> None:
    found = interval(20, 20)
    assert found.high == 1.0
    assert found.low < 0.9


@given(st.integers(1, 5000), st.floats(0, 1))
def test_an_interval_holds_its_share(n: int, share: float) -> None:
    found = interval(share * n, n)
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value <= found.high + 1e-12 <= 1 + 1e-11


def test_quantiles_are_values_that_occurred() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([3.0, 1.0, 2.0], 0.95) == 3.0
    assert quantile([], 0.5) is None


def test_json_is_one_object_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    made = report(
        "demo",
        seed=7,
        seconds=1.5,
        figures={"latency_s": Figure(value=1.0, unit="s", n=3, low=0.9, high=1.1)},
        rows=({"policy": "a", "n": 3, "accuracy": 0.5, "energy_j": None},),
        missing=(Missing(figure="energy_j", why="no meter"),),
    )
    show(made, as_json=True)
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    value = json.loads(out)
    assert value["bench"] == "demo"
    assert value["figures"]["latency_s"] == {
        "value": 1.0,
        "unit": "s",
        "n": 3,
        "low": 0.9,
        "high": 1.1,
    }
    assert {"bench", "version", "commit", "machine", "seed", "seconds", "figures", "rows"} <= set(
        value
    )
    assert value["missing"] == [{"figure": "energy_j", "why": "no meter"}]


def test_people_get_tables(capsys: pytest.CaptureFixture[str]) -> None:
    made = report(
        "demo", seed=7, seconds=1.5, quick=True, rows=({"policy": "a", "x": None},), notes=("mind",)
    )
    show(made, as_json=False)
    out = capsys.readouterr().out
    assert "quick" in out
    assert "policy" in out
    assert "note: mind" in out


def test_the_commit_is_short_or_unknown() -> None:
    found = commit()
    assert found is None or 6 <= len(found) <= 12
