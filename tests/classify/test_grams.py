"""Grams and counts: what a linear head may weigh."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from metabolic.classify.features import look
from metabolic.classify.grams import BITS, EDGE_WORDS, MAX_GRAMS, SURFACE, buckets, surface
from metabolic.core.request import Message, Request, Text


def seen(text: str):
    turn = Message(role="user", content=(Text(text=text),))
    return look(Request(id="r", dialect="chat", model="auto", messages=(turn,)))


def test_two_words_give_two_grams_and_their_pair() -> None:
    assert len(buckets(["red", "fish"])) == 3
    assert buckets(["red", "fish"]) > buckets(["red"]) | buckets(["fish"])


def test_the_order_of_words_makes_other_pairs() -> None:
    assert buckets(["red", "fish"]) != buckets(["fish", "red"])


def test_the_hash_is_the_same_in_every_process() -> None:
    """Weights are files: a bucket must mean the same tomorrow."""
    program = "from metabolic.classify.grams import buckets; print(sorted(buckets(['a', 'b'])))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    assert said.decode().strip() == str(sorted(buckets(["a", "b"])))


def test_the_middle_of_a_long_prompt_is_left_out() -> None:
    ends = [f"w{i}" for i in range(EDGE_WORDS)]
    assert buckets([*ends, "middle", *ends]) == buckets([*ends, "other", *ends])


@given(st.lists(st.text(min_size=1, max_size=8).filter(lambda one: " " not in one), max_size=400))
def test_any_words_give_few_buckets_within_the_table(words: list[str]) -> None:
    found = buckets(words)
    assert len(found) <= MAX_GRAMS
    assert all(0 <= one < 1 << BITS for one in found)


def test_counts_are_what_their_names_say() -> None:
    counts = dict(
        zip(SURFACE, surface(seen("If 3 pens cost 2 dollars, what do 12 cost?")), strict=True)
    )
    assert counts["numbers"] == 3
    assert counts["commas"] == 1
    assert counts["conditions"] == 1
    assert counts["questions"] == 1


@given(st.text(max_size=500))
def test_any_text_has_all_counts(text: str) -> None:
    assert len(surface(seen(text))) == len(SURFACE)
