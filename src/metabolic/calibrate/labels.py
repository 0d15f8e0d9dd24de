"""Labels joined with the ledger: who said what of which answer, and what keeping the draft lost.

Labels are lines of the file beside the ledger (``POST /v1/feedback``, shadow answers, validators)
or of your own: ``id`` of the request and either a comparison (``preference``) or how good one
answer was (``correct``, ``score`` from 0 to 1, ``corrected``), whose (``deployment``; else that of
the answer the client got) and ``by`` whom. Only the labeller's own rows count.

A comparison is the loss. Two answers labelled apart give it as a difference. One answer alone
bounds it: a draft that was good by ``s`` cannot have lost more than ``1 - s``, and no draft can
have lost more against a reference than that was good by. A bound is on the safe side, and dear.
"""

__all__ = ["drafts_of", "from_ledger"]

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from metabolic.calibrate.early import Drafted
from metabolic.calibrate.rows import Labelled, loss_of, number_of, propensity_of
from metabolic.core.attempt import Attempt
from metabolic.core.errors import ConfigError
from metabolic.core.receipt import Record

_COMPARED = frozenset({"preference", "correct_small", "correct_large"})
_GATE = "c0"

Row = Mapping[str, Any]


def from_ledger(
    records: Iterable[Record], labels: Iterable[Row], *, source: str, labeller: str | None = None
) -> list[Labelled]:
    """Return the labelled rows of records whose first stage was a gate.

    The score and the deployments are the record's: the first gated stage whose draft was judged,
    and the last stage. A label of a request that is not in the ledger, or had no gate, is left out.

    Raises:
        ConfigError: no label has an id, or one is out of range.
    """
    by_id: dict[str, list[Row]] = {}
    for row in labels:
        if row.get("id") and (labeller is None or row.get("by", labeller) == labeller):
            by_id.setdefault(str(row["id"]), []).append(row)
    if not by_id:
        whose = "" if labeller is None else f" by {labeller}"
        message = f"{source}: no labels{whose}: they need an id, that of the request"
        raise ConfigError(message)
    found = (_joined(one, by_id.get(one.ask.id, ()), source) for one in records)
    return [one for one in found if one is not None]


def drafts_of(records: Iterable[Record], labelled: Iterable[str]) -> Iterator[Drafted]:
    """Yield the drafts of records that nobody labelled and no checkpoint could stop."""
    known = frozenset(labelled)
    for record in records:
        stages, draft = record.decision.stages, _draft(record)
        if record.ask.id in known or draft is None or stages[0].checkpoints:
            continue
        firsts = _firsts(draft)
        answer = record.receipt.answer
        if firsts and answer is not None:
            yield Drafted(
                lane=record.signals.lane,
                deployment=draft.call.deployment,
                firsts=firsts,
                kept=answer.call == _GATE,
            )


def _draft(record: Record) -> Attempt | None:
    """Return the draft of a first stage that is a gate; ``None`` where there is none."""
    stages = record.decision.stages
    if not stages or stages[0].min_confidence is None:
        return None
    return next((one for one in record.attempts if one.call.id == _GATE), None)


def _firsts(draft: Attempt) -> tuple[float, ...]:
    """Return the means of the draft's first tokens; nothing for several choices."""
    if len(draft.choices) != 1 or draft.choices[0].logprobs is None:
        return ()
    return draft.choices[0].logprobs.first


def _joined(record: Record, rows: Sequence[Row], source: str) -> Labelled | None:
    """Return a record's labelled row; ``None`` where its labels say nothing of a draft."""
    draft = _draft(record)
    bill = next((one for one in record.receipt.attempts if one.call == _GATE), None)
    if not rows or draft is None or bill is None:
        return None
    where = f"{source}: {record.ask.id}"
    small, large = draft.call.deployment, record.decision.stages[-1].deployment
    found = _loss(record, rows, small=small, large=large, where=where)
    if found is None:
        return None
    return Labelled(
        lane=record.signals.lane,
        confidence=bill.confidence if bill.well_formed else None,
        loss=found[0],
        propensity=min(propensity_of(row, where) for row in rows),
        deployment=small,
        reference=large,
        firsts=_firsts(draft),
        bounded=found[1],
    )


def _loss(
    record: Record, rows: Sequence[Row], *, small: str, large: str, where: str
) -> tuple[float, bool] | None:
    """Return what keeping the draft lost, and whether that is only the most it can have lost."""
    for row in rows:
        if any(row.get(name) not in {None, ""} for name in _COMPARED):
            return loss_of(row, where), False
    answer = record.receipt.answer
    said: dict[str, float] = {}
    for row in rows:
        whose = row.get("deployment") or (None if answer is None else answer.deployment)
        good = _good(row, where)
        if whose is not None and good is not None:
            said[str(whose)] = good
    if small in said and large in said:
        return said[large] - said[small], False
    if small in said:
        return 1.0 - said[small], True
    return (said[large], True) if large in said else None


def _good(row: Row, where: str) -> float | None:
    """Return how good one answer was, from 0 to 1; ``None`` where the row does not say."""
    if row.get("corrected"):
        return 0.0
    for name in ("correct", "score"):
        value = number_of(row.get(name), f"{where}: {name}")
        if value is not None:
            if not 0.0 <= value <= 1.0:
                message = f"{where}: {name} is out of range: {value}"
                raise ConfigError(message)
            return value
    return None
