"""Numbers are read as a reader reads them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.validate.numbers import numbers, values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,200 people", [1200.0]),
        ("1.2k and 3 bn", [1200.0, 3e9]),
        ("twenty-five or two million", [25.0, 2e6]),
        ("one hundred and five", [105.0]),
        ("on June 26 , 1980", [26.0, 1980.0]),
        ("10.2 million", [10_200_000.0]),
        ("19.5 %", [19.5]),
        ("nothing here", []),
        ("-5 degrees", [-5.0]),
    ],
)
def test_values_are_those_a_reader_takes(text, expected):
    assert [one.value for one in numbers(text)] == expected


def test_a_percentage_is_known_as_a_share_too():
    assert {12.0, 0.12} <= values(numbers("12%"))


def test_metres_are_known_beside_millions():
    assert {100.0, 100e6} <= values(numbers("100m"))


def test_ordinals_and_lone_words_are_vague():
    assert [one.vague for one in numbers("the 3rd, the first, one and 7")] == [True] * 3 + [False]


@given(st.integers(min_value=0, max_value=10**12))
def test_thousands_separators_change_nothing(value):
    assert [one.value for one in numbers(f"about {value:,} of them")] == [float(value)]


@given(st.text(max_size=300))
def test_every_number_stands_where_it_says(text):
    for one in numbers(text):
        assert text[one.begin : one.end]


@pytest.mark.parametrize("text", ["1,000" * 8000, "twenty " * 8000, "9" * 300, "1 " * 20000])
def test_hostile_texts_take_linear_time(text):
    began_s = time.process_time()
    numbers(text)
    assert time.process_time() - began_s < 2.0
