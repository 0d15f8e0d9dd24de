"""Policies on tables of stored answers."""

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("sklearn")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
np = pytest.importorskip("numpy")

from metabolic.bench.replayed import run  # noqa: E402
from metabolic.bench.routed import apgr  # noqa: E402
from metabolic.cli.main import app  # noqa: E402

POLICIES = {
    "always-small",
    "always-large",
    "best-single",
    "random",
    "router-only",
    "validator-only",
    "agreement-only",
    "both",
    "oracle",
}


def rows(count: int, *, name: str, stored: bool = True) -> list[dict[str, object]]:
    """Return sums that two cheap models get wrong in different ways."""
    draw = random.Random(5)
    made: list[dict[str, object]] = []
    for number in range(count):
        a, b = draw.randint(2, 90), draw.randint(2, 90)
        for model, usual, slip, price in (
            ("cheap", 0.6, 7, 1e-6),
            ("second", 0.7, 3, 2e-6),
            ("dear", 0.97, 1, 1e-4),
        ):
            good = draw.random() < usual
            said = a + b if good else a + b + slip
            made.append(
                {
                    "dataset": name,
                    "query_id": f"q{number}",
                    "query": f"Ann has {a} apples and buys {b}. How many has she?",
                    "model": model,
                    "score": float(good),
                    "cost_usd": price,
                    "response": f"{a} + {b} = {said}\n#### {said}" if stored else None,
                    "split_key": f"k{number}",
                }
            )
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    tables = {
        "sums": rows(120, name="sums"),
        "graded": rows(100, name="graded", stored=False),
        "held": rows(100, name="routerarena_x"),
    }
    for name, found in tables.items():
        pq.write_table(pa.Table.from_pylist(found), folder / f"{name}.parquet")
    return folder


@pytest.mark.timeout(90)  # scikit-learn, on a busy machine
def test_every_policy_is_compared_on_every_set(data: Path) -> None:
    made = run(data, seed=0, quick=False, splits=1)
    by_set: dict[str, dict[str, dict[str, Any]]] = {}
    for row in made.rows:
        by_set.setdefault(str(row["set"]), {})[str(row["policy"])] = dict(row)
    assert set(by_set["sums"]) == POLICIES
    assert set(by_set["graded"]) == POLICIES - {"validator-only", "agreement-only", "both"}
    assert "routerarena_x" not in by_set
    assert any("evaluation only" in one.why for one in made.missing)
    sums = by_set["sums"]
    assert sums["always-large"]["net_cost_ratio"] == pytest.approx(1.0)
    assert sums["validator-only"]["auroc"] > 0.9
    routed, majority = (
        sums["validator-only"][name] for name in ("routing_accuracy", "majority_ratio")
    )
    assert majority < routed <= 1.0
    assert sums["both"]["net_cost_ratio"] < 0.8
    assert sums["both"]["accuracy"] > sums["random"]["accuracy"] + 0.1
    assert sums["oracle"]["accuracy"] >= sums["always-large"]["accuracy"]
    assert sums["agreement-only"]["accuracy"] > sums["always-small"]["accuracy"]


@pytest.mark.timeout(90)  # as above
def test_a_folder_is_replayed_by_the_command(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app(["bench", "cascade", "--replay", str(data), "--quick", "--json"])
    shown = msgspec.json.decode(capsys.readouterr().out)
    assert shown["bench"] == "cascade"
    assert shown["quick"]
    assert {"policy", "set", "n", "accuracy", "net_cost_ratio"} <= set(shown["rows"][0])


def test_a_perfect_order_recovers_most_and_a_constant_half() -> None:
    weak, strong = np.array([0.0, 0.0, 1.0, 1.0]), np.ones(4)
    assert apgr(strong - weak, weak, strong) == pytest.approx(0.75)
    assert apgr(weak - strong, weak, strong) == pytest.approx(0.25)
    assert apgr(weak, weak, weak) is None
