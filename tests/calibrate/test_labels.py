"""Labels joined with the ledger: compared, apart, or of one answer alone."""

import msgspec
import pytest

from metabolic.calibrate.labels import drafts_of, from_ledger
from metabolic.core.attempt import Answer, Attempt, Call, Choice, LogprobSummary
from metabolic.core.checkpoint import Checkpoint
from metabolic.core.decision import Decision, Stage
from metabolic.core.errors import ConfigError
from metabolic.core.receipt import AttemptBill, Record
from metabolic.core.request import Usage
from metabolic.ledger.memory import Options, create
from metabolic.testing.records import fill_ledger

replace = msgspec.structs.replace
SUMMARY = LogprobSummary(tokens=20, mean=-0.2, minimum=-1, q10=-1, q50=-0.1, first=(-0.1, -0.2))


def base() -> Record:
    ledger = create(Options())
    fill_ledger(ledger, 1)
    return next(iter(ledger.records()))


BASE = base()


def bill(call: str, deployment: str, confidence: float | None) -> AttemptBill:
    return AttemptBill(
        call=call,
        deployment=deployment,
        role="answer",
        seconds=1.0,
        ttft_s=None,
        usage=Usage(),
        cpu_s=None,
        energy=None,
        tokens_usd=None,
        confidence=confidence,
        well_formed=True,
        reasons=(),
        failure=None,
    )


def record(
    name: str, *, kept: bool, confidence: float = 0.9, checkpoints: tuple[Checkpoint, ...] = ()
) -> Record:
    """Return a record of a small model before a large one, its draft kept or not."""
    draft = Attempt(
        call=Call(id="c0", stage=0, deployment="small"),
        began_s=0.0,
        ended_s=1.0,
        choices=(Choice(logprobs=SUMMARY),),
    )
    stages = (
        Stage(deployment="small", min_confidence=0.8, checkpoints=checkpoints),
        Stage(deployment="large"),
    )
    bills = (bill("c0", "small", confidence), *(() if kept else (bill("c1", "large", None),)))
    answer = Answer(call="c0" if kept else "c1", deployment="small" if kept else "large")
    return replace(
        BASE,
        ask=replace(BASE.ask, id=name),
        decision=Decision(stages=stages),
        attempts=(draft,),
        receipt=replace(BASE.receipt, answer=answer, attempts=bills),
    )


KEPT, PASSED = record("kept", kept=True), record("passed", kept=False, confidence=0.3)


def one(*rows: dict[str, object], labeller: str | None = None, of: Record = KEPT):
    (found,) = from_ledger([of], [{"id": of.ask.id, **row} for row in rows], source="a", **(
        {} if labeller is None else {"labeller": labeller}
    ))  # fmt: skip
    return found


@pytest.mark.parametrize(
    ("rows", "loss", "bounded"),
    [
        ([{"preference": "reference"}], 1.0, False),
        ([{"correct": True}], 0.0, True),
        ([{"correct": False}], 1.0, True),
        ([{"score": 0.75}], 0.25, True),
        ([{"corrected": True}], 1.0, True),
        ([{"correct": True}, {"correct": 0.25, "deployment": "large"}], -0.75, False),
        ([{"correct": 0.5, "deployment": "large"}], 0.5, True),
    ],
)
def test_what_was_said_of_a_kept_draft(
    rows: list[dict[str, object]], loss: float, *, bounded: bool
) -> None:
    found = one(*rows)
    assert (found.loss, found.bounded, found.confidence) == (loss, bounded, 0.9)
    assert (found.deployment, found.reference) == ("small", "large")
    assert found.firsts == (-0.1, -0.2)


def test_feedback_on_the_reference_bounds_what_the_draft_can_have_lost() -> None:
    assert one({"correct": True}, of=PASSED).loss == 1.0
    assert one({"correct": False}, of=PASSED).loss == 0.0
    assert one({"correct": False}, of=PASSED).bounded


def test_only_the_labellers_own_words_count() -> None:
    rows: list[dict[str, object]] = [
        {"correct": False, "by": "judge"},
        {"correct": True, "by": "user_feedback"},
    ]
    assert one(*rows, labeller="judge").loss == 1.0
    assert one(*rows, labeller="user_feedback").loss == 0.0
    with pytest.raises(ConfigError, match="no labels by exact_match"):
        one(*rows, labeller="exact_match")


def test_a_label_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="out of range"):
        one({"score": 7})


def test_a_label_that_says_nothing_is_left_out() -> None:
    assert from_ledger([KEPT], [{"id": "kept", "note": "fine"}], source="a") == []


def test_drafts_without_a_label_teach_checkpoints_unless_one_could_have_stopped_them() -> None:
    at = Checkpoint(deployment="small", tokens=8, min_logprob=-1.0)
    watched = record("watched", kept=True, checkpoints=(at,))
    found = list(drafts_of([KEPT, PASSED, watched, BASE], ["nobody"]))
    assert [(each.kept, each.firsts) for each in found] == [
        (True, (-0.1, -0.2)),
        (False, (-0.1, -0.2)),
    ]
    assert list(drafts_of([KEPT], ["kept"])) == []
