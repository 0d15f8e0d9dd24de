"""From a record and somebody's word on an answer to a label; from a label to its lanes.

A label holds what its lanes follow from, so that learning needs no record: labels of a file can be
folded after a restart, by another replica, or in any other order, and give the same counts.
"""

__all__ = ["label_of", "lanes_of"]

from collections.abc import Mapping

from metabolic.core.labels import Judge, Label
from metabolic.core.receipt import Record
from metabolic.decide.clusters import along, answers_of, path_of, probes_of


def label_of(  # noqa: PLR0913 - what is said of an answer, and by whom
    record: Record,
    *,
    at_s: float,
    by: Judge,
    deployment: str | None = None,
    variant: str | None = None,
    correct: float | None = None,
    preference: str | None = None,
    propensity: float = 1.0,
) -> Label:
    """Return the label of an answer to a recorded request, at ``at_s`` (seconds since the epoch).

    ``deployment`` names whose answer it was if the client never got it (a shadow answer); ``None``
    is the answer the client has.
    """
    shadow, alone = deployment is not None, True
    answer = record.receipt.answer
    if deployment is None and answer is not None:
        deployment = _model_of(record, answer.deployment)
        calls = [one.call for one in record.attempts if one.call.id == answer.call]
        variant = calls[0].variant if calls else None
        alone = len(record.decision.stages) == 1
    return Label(
        id=record.ask.id,
        at_s=at_s,
        tenant=record.ask.tenant,
        lane=record.signals.lane,
        lanes=path_of(record.ask, record.signals, {}),
        yes=answers_of(record.signals),
        deployment=deployment,
        variant=variant,
        correct=correct,
        preference=preference,
        by=by,
        shadow=shadow,
        propensity=propensity,
        alone=alone,
    )


def _model_of(record: Record, deployment: str) -> str:
    """Return whom an answer speaks for: a speculating twin writes what its model would."""
    drafted = record.decision.speculation
    if drafted is None or drafted.deployment != deployment:
        return deployment
    return drafted.twin_of or deployment


def lanes_of(
    lanes: tuple[str, ...], yes: tuple[str, ...], cuts: Mapping[str, str]
) -> tuple[str, ...]:
    """Return all lanes something counts for: its lanes with their cuts, and the sides of cuts."""
    path = along(lanes, yes, cuts)
    return (*path, *probes_of(path, yes)) if path else ()
