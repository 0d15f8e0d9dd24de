"""Large parts of a situation, stored once under their digest so that records stay small."""

__all__ = ["Blobs"]

from collections.abc import Callable

import msgspec

from metabolic.core.decision import Policy
from metabolic.core.fleet import FleetSpec, Situation, SituationRef
from metabolic.core.hardware import HardwareState
from metabolic.core.metabolic import MetabolicState
from metabolic.core.ports import Clock, Ledger
from metabolic.decide.digest import digest

_READINGS_EVERY_S = 10.0
_AGAIN_AFTER_S = 3600.0
"""Blobs are put again this often, so that retention sees that they are still in use."""

_encode = msgspec.json.Encoder().encode


class Blobs:
    """Knows which blobs the ledger has; an equal value is encoded and stored once."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        """Store in ``ledger``."""
        self._ledger = ledger
        self._clock = clock
        self._put_s: dict[str, float] = {}
        self._metabolic: tuple[MetabolicState, str] | None = None
        self._hardware: tuple[float, str] | None = None

    def ref(
        self, situation: Situation, policy: Policy, readings: Callable[[], HardwareState]
    ) -> SituationRef:
        """Return the situation as a record keeps it, its parts being in the ledger."""
        now_s = self._clock.monotonic_s()
        self._put(situation.fleet.id, situation.fleet, now_s)
        self._put(policy.id, policy, now_s)
        state = situation.metabolic
        if self._metabolic is None or self._metabolic[0] is not state:
            self._metabolic = (state, digest(state))
        self._put(self._metabolic[1], state, now_s)
        if self._hardware is None or now_s - self._hardware[0] >= _READINGS_EVERY_S:
            hardware = readings()
            self._hardware = (now_s, digest(hardware))
            self._put(self._hardware[1], hardware, now_s)
        return SituationRef(
            at_s=situation.at_s,
            metabolic_id=self._metabolic[1],
            fleet_id=situation.fleet.id,
            load=situation.load,
            hardware_id=self._hardware[1],
        )

    def _put(
        self,
        name: str,
        value: FleetSpec | Policy | MetabolicState | HardwareState,
        now_s: float,
    ) -> None:
        """Store a blob unless it was lately."""
        put_s = self._put_s.get(name)
        if put_s is not None and now_s - put_s < _AGAIN_AFTER_S:
            return
        if len(self._put_s) > 10_000:  # noqa: PLR2004 - a bound, not a measure
            self._put_s.clear()
        self._put_s[name] = now_s
        self._ledger.put(name, _encode(value))
