"""Labelled rows: what is read, joined, refused and thinned."""

import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.calibrate.labels import from_ledger
from metabolic.calibrate.rows import Labelled, labelled, loss_of, read, thin
from metabolic.core.errors import ConfigError
from metabolic.core.receipt import Record
from metabolic.ledger.memory import Options, create
from metabolic.testing.records import fill_ledger


@pytest.mark.parametrize(
    ("row", "loss"),
    [
        ({"correct_small": 1, "correct_large": 1}, 0.0),
        ({"correct_small": "false", "correct_large": "true"}, 1.0),
        ({"correct_small": 1.0, "correct_large": 0.25}, -0.75),
        ({"preference": "reference"}, 1.0),
        ({"preference": "Draft"}, -1.0),
        ({"preference": "tie"}, 0.0),
        ({"preference": -0.5}, -0.5),
    ],
)
def test_a_label_becomes_a_loss(row: dict[str, object], loss: float) -> None:
    assert loss_of(row, "row") == loss


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({}, "no label"),
        ({"correct_small": 1}, "no label"),
        ({"preference": "perhaps"}, '"perhaps" is no number'),
        ({"preference": 3}, "out of range"),
    ],
)
def test_a_row_without_a_label_is_refused(row: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        loss_of(row, "row")


def test_a_csv_and_json_lines_say_the_same(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("lane,score,correct_small,correct_large\nx,0.5,1,0\n,,0,1\n")
    lines = tmp_path / "a.jsonl"
    lines.write_text(
        '{"lane": "x", "score": 0.5, "correct_small": 1, "correct_large": 0}\n\n'
        '{"correct_small": 0, "correct_large": 1}\n'
    )
    expected = [
        Labelled(lane="x", confidence=0.5, loss=-1.0),
        Labelled(lane="*", confidence=None, loss=1.0),
    ]
    assert labelled(read(table), source="a") == expected
    assert labelled(read(lines), source="a") == expected


def test_a_parquet_file_is_read(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"lane": ["x"], "score": [0.5], "preference": ["tie"]}), path)
    assert labelled(read(path), source="a") == [Labelled(lane="x", confidence=0.5, loss=0.0)]


@pytest.mark.parametrize("name", ["missing.jsonl", "odd.txt", "broken.jsonl", "broken.parquet"])
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str) -> None:
    if name.startswith("broken"):
        (tmp_path / name).write_text("{")
    with pytest.raises(ConfigError, match=name.split(".", maxsplit=1)[0]):
        read(tmp_path / name)


@pytest.mark.parametrize("propensity", [0, -1, 2])
def test_a_propensity_is_a_probability(propensity: float) -> None:
    with pytest.raises(ConfigError, match="propensity"):
        labelled([{"preference": "tie", "propensity": propensity}], source="a")


def gated(record: Record) -> Record:
    """Return the record as if its first stage had been a gate."""
    stages = record.decision.stages
    if not stages:
        return record
    first = msgspec.structs.replace(stages[0], min_confidence=0.8)
    decision = msgspec.structs.replace(record.decision, stages=(first, *stages[1:]))
    return msgspec.structs.replace(record, decision=decision)


def test_labels_are_joined_with_the_ledger_by_id() -> None:
    ledger = create(Options())
    fill_ledger(ledger, 40)
    records = [gated(one) for one in ledger.records()]
    judged = {one.ask.id for one in records if one.decision.stages and one.receipt.attempts}
    assert judged
    labels = [{"id": one.ask.id, "preference": "draft"} for one in records]
    found = from_ledger(records, [*labels, {"id": "gone", "preference": "tie"}], source="a")
    assert len(found) == len(judged)
    assert {one.loss for one in found} == {-1.0}
    assert {one.lane for one in found} <= {one.signals.lane for one in records}


def test_labels_without_ids_are_refused() -> None:
    with pytest.raises(ConfigError, match="need an id"):
        from_ledger([], [{"preference": "tie"}], source="a")


def test_rows_labelled_more_often_are_thinned_to_a_uniform_sample() -> None:
    rows = [Labelled(lane="a", confidence=0.9, loss=0.0, propensity=1.0)] * 2000
    rows += [Labelled(lane="a", confidence=0.1, loss=1.0, propensity=0.1)] * 200
    kept = thin(rows, seed=1)
    often = sum(one.propensity == 1.0 for one in kept)
    assert len(kept) - often == 200
    assert 140 < often < 260


@given(st.integers(0, 20))
def test_equal_propensities_lose_nothing(seed: int) -> None:
    draw = random.Random(seed)
    rows = [Labelled(lane="a", confidence=draw.random(), loss=0.0) for _ in range(30)]
    kept = thin(rows, seed=seed)
    assert sorted(one.confidence or 0.0 for one in kept) == sorted(
        one.confidence or 0.0 for one in rows
    )
