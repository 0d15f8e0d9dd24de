"""Stored answers, their signals, splits, scorer and certificates; the synthetic truth."""

import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from metabolic.bench.certificate import Options, run  # noqa: E402
from metabolic.bench.material import material, parts, safety  # noqa: E402
from metabolic.bench.scorer import area  # noqa: E402
from metabolic.bench.signals import NAMES, final_number, signals, unwrapped  # noqa: E402
from metabolic.bench.stored import LANE, SCORE, Item, decided, fold  # noqa: E402
from metabolic.bench.synthetic import exceeded  # noqa: E402
from metabolic.bench.tables import pair_of, tables  # noqa: E402
from metabolic.bench.thresholds import METHODS  # noqa: E402
from metabolic.cli.main import app  # noqa: E402
from metabolic.core.certificate import Certificate, Certified  # noqa: E402
from metabolic.core.errors import ConfigError  # noqa: E402

CERTIFICATE = Certificate(
    id="c",
    lane=LANE,
    deployment="cheap",
    reference="dear",
    labeller="exact_match",
    score=SCORE,
    max_loss_ratio=0.05,
    p_exceed=0.1,
    rows=300,
    labels_used=300,
    thresholds=(Certified(min_confidence=0.6, kept_ratio=0.5, loss_ratio=0.0),),
)


def rows(count: int = 150, *, name: str = "made_up") -> list[dict[str, object]]:
    """Return sums that a cheap model gets wrong whenever its equation does not hold."""
    draw = random.Random(3)
    made: list[dict[str, object]] = []
    for number in range(count):
        a, b = draw.randint(2, 90), draw.randint(2, 90)
        good = draw.random() < 0.6
        said = a + b if good else a + b + 7
        for model, right, text, price in (
            ("cheap", good, f"{a} + {b} = {said}\n#### {said}", 1e-6),
            ("middle", True, f"{a} + {b} = {a + b}\n#### {a + b}", 1e-5),
            ("dear", draw.random() < 0.95, f"#### {a + b}", 1e-4),
        ):
            made.append(
                {
                    "dataset": name,
                    "query_id": f"q{number}",
                    "query": f"Ann has {a} apples and buys {b}. How many has she?",
                    "model": model,
                    "score": float(right),
                    "cost_usd": price,
                    "response": text,
                    "split_key": f"k{number}",
                    "extra": "{}",
                }
            )
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    pq.write_table(pa.Table.from_pylist([*rows(), *rows(20, name="tiny")]), folder / "a.parquet")
    return folder


# --- tables -----------------------------------------------------------------------------------


def test_sets_are_found_by_their_rows_and_small_ones_named(data: Path) -> None:
    found, small = tables(data)
    assert [one.name for one in found] == ["made_up"]
    assert small == ["tiny: 20 questions that all its models answered, 100 are needed"]
    assert pair_of(found[0]) == ("cheap", "dear")
    assert found[0].has_text("cheap")


def test_contaminated_rows_are_left_out(tmp_path: Path) -> None:
    marked = [row | {"extra": '{"contaminated": true}'} for row in rows(10)]
    pq.write_table(pa.Table.from_pylist([*rows(120)[30:], *marked]), tmp_path / "a.parquet")
    assert len(tables(tmp_path)[0][0].rows) == 110


def test_a_folder_without_tables_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no table of answers"):
        tables(tmp_path)


def test_without_prices_the_pair_is_the_least_and_the_most_accurate(tmp_path: Path) -> None:
    free = [row | {"cost_usd": None} for row in rows(110)]
    pq.write_table(pa.Table.from_pylist(free), tmp_path / "a.parquet")
    assert pair_of(tables(tmp_path)[0][0]) == ("cheap", "middle")


# --- signals ----------------------------------------------------------------------------------


def named(query: str, text: str) -> dict[str, float]:
    return dict(zip(NAMES, signals(query, text), strict=True))


def test_an_equation_is_computed_again() -> None:
    right = named("Ann has 3 and buys 4.", "3 + 4 = 7\n#### 7")
    wrong = named("Ann has 3 and buys 4.", "3 + 4 = 8\n#### 8")
    assert (right["equations"], right["wrong"], right["ends_at_final"]) == (1, 0, 1)
    assert wrong["wrong"] == 1


def test_numbers_from_nowhere_and_results_that_lead_nowhere_are_counted() -> None:
    seen = named("Ann has 3 apples.", "3 * 17 = 51\n3 + 2 = 5\n#### 5")
    assert seen["foreign"] == 1
    assert seen["dangling"] == 1


def test_an_answer_in_json_is_read_as_text() -> None:
    text = '{"reasoning": "3 + 4 = 7", "answer": "7"}'
    assert unwrapped(text) == "3 + 4 = 7\n#### 7"
    assert final_number(unwrapped(text)) == 7.0
    assert final_number("no number") is None


def test_code_that_does_not_parse_is_seen() -> None:
    assert named("Write f.", "```python\ndef f(:\n```")["code_broken"] == 1
    assert named("Write f.", "```python\ndef f(): pass\n```")["code_broken"] == 0


@settings(max_examples=50)
@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_gives_finite_figures(query: str, text: str) -> None:
    found = signals(query, text)
    assert len(found) == len(NAMES)
    assert all(abs(one) < 1e18 for one in found)


# --- splits, scorer, folding ------------------------------------------------------------------


def test_parts_share_no_question_and_lose_none(data: Path) -> None:
    found = material(tables(data)[0][0], [])
    split = parts(found, seed=1)
    everything = [*split.fit, *split.calibrate, *split.report]
    assert sorted(everything) == list(range(150))
    assert split != parts(found, seed=2)


def test_a_scorer_learns_what_makes_these_answers_wrong(data: Path) -> None:
    table = tables(data)[0][0]
    found = material(table, [table])
    assert found.lessons is not None
    split = parts(found, seed=1)
    scores = safety(found, split, seed=1)
    shown = list(split.report)
    measured = area(found.good[shown], scores[shown])
    assert measured is not None
    assert measured > 0.9
    assert 0 < scores.min() < scores.max() < 1


def test_folding_charges_the_discarded_draft() -> None:
    items = [Item(1.0, 1.0, 0.9), Item(0.0, 1.0, 0.7), Item(0.0, 1.0, 0.1), Item(1.0, 0.0, 0.2)]
    kept = fold(decided(CERTIFICATE, cost_ratio=4), items)
    assert (kept.kept, kept.strong, kept.loss_all, kept.loss_kept) == (0.5, 0.5, 0.25, 0.5)
    assert kept.net_cost(4) == pytest.approx(0.25 + 0.5)


AGREED = msgspec.structs.replace(
    CERTIFICATE,
    score="agreement@1",
    partner="partner",
    thresholds=(Certified(min_confidence=1.0, kept_ratio=0.6, loss_ratio=0.0),),
)


def test_two_that_agree_are_kept_and_both_are_paid_for() -> None:
    decision = decided(AGREED, cost_ratio=10)
    assert [one.deployment for one in decision.stages] == ["partner", "cheap", "dear"]
    items = [Item(1.0, 1.0, 0.0, True), Item(0.0, 1.0, 0.9, True), Item(0.0, 1.0, 0.9, False)]
    kept = fold(decision, items)
    assert (kept.kept, kept.strong, kept.loss_all) == pytest.approx((2 / 3, 1 / 3, 1 / 3))
    assert kept.net_cost(10) == pytest.approx(0.2 + 1 / 3)
    assert [one.deployment for one in decided(AGREED, cost_ratio=2).stages] == ["dear"]


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.sampled_from((0.0, 1.0)), st.sampled_from((0.0, 1.0)), st.floats(0, 1)),
        min_size=1,
        max_size=60,
    )
)
def test_counting_alike_questions_together_is_walking_each(
    drawn: list[tuple[float, float, float]],
) -> None:
    decision = decided(CERTIFICATE, cost_ratio=10)
    items = [Item(*one) for one in drawn]
    together = fold(decision, items)
    alone = [fold(decision, [one]) for one in items]
    for name in ("kept", "called", "strong", "loss_all"):
        mean = sum(getattr(one, name) for one in alone) / len(alone)
        assert getattr(together, name) == pytest.approx(mean)


def test_a_gate_that_cannot_pay_is_not_asked() -> None:
    decision = decided(CERTIFICATE, cost_ratio=2)
    assert [one.deployment for one in decision.stages] == ["dear"]
    assert fold(decision, [Item(1.0, 1.0, 0.9)]).net_cost(2) == 1.0


def test_a_refused_certificate_means_the_dear_model() -> None:
    refused = msgspec.structs.replace(CERTIFICATE, thresholds=(), refused="too few")
    assert [one.deployment for one in decided(refused, cost_ratio=10).stages] == ["dear"]


# --- what is measured -------------------------------------------------------------------------


def test_betting_holds_where_the_naive_choice_does_not() -> None:
    counts = exceeded(METHODS, delta=0.1, draws=150, seed=0)
    wrong = {name: count / 150 for name, count in counts.items()}
    assert wrong["naive"] > 0.35
    assert wrong["betting"] < 0.1 + 3 * (0.09 / 150) ** 0.5
    assert wrong["binomial"] <= wrong["betting"] + 0.05


def test_a_report_has_a_row_for_every_method_and_epsilon(data: Path) -> None:
    made = run(Options(data=data, splits=2, draws=20))
    assert {(row["set"], row["method"], row["epsilon"]) for row in made.rows} == {
        ("made_up", method, epsilon)
        for method in (*METHODS, "agreement")
        for epsilon in (0.02, 0.05, 0.1)
    }
    agreed = [row for row in made.rows if row["method"] == "agreement" and row["epsilon"] == 0.1]
    assert [row["partner"] for row in agreed] == ["middle"]
    assert made.figures["synthetic_violation_ratio"].n == 20
    assert {one.figure for one in made.missing} == {"rows"}
    for row in made.rows:
        assert (row["calibration_rows"], row["splits"]) == (50, 2)
        assert isinstance(row["net_cost_ratio_10"], float)


def test_without_data_the_command_draws_only(capsys: pytest.CaptureFixture[str]) -> None:
    app(["bench", "certificate", "--draws", "5", "--json"])
    shown = msgspec.json.decode(capsys.readouterr().out)
    assert shown["bench"] == "certificate"
    assert shown["missing"] == [{"figure": "rows", "why": "no --data with stored answers"}]
