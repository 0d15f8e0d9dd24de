"""Checkpoints are learned apart from the rows of the test, and are in force for these."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from metabolic.calibrate.early import Drafted, learned, with_checkpoints
from metabolic.calibrate.fit import Asked, fit
from metabolic.calibrate.rows import Labelled, labelled
from metabolic.core.checkpoint import Checkpoint
from metabolic.decide.certificate import GRID

ASKED = Asked(
    labeller="exact_match", score="s@1", deployment="small", reference="large", teach_ratio=0.4
)


def rows(count: int, seed: int = 0) -> list[Labelled]:
    """Return drafts that are good and sure, or bad, unsure, and so from their first tokens on."""
    draw = random.Random(seed)
    made: list[Labelled] = []
    for _ in range(count):
        good = draw.random() < 0.7
        first = draw.gauss(-0.2 if good else -1.2, 0.1)
        made.append(
            Labelled(
                lane="a",
                confidence=0.9 if good else 0.3,
                loss=0.0 if good else 1.0,
                firsts=(first, first),
            )
        )
    return made


def drafts(count: int) -> list[Drafted]:
    return [
        Drafted(lane="a", deployment="small", firsts=one.firsts, kept=one.loss == 0.0)
        for one in rows(count, seed=9)
    ]


def test_a_share_of_the_rows_teaches_and_the_rest_is_tested() -> None:
    (made,) = fit(rows(500), ASKED)
    assert made.rows == 300
    assert made.thresholds
    assert [one.tokens for one in made.checkpoints] == [8, 16]
    assert all(-1.1 < one.min_logprob < -0.2 for one in made.checkpoints)
    assert all(one.deployment == "small" for one in made.checkpoints)


def test_drafts_nobody_labelled_cost_the_test_no_row() -> None:
    (made,) = fit(rows(300), ASKED, drafts=drafts(400))
    assert made.rows == 300
    assert made.checkpoints
    others = [replace(one, lane="b") for one in drafts(400)]
    assert fit(rows(300), ASKED, drafts=others)[0].rows == 180


def test_without_first_tokens_or_with_no_share_nothing_is_learned_and_no_row_lost() -> None:
    plain = [replace(one, firsts=()) for one in rows(200)]
    for made in (fit(plain, ASKED), fit(rows(200), replace(ASKED, teach_ratio=0.0))):
        assert (made[0].rows, made[0].checkpoints) == (200, ())


def test_two_that_are_compared_are_written_to_their_end() -> None:
    (made,) = fit(rows(300), replace(ASKED, partner="other"))
    assert (made.rows, made.checkpoints) == (300, ())


def test_what_a_checkpoint_stops_is_not_kept() -> None:
    at = Checkpoint(deployment="small", tokens=16, min_logprob=-1.0)
    sure = Labelled(lane="a", confidence=0.9, loss=0.0, firsts=(-2.0, -0.5))
    unsure, short = replace(sure, firsts=(-0.5, -2.0)), replace(sure, firsts=(-2.0,))
    found = with_checkpoints([sure, unsure, short], [at])
    assert [one.confidence for one in found] == [0.9, None, 0.9]


@settings(max_examples=25)
@given(st.integers(0, 200), st.floats(0, 0.9))
def test_no_row_is_both_learned_from_and_tested(count: int, share: float) -> None:
    drawn = [replace(one, loss=number / 1000) for number, one in enumerate(rows(count))]
    _, left = learned(drawn, (), deployment="small", lane="a", epsilon=0.05, share=share, grid=GRID)
    assert left == drawn[len(drawn) - len(left) :]
    assert len(left) >= len(drawn) - int(share * len(drawn))


def test_a_file_gives_first_tokens_as_means_or_as_log_probabilities() -> None:
    means = {"preference": "tie", "first_8": "-0.5", "first_16": -0.25}
    whole = {"preference": "tie", "logprobs": [-0.5] * 8 + [0.0] * 8}
    found = labelled([means, whole], source="a")
    assert [one.firsts for one in found] == [(-0.5, -0.25), (-0.5, -0.25)]
