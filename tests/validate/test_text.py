"""Refusals and loops, read off the text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.validate.text import declines, is_looping

REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I’m sorry, but I can’t assist with that request.",
    "Sorry, I cannot provide that information.",
    "I am sorry, I am unable to answer this.",
    "I apologize, but I cannot fulfill this request.",
    "Unfortunately, I do not have access to real-time data.",
    "As an AI language model, I cannot browse the internet.",
    "As an AI, I don't have personal opinions.",
    "I cannot assist with that.",
    "I can't help you with this.",
    "I'm unable to provide medical advice.",
    "I'm not able to access your files.",
    "I don't know.",
    "I do not know the answer.",
    "I don't have enough information to say.",
    "I must decline to answer.",
    "**I'm sorry, but I can't do that.**",
    "Es tut mir leid, aber ich kann dabei nicht helfen.",
    "Lo siento, pero no puedo ayudarte con eso.",
    "Je suis désolé, mais je ne peux pas vous aider.",
    "Mi dispiace, ma non posso aiutarti.",
    "Desculpe, não posso ajudar com isso.",
    "抱歉，我无法回答这个问题。",
)
ANSWERS = (
    "Paris",
    "Sorry seems to be the hardest word is a song by Elton John.",
    "I can recommend three books on this.",
    "I can't wait to tell you about it!",
    "Unfortunately, the store closes at 6 pm.",
    "I don't know why the caged bird sings is close; the title has no 'don't'.",
    "Dear Sir, I am sorry that the parcel was late.",
    "As an air carrier, the company must file a report.",
    "I am unable by Kafka? No: that title does not exist.",
    "42",
    "",
)
_WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "seven",
    "old",
    "owls",
    "watch",
    "from",
    "an",
    "oak",
]
_PROSE = " ".join(_WORDS[(n * n + 3 * n) % len(_WORDS)] + str(n) for n in range(400))
_TABLE = "\n".join(
    f"| row {n} | {n * n} | {n * 7 % 13} | {'yes' if n % 3 else 'no'} |" for n in range(60)
)
_CODE = "\n".join(
    f"def step_{n}(value: int) -> int:\n    return value * {n} + {n * n % 17}\n" for n in range(40)
)
_RECORDS = "[" + ",".join(f'{{"id": {n}, "name": "item {n}", "ok": true}}' for n in range(60)) + "]"


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_seen(text: str) -> None:
    assert declines(text)


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_is_not_taken_for_a_refusal(text: str) -> None:
    assert not declines(text)


@pytest.mark.parametrize(
    "text",
    [
        "The answer is 4. " * 12,
        "Let us think. " + "I think that this is the case. " * 8,
        "\n".join(["- wash the rice"] * 20),
        "x = x + 1\n" * 40,
        "你好，世界。" * 30,
        "Well. " + "no " * 60,
        _PROSE[:900] + " and so on" * 20,
    ],
)
def test_a_loop_is_seen(text: str) -> None:
    assert is_looping(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ha ha ha ha ha",
        _PROSE,
        _TABLE,
        _CODE,
        _RECORDS,
        "Title\n" + "=" * 300,
        "\n".join(f"{n}. item" for n in range(60)),
        "1, " + ", ".join(map(str, range(2, 300))),
        "0" * 9
        + "1"
        + " is ten digits, and that is all there is to say about the matter at hand, is it not?",
    ],
)
def test_repetitive_but_sound_texts_are_no_loops(text: str) -> None:
    assert not is_looping(text)


def test_a_loop_that_ended_by_itself_is_left_alone() -> None:
    assert not is_looping("Row, row, row your boat. " * 8 + _PROSE)


@given(st.text(max_size=400))
def test_no_text_raises(text: str) -> None:
    declines(text)
    is_looping(text)


@given(st.text(alphabet="ab \n.", max_size=3000))
def test_nearly_periodic_texts_do_not_raise(text: str) -> None:
    is_looping(text)


@given(st.text(alphabet=st.characters(categories=("L",)), min_size=3, max_size=30))
def test_any_unit_said_over_and_over_is_a_loop(unit: str) -> None:
    assert is_looping((unit + " ") * 60)


def test_cost_does_not_grow_with_the_length_of_the_text() -> None:
    def cpu_s(text: str) -> float:
        began = time.process_time()
        for _ in range(20):
            is_looping(text)
            declines(text)
        return time.process_time() - began

    short, long = "ab" * 5_000, "ab" * 500_000
    assert cpu_s(long) < 20 * cpu_s(short) + 0.05
