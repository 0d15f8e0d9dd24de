"""The questions that come along, and the ones sampled from tables."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from metabolic.bench.grading import is_right
from metabolic.bench.questions import SHOTS, half_of, own_questions, prompt, sampled_questions
from metabolic.core.errors import ConfigError

OWN = own_questions()
LABEL = {"answer_kind": "label", "task": "mood"}
SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "eval_sets"


def test_there_are_at_least_120_of_each_kind_enough() -> None:
    assert len(OWN) >= 120
    assert len({one.id for one in OWN}) == len(OWN)
    assert len({one.text for one in OWN}) == len(OWN)
    assert min(Counter(one.kind for one in OWN).values()) >= 10


def test_no_question_is_among_the_worked_examples() -> None:
    assert not {one.text for one in OWN} & {asked for asked, _ in SHOTS}


def test_every_right_answer_is_graded_right_and_nonsense_is_not() -> None:
    for one in OWN:
        if one.grade != "regex":
            assert is_right(one, one.answers[0]), one
            assert is_right(one, f"{one.answers[0]}."), one
        assert not is_right(one, "no idea"), one
        assert not is_right(one, ""), one


def test_the_halves_are_of_similar_size_and_depend_on_the_seed() -> None:
    halves = [half_of(one.id, 0) for one in OWN]
    assert 0.35 < sum(halves) / len(halves) < 0.65
    assert halves != [half_of(one.id, 1) for one in OWN]


def test_a_prompt_ends_with_the_question() -> None:
    messages = prompt(OWN[0])
    assert messages[0].role == "system"
    assert messages[-1].role == "user"
    assert len(messages) == 2 + 2 * len(SHOTS)


def _table(path: Path, rows: list[dict[str, Any]]) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq  # noqa: PLC0415 - an extra

    columns = ("dataset", "item_id", "question", "answer", "task", "answer_kind", "extra")
    filled = [{name: row.get(name) for name in columns} for row in rows]
    pq.write_table(pyarrow.Table.from_pylist(filled), path)


def _row(number: int, **fields: object) -> dict[str, Any]:
    base: dict[str, Any] = {
        "dataset": "sums",
        "item_id": str(number),
        "question": f"What is {number} + 1?",
        "answer": str(number + 1),
        "task": "sum",
        "answer_kind": "number",
    }
    return base | fields


def test_sets_nobody_has_seen_are_sampled_evenly_and_by_seed(tmp_path: Path) -> None:
    moods = [
        _row(
            n, dataset="moods", question=f"mood {n}", answer=mood, answer_kind="label", task="mood"
        )
        for n, mood in enumerate(["glad", "sad"] * 10)
    ]
    _table(tmp_path / "a.parquet", [_row(n) for n in range(50)] + moods)
    found = sampled_questions(tmp_path, count=20, seed=1)
    assert Counter(one.set for one in found) == {"sums": 10, "moods": 10}
    assert sampled_questions(tmp_path, count=20, seed=1) == found
    assert sampled_questions(tmp_path, count=20, seed=2) != found
    mood = next(one for one in found if one.set == "moods")
    assert mood.text.startswith("Which mood fits this text: glad, sad?")
    assert mood.choices == ("glad", "sad")


def test_options_and_passages_are_part_of_the_question(tmp_path: Path) -> None:
    extra = json.dumps({"context": "It rained.", "options": ["dry", "wet"]})
    row = _row(1, question="How was it?", answer="[1]", extra=extra)
    _table(tmp_path / "a.parquet", [row | {"answer_kind": "mixeval multiple-choice"}])
    (found,) = sampled_questions(tmp_path, count=1, seed=0)
    assert found.text == 'Text: "It rained."\nHow was it?\n(A) dry\n(B) wet'
    assert is_right(found, "B")
    assert is_right(found, "wet")
    assert not is_right(found, "A")


def test_what_cannot_be_graded_or_may_not_be_used_is_left_out(tmp_path: Path) -> None:
    _table(
        tmp_path / "a.parquet",
        [
            _row(1, answer_kind="unit tests"),
            _row(2, dataset="ag_news_test", answer_kind="label"),
            _row(3, question="long " * 200),
            _row(4),
            _row(5, question="What is 4 + 1?"),
        ],
    )
    _table(tmp_path / "b_cc-by-nc-nd.parquet", [_row(6)])
    assert [one.id for one in sampled_questions(tmp_path, count=9, seed=0)] == ["sums/sum/4"]


def test_no_table_is_said_so(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(ConfigError, match="no table of questions"):
        sampled_questions(tmp_path, count=1, seed=0)


def test_the_shared_sets_give_a_thousand_questions_that_can_be_graded() -> None:
    pytest.importorskip("pyarrow")
    if not SHARED.is_dir():
        pytest.skip("no shared data beside the checkout")
    found = sampled_questions(SHARED, count=1000, seed=0)
    assert len(found) >= 1000
    right = [is_right(one, one.answers[0]) for one in found]
    assert sum(right) / len(right) > 0.99
