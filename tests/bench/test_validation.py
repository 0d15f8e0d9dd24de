"""The bench of the validators: its arithmetic, and a whole run on a made-up folder."""

import importlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.bench.validation import Options, run
from metabolic.bench.validation_fit import FOLDS, folds_of
from metabolic.bench.validation_metrics import (
    auprc,
    auroc,
    balanced_at,
    best_cut,
    recall_at,
    spread,
)
from metabolic.bench.validation_sets import Item, corrupted
from metabolic.core.errors import ConfigError


def test_a_perfect_score_is_perfect_and_a_constant_one_is_chance():
    labels = [0, 0, 1, 1]
    assert auroc([0.1, 0.2, 0.8, 0.9], labels) == 1.0
    assert auprc([0.1, 0.2, 0.8, 0.9], labels) == 1.0
    assert auroc([0.5] * 4, labels) == 0.5
    assert auprc([0.5] * 4, labels) == 0.5
    assert recall_at([0.1, 0.2, 0.8, 0.9], labels, alarms=0.05) == 1.0
    assert best_cut([0.1, 0.2, 0.8, 0.9], labels) == 0.8


def test_one_label_alone_has_no_area():
    assert auroc([1.0, 2.0], [1, 1]) is None
    assert auprc([1.0], [0]) is None
    assert balanced_at([True], [1]) is None
    assert recall_at([1.0], [0], alarms=0.05) is None


@given(st.lists(st.tuples(st.floats(-9, 9), st.integers(0, 1)), min_size=2, max_size=40))
def test_the_area_is_that_of_all_pairs(rows):
    scores, labels = [score for score, _ in rows], [label for _, label in rows]
    bad = [score for score, label in rows if label]
    good = [score for score, label in rows if not label]
    area = auroc(scores, labels)
    if area is None:
        assert not bad or not good
        return
    pairs = [(a > b) + (a == b) / 2 for a in bad for b in good]
    assert area == pytest.approx(sum(pairs) / len(pairs))
    low, high = spread(area, len(bad), len(good))
    assert low <= area <= high


def test_a_group_stays_in_one_fold():
    folds = folds_of(["a", "b", "a", "c"], seed=1)
    assert folds[0] == folds[2]
    assert all(0 <= one < FOLDS for one in folds)


def test_a_corrupted_text_differs_in_one_number_and_its_seed_decides_which():
    item = Item(
        question="", context="It has 12 rooms.", response="It has 12 rooms.", bad=0, group="g"
    )
    bad = Item(question="", context="c", response="It has 12 rooms.", bad=1, group="g")
    for seed in range(20):
        ((kept, wrong),) = corrupted([item, bad], seed=seed)
        assert kept is item
        assert wrong.response != item.response
        assert corrupted([item], seed=seed)[0][1] == wrong


@pytest.fixture
def folder(tmp_path):
    arrow = pytest.importorskip("pyarrow", reason="needs the extra bench")
    pytest.importorskip("numpy", reason="needs the extra bench")
    parquet = importlib.import_module("pyarrow.parquet")

    lot = random.Random(4)
    rows = []
    for number in range(60):
        size, year = lot.randint(20, 900), lot.randint(1800, 1999)
        context = (
            f"The tower of town {number} is {size} metres tall. It was built in {year} by hand."
        )
        bad = number % 2
        said = f"The tower of town {number} is {size + bad * 7} metres tall."
        rows.append(("towers", "", context, said, bad))
        answer = f"First 3 + 4 = {7 + bad} and that is all there is to say about it."
        rows.append(("sums", f"What is 3 + 4 in case {number}?", None, answer, bad))
    names = ("dataset", "question", "context", "response", "hallucinated")
    table = arrow.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    parquet.write_table(table, str(tmp_path / "made_up.parquet"))
    return tmp_path


def test_every_set_is_told_apart_and_good_evidence_shows(folder):
    made = run(Options(data=folder, quick=True))
    rows = {(str(row["set"]), str(row["method"])): row for row in made.rows}

    def figure(name, method, what):
        value = rows[name, method][what]
        assert isinstance(value, float | int)
        return float(value)

    for name in ("towers", "sums"):
        for method in ("ours", "ours_shipped", "lexical_overlap", "length", "chance"):
            assert 0.0 <= figure(name, method, "auroc") <= 1.0
    assert figure("towers", "ours_shipped", "auroc") > 0.9
    assert figure("sums", "ours", "auroc") > 0.9
    assert figure("towers_numeric", "ours_shipped", "false_alarms") == 0
    assert figure("towers_numeric", "ours_shipped", "caught_ratio") > 0.9
    assert made.figures["claims_per_s"].value > 0
    assert {one.figure for one in made.missing} == {
        "numeric_caught_ratio",
        "numeric_false_alarm_ratio",
    }


def test_a_folder_without_labels_is_refused(tmp_path):
    pytest.importorskip("pyarrow", reason="needs the extra bench")
    with pytest.raises(ConfigError, match="no Parquet file"):
        run(Options(data=tmp_path))
