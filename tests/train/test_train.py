"""Heads learned from made outcomes: what is in the text is found, and kept in the file."""

import random
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from metabolic import plugins
from metabolic.core.errors import ConfigError
from metabolic.core.request import Message, Request, Text
from metabolic.train.families import active_parameters, tier_of
from metabolic.train.matrix import prompts_of
from metabolic.train.outcomes import Outcomes, read
from metabolic.train.ridge import fit
from metabolic.train.shipped import digest, save, train, trained_on

EASY, HARD = "name a colour of the fish", "prove the theorem of the fish"


def made(name: str = "zeroeval_made", many: int = 240) -> Outcomes:
    """The small model fails what asks for a proof; the large one fails every tenth question."""
    rng = random.Random(name)
    words = [f"word{i}" for i in range(40)]
    texts = [f"{HARD if i % 2 else EASY} {' '.join(rng.sample(words, 5))}" for i in range(many)]
    small = [0.0 if i % 2 else 1.0 for i in range(many)]
    large = [0.0 if i % 10 == 0 else 1.0 for i in range(many)]
    return Outcomes(
        name=name,
        questions=tuple(texts),
        categories=tuple("ab"[i % 2] for i in range(many)),
        keys=tuple(f"{name}-{i}" for i in range(many)),
        models=("tiny-7b", "big-70b"),
        scores=np.array([small, large]).T,
        costs=np.full((many, 2), np.nan),
    )


def write_table(folder: Path, one: Outcomes) -> None:
    rows = [
        {
            "dataset": one.name,
            "query_id": f"q{i}",
            "query": text,
            "category": one.categories[i],
            "model": model,
            "score": float(one.scores[i, j]),
            "cost_usd": None,
            "split_key": one.keys[i],
        }
        for i, text in enumerate(one.questions)
        for j, model in enumerate(one.models)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "outcomes.parquet")


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_table(tmp_path, made())
    (found,), skipped = read(tmp_path)
    assert skipped == ()
    assert sorted(found.questions) == sorted(made().questions)
    assert found.models == ("big-70b", "tiny-7b")
    assert found.scores.mean(axis=0) == pytest.approx((0.9, 0.5))
    assert np.isnan(found.costs).all()


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no table of outcomes"):
        read(tmp_path)


def test_a_set_without_text_is_skipped_with_the_reason(tmp_path: Path) -> None:
    textless = msgspec.structs.replace(made(), questions=("",) * 240)
    write_table(tmp_path, textless)
    found, (skipped,) = read(tmp_path)
    assert found == ()
    assert "with text" in skipped.why


def test_heads_find_what_makes_a_model_fail() -> None:
    one = made()
    fitted = fit(prompts_of(one.questions), one.scores)
    fresh = made("zeroeval_fresh")
    said = fitted.predict(prompts_of(fresh.questions))
    hard = fresh.scores[:, 0] == 0
    assert said[hard, 0].max() < said[~hard, 0].min()
    assert said[:, 0].mean() == pytest.approx(0.5, abs=0.05)


def test_the_file_says_what_the_fit_says(tmp_path: Path) -> None:
    save(train([made()], own=True), tmp_path)
    mine = plugins.classifier("learned", {"weights": str(tmp_path / "heads.bin")})
    turn = lambda text: Message(role="user", content=(Text(text=text),))  # noqa: E731
    ask = lambda text: Request(id="r", dialect="chat", model="auto", messages=(turn(text),))  # noqa: E731
    easy, hard = (
        {one.deployment: one for one in mine.classify(ask(text)).p_correct} for text in (EASY, HARD)
    )
    assert hard["tiny-7b"].p_correct < 0.3
    assert easy["tiny-7b"].p_correct > 0.7
    assert easy["tiny-7b"].evidence == 240


def test_equal_data_and_seed_give_equal_files(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        save(train([made()], seed=3), tmp_path / folder)
    first, second = (sorted((tmp_path / one).iterdir()) for one in "ab")
    assert [one.read_bytes() for one in first] == [one.read_bytes() for one in second]


def test_questions_left_aside_are_not_trained_on(tmp_path: Path) -> None:
    save(train([made(many=600)], share=0.5, seed=1), tmp_path)
    known = trained_on(tmp_path / "heads.bin")
    assert 200 < len(known) < 400
    assert known < {digest(key) for key in made(many=600).keys}


def test_a_set_of_unknown_licence_is_not_trained_on() -> None:
    with pytest.raises(ConfigError, match="may be trained on"):
        train([made("somebody_elses")])


@pytest.mark.parametrize(
    ("name", "billions", "tier"),
    [
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 14, "medium"),
        ("qwen3.5-35b-a3b", 3, "small"),
        ("Meta-Llama-3.1-405B-Instruct@hyperbolic", 405, "large"),
        ("gpt-4o-mini-2024-07-18", 8, "medium"),
        ("gpt-4-1106-preview", 100, "large"),
        ("smollm2-0.135b", 0.135, "tiny"),
    ],
)
def test_sizes_are_read_from_names(name: str, billions: float, tier: str) -> None:
    assert active_parameters(name) == pytest.approx(billions * 1e9)
    assert tier_of(name) == tier


def test_a_name_that_says_nothing_has_no_size() -> None:
    assert tier_of("Athene") is None
