"""Same inputs, same decision? Same events, same effects, same bill?

A record is checked in three steps, each with the function that made it: its inputs through
``decide``, its events through ``advance``, its attempts through ``bill``. Records of another
``decision_version`` are counted and left alone. A record whose blobs retention has removed is
*unverifiable*, not wrong: only its events are folded. A settled receipt is compared after the
recomputed one has been settled with the meters' figures that it holds.
"""

__all__ = ["Inputs", "Known", "ReplayReport", "verify"]

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec
from msgspec import Struct

from metabolic.account.bill import bill
from metabolic.account.settlement import settled_receipt
from metabolic.core.attempt import Effect, Run
from metabolic.core.decision import Policy
from metabolic.core.fleet import Deployment, FleetSpec, Situation
from metabolic.core.metabolic import MetabolicState
from metabolic.core.ports import Ledger
from metabolic.core.receipt import Energy, Receipt, Record, Settlement, Share
from metabolic.decide.advance import advance, begin
from metabolic.decide.decide import DECISION_VERSION, decide
from metabolic.decide.digest import digest
from metabolic.decide.estimate import Prepared, prepare
from metabolic.replay.difference import Difference, first_difference, shown

_SHOWN_DIFFERENCES = 20
_CACHED_BLOBS = 1024
_PROGRESS_EVERY = 256
_SETTLED_TOLERANCE_RATIO = 1e-9
"""A settled receipt gives its bounds as joules, the settlement as ratios: they differ in the last
digit."""

_Blob = TypeVar("_Blob", FleetSpec, Policy, MetabolicState)


class ReplayReport(Struct, frozen=True, kw_only=True):
    """What a replay found.

    Every record read is ``equal``, ``differing``, ``unverifiable`` (a blob is gone; what could be
    folded was equal) or of an ``other_version``; the first three are ``checked``. ``unreadable``
    records could not even be decoded. ``differences`` shows the first field of the first few.
    """

    decision_version: int
    checked: int
    equal: int
    differing: int
    unverifiable: int
    other_version: int
    unreadable: int
    differences: tuple[Difference, ...]
    seconds: float

    @property
    def records_per_s(self) -> float:
        """How many records were checked per second."""
        return self.checked / self.seconds if self.seconds else 0.0


def verify(
    ledger: Ledger,
    *,
    since_s: float | None = None,
    until_s: float | None = None,
    progress: Callable[[int], None] | None = None,
) -> ReplayReport:
    """Fold every stored record of this ``decision_version`` again and compare.

    ``progress`` is called now and then with the number of records read so far.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    began_s = time.perf_counter()
    inputs = Inputs(ledger)
    counts = {"equal": 0, "differing": 0, "unverifiable": 0, "other_version": 0}
    differences: list[Difference] = []
    for number, record in enumerate(ledger.records(since_s, until_s), start=1):
        outcome, difference = _outcome(record, inputs)
        counts[outcome] += 1
        if difference is not None and len(differences) < _SHOWN_DIFFERENCES:
            differences.append(difference)
        if progress is not None and number % _PROGRESS_EVERY == 0:
            progress(number)
    return ReplayReport(
        decision_version=DECISION_VERSION,
        checked=counts["equal"] + counts["differing"] + counts["unverifiable"],
        **counts,
        unreadable=dict(ledger.counters()).get("unreadable", 0),
        differences=tuple(differences),
        seconds=time.perf_counter() - began_s,
    )


class Known(Struct, frozen=True, kw_only=True):
    """The shared inputs of a record's decision, and what is computed from them once."""

    fleet: FleetSpec
    by_name: dict[str, Deployment]
    policy: Policy
    prepared: Prepared


class Inputs:
    """Fetches blobs and keeps them decoded."""

    def __init__(self, ledger: Ledger) -> None:
        """Read from ``ledger``."""
        self._ledger = ledger
        self._known: dict[tuple[str, str], Known | None] = {}
        self._states: dict[str, MetabolicState | None] = {}

    def known(self, record: Record) -> Known | None:
        """Return fleet and policy of a record; ``None`` when either is gone."""
        key = (record.situation.fleet_id, record.decision.policy_id)
        if key not in self._known:
            if len(self._known) >= _CACHED_BLOBS:
                self._known.clear()
            self._known[key] = self._read_known(*key)
        return self._known[key]

    def state(self, record: Record) -> MetabolicState | None:
        """Return the machine's state of a record; ``None`` when it is gone."""
        name = record.situation.metabolic_id
        if name not in self._states:
            if len(self._states) >= _CACHED_BLOBS:
                self._states.clear()
            self._states[name] = self._read(name, MetabolicState)
        return self._states[name]

    def _read_known(self, fleet_id: str, policy_id: str) -> Known | None:
        fleet, policy = self._read(fleet_id, FleetSpec), self._read(policy_id, Policy)
        if fleet is None or policy is None:
            return None
        return Known(
            fleet=fleet,
            by_name={one.name: one for one in fleet.deployments},
            policy=policy,
            prepared=prepare(fleet, policy),
        )

    def _read(self, name: str, kind: type[_Blob]) -> _Blob | None:
        blob = self._ledger.blob(name)
        if blob is None:
            return None
        try:
            return msgspec.json.decode(blob, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None


def _outcome(record: Record, inputs: Inputs) -> tuple[str, Difference | None]:
    """Return what became of one record: a count's name, and the difference if there is one."""
    if record.decision_version != DECISION_VERSION:
        return "other_version", None
    known, state = inputs.known(record), inputs.state(record)
    for part, stored, found, tolerance in _parts(record, known, state):
        difference = first_difference(stored, found, tolerance_ratio=tolerance)
        if difference is not None:
            path, before, after = difference
            return "differing", Difference(
                id=record.ask.id, part=part, path=path, stored=shown(before), found=shown(after)
            )
    return ("unverifiable" if known is None or state is None else "equal"), None


def _parts(
    record: Record, known: Known | None, state: MetabolicState | None
) -> Iterator[tuple[str, object, object, float]]:
    """Yield what to compare: name, as stored, as found again, tolerance."""
    if known is not None and state is not None:
        yield "decision", record.decision, _decide(record, known, state), 0.0
    run, effects = _fold(record)
    yield "effects", record.effects_digest, digest(effects), 0.0
    yield "attempts", record.attempts, run.attempts, 0.0
    yield "answer", record.receipt.answer, run.answer, 0.0
    if known is not None and state is not None:
        found = bill(
            ask=record.ask,
            signals=record.signals,
            level=state.level,
            fleet=known.by_name,
            policy=known.policy,
            run=run,
            seconds=record.receipt.seconds,
            load=record.situation.load,
        )
        settlement = _settlement_in(record.receipt)
        if settlement is None:
            yield "receipt", record.receipt, found, 0.0
        else:
            found = settled_receipt(found, settlement)
            yield "receipt", record.receipt, found, _SETTLED_TOLERANCE_RATIO


def _decide(record: Record, known: Known, state: MetabolicState) -> object:
    """Decide again."""
    ref = record.situation
    situation = Situation(
        at_s=ref.at_s,
        metabolic=state,
        fleet=known.fleet,
        load=ref.load,
        hardware_id=ref.hardware_id,
    )
    return decide(record.ask, record.signals, situation, known.policy, prepared=known.prepared)


def _fold(record: Record) -> tuple[Run, tuple[Effect, ...]]:
    """Fold the events again, into the run's end and all effects in order."""
    run = begin(record.decision, deadline_s=record.ask.limits.deadline_s)
    effects: list[Effect] = []
    for event in record.events:
        run, now = advance(run, event)
        effects += now
    return run, tuple(effects)


def _settlement_in(receipt: Receipt) -> Settlement | None:
    """Return what the meters said, as the settled receipt holds it; ``None``: not settled."""
    if receipt.status != "settled":
        return None
    found = [
        (one, one.energy)
        for one in receipt.attempts
        if one.energy is not None and one.energy.status == "settled"
    ]
    energies = [energy for _, energy in found]
    bounds = next((one for one in energies if one.energy_j > 0), None)
    return Settlement(
        id=receipt.id,
        shares=tuple(
            _share_in(f"{receipt.id}/{one.call}", energy, one.cpu_s) for one, energy in found
        ),
        origin=energies[0].origin if energies else "modelled",
        low_ratio=bounds.low_j / bounds.energy_j if bounds else 1.0,
        high_ratio=bounds.high_j / bounds.energy_j if bounds else 1.0,
        meter=(energies[0].meter or "") if energies else "",
    )


def _share_in(call: str, energy: Energy, cpu_s: float | None) -> Share:
    """Return the share a settled energy was made of, with its own meter and bounds."""
    some = energy.energy_j > 0
    return Share(
        call=call,
        energy_j=energy.energy_j,
        cpu_s=cpu_s,
        idle_j=energy.idle_j or 0.0,
        meter=energy.meter,
        origin=energy.origin,
        low_ratio=energy.low_j / energy.energy_j if some else None,
        high_ratio=energy.high_j / energy.energy_j if some else None,
    )
