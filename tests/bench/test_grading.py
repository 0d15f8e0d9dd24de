"""Right is right in any form; a list of guesses is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.bench.grading import is_right
from metabolic.bench.questions import Grade, Question


def ask(grade: Grade, *answers: str, choices: tuple[str, ...] = ()) -> Question:
    return Question(
        id="q", set="s", kind="k", text="?", grade=grade, answers=answers, choices=choices
    )


@pytest.mark.parametrize(
    ("question", "answer", "right"),
    [
        (ask("exact", "Oslo"), "Oslo", True),
        (ask("exact", "Oslo"), "The capital of Norway is **Oslo**.", True),
        (ask("exact", "Oslo"), "oslo\nIt lies on a fjord.", True),
        (ask("exact", "Oslo"), "Bergen", False),
        (ask("exact", "Oslo"), "Oslovia", False),
        (
            ask("exact", "Oslo"),
            "Bergen, Rome, Oslo, Lima, Cairo, Bern, Kyiv, Riga, Baku, Bonn",
            False,
        ),
        (ask("exact", "the Sun"), "Sun", True),
        (ask("exact", "the"), "the", True),
        (ask("exact", "Nordwind", "Nordwind Ltd"), "Nordwind Ltd.", True),
        (ask("number", "1250"), "$1,250", True),
        (ask("number", "14"), "8 + 6 = 14", True),
        (ask("number", "5"), "Five.", True),
        (ask("number", "-5"), "-5", True),
        (ask("number", "5"), "-5", False),
        (ask("number", "5"), "no number", False),
        (ask("number", "0.5"), ".5", True),
        (ask("regex", r"\bFalse\b"), "It returns False.", True),
        (ask("regex", r"\bFalse\b"), "true", False),
        (ask("choice", "spam", choices=("spam", "ham")), "Spam!", True),
        (ask("choice", "spam", choices=("spam", "ham")), "ham", False),
        (ask("choice", "spam", choices=("spam", "ham")), "spam or ham", False),
        (ask("choice", "spam", choices=("spam", "not spam")), "not spam", False),
        (ask("choice", "not spam", choices=("spam", "not spam")), "not spam", True),
        (ask("choice", "wet", choices=("dry", "wet")), "(B) wet", True),
        (ask("choice", "wet", choices=("dry", "wet")), "The answer is B.", True),
        (ask("choice", "wet", choices=("dry", "wet")), "(A) wet", False),
        (ask("choice", "dry", choices=("dry", "wet")), "A", True),
        (ask("choice", "wet", choices=("dry", "wet")), "A wet one", True),
        (ask("choice", "dry", choices=("dry", "wet")), "J", False),
        (ask("choice", "x"), "x", False),
    ],
)
def test_answers_are_graded(question: Question, answer: str, right: bool) -> None:  # noqa: FBT001
    assert is_right(question, answer) is right


_ANSWERS = st.text(max_size=80)


@given(_ANSWERS)
def test_any_answer_gets_a_grade(answer: str) -> None:
    for question in (
        ask("exact", "Oslo"),
        ask("number", "12"),
        ask("regex", "x+"),
        ask("choice", "a", choices=("a", "b c")),
    ):
        assert is_right(question, answer) in {True, False}


@given(st.integers(-10_000, 10_000), st.integers(-10_000, 10_000))
def test_only_the_right_number_is_right(right: int, said: int) -> None:
    assert is_right(ask("number", str(right)), f"It is {said:,}.") == (right == said)
