"""The router's benchmark: its metrics on curves known by hand, and a small run of everything."""

import json
import random
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.bench import router, router_tasks
from metabolic.bench.report import show
from metabolic.bench.router_metrics import aiq, cheapest_at, curve, pair, resampled
from metabolic.bench.router_splits import splits
from metabolic.core.signals import TASKS
from metabolic.train.outcomes import Outcomes, read

FIGURES = {
    *(f"{what}_us_{n}" for what in ("classify", "route", "decide") for n in (32, 128, 512, 4096)),
    *("rss_mb", "task_accuracy", "task_macro_f1"),
}
COLUMNS = {
    *("set", "kind", "split", "method", "n", "splits", "label_budget", "apgr", "apgr_low"),
    *("apgr_high", "gain_over_length_low", "cpt50", "cpt80", "aiq", "strong_share"),
    *("cost_at_best_single_ratio",),
}
METHODS = {
    *("ours", "lane table", "lane table + router", "prompt length", "TF-IDF ridge"),
    *("domain mean", "random", "oracle", "best single"),
}
LANED = {"ours", "lane table", "lane table + router"}
WEAK = np.array([0.0, 0.0, 1.0, 1.0])
STRONG = np.array([1.0, 1.0, 1.0, 1.0])


def test_a_perfect_order_recovers_all_with_half_of_the_strong_calls() -> None:
    found = pair(np.array([4.0, 3.0, 2.0, 1.0]), WEAK, STRONG)
    assert (found.cpt50, found.cpt80) == (0.25, 0.5)
    assert found.apgr == pytest.approx((0 + 0.5) / 2 / 4 + (0.5 + 1) / 2 / 4 + 0.5)


def test_the_opposite_order_recovers_as_late_as_can_be() -> None:
    found = pair(np.array([1.0, 2.0, 3.0, 4.0]), WEAK, STRONG)
    assert found.cpt80 == 1.0
    assert found.apgr == pytest.approx(0.25)


def test_without_a_gap_there_is_nothing_to_recover() -> None:
    assert np.isnan(pair(np.arange(4.0), STRONG, STRONG).apgr)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=8, max_size=60))
def test_resampling_every_question_once_changes_nothing(outcomes: list[tuple[bool, bool]]) -> None:
    weak, strong = np.array(outcomes, dtype=float).T
    score = np.arange(len(weak), dtype=float)
    found = pair(score, weak, strong).apgr
    again = resampled(np.argsort(-score, kind="stable"), strong - weak, np.ones(len(weak)))
    assert np.isnan(again) or np.isnan(found) or again == pytest.approx(found)


def test_a_rising_price_never_raises_expected_cost() -> None:
    """The dial is monotone: paying less for quality never picks dearer models."""
    rng = np.random.default_rng(0)
    chance, costs = rng.random((50, 4)), rng.random((50, 4))
    made = curve(chance, costs, chance, costs, 1.0)
    assert (np.diff(made.cost) <= 1e-12).all()


def test_the_area_under_a_hull_is_that_of_its_corners() -> None:
    cost, quality = np.array([0.0, 1.0, 2.0]), np.array([0.4, 0.8, 0.8])
    assert aiq(cost, quality, 0.0, 2.0) == pytest.approx((0.6 + 0.8) / 2, abs=2e-3)
    assert np.isnan(aiq(cost, quality, 1.0, 1.0))


def test_the_cheapest_point_of_enough_quality_is_taken() -> None:
    chance = np.array([[0.9, 0.6], [0.5, 0.6]])
    made = curve(chance, np.array([[1.0, 0.1]] * 2), chance, np.array([[1.0, 0.1]] * 2), 1.0)
    assert made.quality[cheapest_at(made, 0.6)] == pytest.approx(0.6)
    assert made.cost[cheapest_at(made, 0.6)] == pytest.approx(0.1)


def outcomes(name: str = "made_priced", many: int = 120) -> Outcomes:
    rng = random.Random(name)
    kinds = ("sum", "poem", "law", "proof")
    words = [f"word{i}" for i in range(30)]
    texts = [f"{kinds[i % 4]} {' '.join(rng.sample(words, 4 + i % 5))}" for i in range(many)]
    scores = [
        [float(i % 4 < 2 or rng.random() < 0.3), float(rng.random() < 0.9)] for i in range(many)
    ]
    return Outcomes(
        name=name,
        questions=tuple(texts),
        categories=tuple(kinds[i % 4] for i in range(many)),
        keys=tuple(f"{name}-{i // 2}" for i in range(many)),
        models=("cheap-7b", "dear-70b"),
        scores=np.array(scores),
        costs=np.array([[0.001, 0.01]] * many),
    )


@pytest.mark.parametrize("kind", ["random", "unseen_domain"])
def test_no_question_is_on_both_sides(kind) -> None:
    one = outcomes()
    groups = one.keys if kind == "random" else one.categories
    made = splits(one, kind, count=3, seed=0)
    assert len(made) == 3
    for half in made:
        assert not {groups[i] for i in half.train} & {groups[i] for i in half.test}
        assert sorted([*half.train, *half.test]) == list(range(120))


def test_too_few_domains_give_no_split_by_domain() -> None:
    one = outcomes()
    single = msgspec.structs.replace(one, categories=("a",) * 120)
    assert splits(single, "unseen_domain", count=3, seed=0) == ()


def write(folder: Path, one: Outcomes) -> None:
    rows = [
        {
            "dataset": one.name,
            "query_id": f"q{i:04}",
            "query": text,
            "category": one.categories[i],
            "model": model,
            "score": float(one.scores[i, j]),
            "cost_usd": float(one.costs[i, j]),
            "split_key": one.keys[i],
        }
        for i, text in enumerate(one.questions)
        for j, model in enumerate(one.models)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{one.name}.parquet")


@pytest.mark.timeout(120)
def test_a_quick_run_on_sets_never_seen_gives_every_figure_and_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, outcomes())
    write(tmp_path, outcomes("routerarena_made"))
    report = router.run(router.Options(data=tmp_path, quick=True))
    assert set(report.figures) >= FIGURES
    fitted = [row for row in report.rows if row["kind"] == "fitted" and row["set"] == "made_priced"]
    assert all(set(row) >= COLUMNS for row in fitted)
    assert {row["split"] for row in fitted} == {"random", "unseen_domain"}
    assert {row["method"] for row in fitted if row["split"] == "random"} >= METHODS
    oracle = next(row for row in fitted if row["method"] == "oracle")
    ours = next(row for row in fitted if row["method"] == "ours")
    assert float(oracle["apgr"] or 0) > float(ours["apgr"] or 0) > 0.6
    assert [row for row in report.rows if row["kind"] == "shipped"]
    assert not [r for r in report.rows if r["set"] == "routerarena_made" and r["kind"] == "fitted"]
    assert any(row["set"] == "all sets with prices" for row in report.rows)
    assert {row["method"] for row in report.rows if row["kind"] == "lane"} == LANED
    gateway = [row for row in fitted if str(row["method"]).startswith("gateway")]
    assert [row["decided_loss"] is not None for row in gateway] == [True, True]
    show(report, as_json=True)
    assert json.loads(capsys.readouterr().out)["bench"] == "router"


@pytest.mark.timeout(120)
def test_without_tables_the_rows_are_named_missing() -> None:
    report = router.run(router.Options(quick=True))
    assert {one.figure for one in report.missing} == {"rows", "difficulty_spearman"}
    assert report.figures["task_accuracy"].value > report.figures["task_accuracy_majority"].value


def test_our_own_prompts_are_enough_and_none_twice() -> None:
    rows = [*router_tasks.labelled(), *router_tasks.labelled("dev")]
    assert len(router_tasks.labelled()) >= 300
    assert len({text for _, _, text in rows}) == len(rows)
    assert {task for task, _, _ in router_tasks.labelled()} == set(TASKS)


def test_the_mapping_names_known_tasks() -> None:
    assert set(router_tasks.MAPPING.values()) <= set(TASKS)


SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "router" / "routellm"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not beside this checkout")
def test_published_sets_are_read_whole() -> None:
    found, _ = read(SHARED / "gsm8k.parquet")
    (one,) = found
    assert one.name == "routellm_gsm8k"
    assert one.scores.shape == (948, 2)
    assert sorted(one.scores.mean(axis=0)) == pytest.approx([0.646, 0.866], abs=0.002)
