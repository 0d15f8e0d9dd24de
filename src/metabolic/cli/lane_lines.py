"""The lines of the table of lanes, for people and for programs."""

__all__ = ["Line", "lines"]

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from metabolic.config import Config
from metabolic.core.lanes import LanePin, LaneTable, Tally
from metabolic.decide.clusters import is_lane
from metabolic.decide.evidence_table import indexed, merged
from metabolic.decide.variants import key_of
from metabolic.execute.lane_state import LaneState, Peer


class Line(Struct, frozen=True, kw_only=True):
    """One deployment on one lane; ``p_correct`` is shrunk to the lane's parents.

    ``share_ratio`` is its part of the lane's answers, ``output_ratio`` the tokens it writes over
    those foreseen.
    """

    lane: str
    deployment: str
    variant: str | None
    labels: float
    correct: float
    p_correct: float | None
    answers: int
    share_ratio: float | None
    failed: int
    usd_per_answer: float | None
    energy_j_per_answer: float | None
    output_ratio: float | None
    known: bool
    pinned: bool

    def cells(self) -> tuple[str, ...]:
        """Return it for people; what is not known is a dash."""
        return (
            self.lane,
            key_of(self.deployment, self.variant),
            f"{self.labels:,.0f}",
            f"{self.correct:,.1f}",
            _known(self.p_correct, ".2f"),
            f"{self.answers:,}",
            _known(self.share_ratio, ".0%"),
            f"{self.failed:,}",
            _known(self.usd_per_answer, ".6f"),
            _known(self.energy_j_per_answer, ",.1f"),
            _known(self.output_ratio, ".2f"),
            "pinned" if self.pinned else "" if self.known else "few",
        )


def _known(value: float | None, form: str) -> str:
    """Return a figure, or a dash."""
    return "–" if value is None else format(value, form)


def lines(
    state: LaneState,
    read: Config,
    pins: Mapping[str, LanePin],
    *,
    everything: bool,
    peers: Iterable[Peer] = (),
) -> tuple[Line, ...]:
    """Return the lines of the table: lanes that are ones, not the sides of cuts never made."""
    cuts = {one.lane: one.question for one in state.cuts}
    others = [one.tallies for one in peers if one.replica != state.replica]
    every_side = merged(state.tallies, *others)
    tallies = tuple([one for one in every_side if is_lane(one.lane, cuts)])
    table = LaneTable(tallies=tallies, min_labels=read.lanes.min_labels)
    beliefs = tuple(one.belief() for one in read.beliefs)
    index = indexed(table, beliefs)
    every = indexed(msgspec.structs.replace(table, min_labels=0), beliefs)
    answers: dict[str, int] = {}
    for one in tallies:
        answers[one.lane] = answers.get(one.lane, 0) + one.answers
    shown = [one for one in tallies if everything or one.labels > 0]
    return tuple(
        _line(
            one,
            p={each.deployment: each.p_correct for each in every.lanes[one.lane].p_correct}.get(
                key_of(one.deployment, one.variant)
            ),
            known=one.lane in index.lanes,
            pin=pins.get(one.lane),
            answers=answers[one.lane],
        )
        for one in shown
    )


def _line(one: Tally, *, p: float | None, known: bool, pin: LanePin | None, answers: int) -> Line:
    """Return one line; ``answers`` are all of the lane."""
    target = None if pin is None else (pin.deployment, pin.variant)
    return Line(
        lane=one.lane,
        deployment=one.deployment,
        variant=one.variant,
        labels=one.labels,
        correct=one.correct,
        p_correct=p,
        answers=one.answers,
        share_ratio=one.answers / answers if answers else None,
        failed=one.failed,
        usd_per_answer=one.usd / one.priced if one.priced else None,
        energy_j_per_answer=one.energy_j / one.metered if one.metered else None,
        output_ratio=one.output_tokens / one.foreseen_tokens if one.foreseen_tokens else None,
        known=known,
        pinned=target == (one.deployment, one.variant),
    )
