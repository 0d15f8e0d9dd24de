"""The latest state of everything, as one ``Situation`` a request is decided on.

Sensors publish ten times a second; what a decision sees is that state made coarse (a degree, a
hundredth, 64 MiB), so that equal situations are equal values and a record needs one digest.
"""

__all__ = ["Snapshot", "coarse"]

from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from metabolic.core.fleet import FleetSpec, Load, Situation, State
from metabolic.core.hardware import HardwareState
from metabolic.core.metabolic import MetabolicState
from metabolic.core.ports import Clock
from metabolic.decide.roofline import Constants
from metabolic.execute.health import Health
from metabolic.execute.scrape import Seen, heard
from metabolic.execute.waking import Wake

_NOTHING: tuple[None, None] = (None, None)
_MEMORY_STEP_BYTES = 64 * 1024 * 1024


def _rounded(value: float | None, step: float) -> float | None:
    """Return the value on a grid; unknown stays unknown."""
    return None if value is None else round(round(value / step) * step, 6)


def coarse(state: MetabolicState) -> MetabolicState:
    """Return the state with its figures on a grid no decision can tell apart."""
    return replace(
        state,
        throttle_risk_ratio=_rounded(state.throttle_risk_ratio, 0.01),
        headroom_c=_rounded(state.headroom_c, 1.0),
        headroom_w=_rounded(state.headroom_w, 1.0),
        time_to_throttle_s=_rounded(state.time_to_throttle_s, 5.0),
        budget_used_ratio=_rounded(state.budget_used_ratio, 0.01),
        memory_available_bytes=_rounded(state.memory_available_bytes, _MEMORY_STEP_BYTES),
        battery_ratio=_rounded(state.battery_ratio, 0.01),
        trend_c_per_s=_rounded(state.trend_c_per_s, 0.1),
        memory_pressure_ratio=_rounded(state.memory_pressure_ratio, 0.01),
        time_to_reserve_s=_rounded(state.time_to_reserve_s, 60.0),
        discharge_w=_rounded(state.discharge_w, 1.0),
        power_w=_rounded(state.power_w, 1.0),
        risks=tuple([replace(one, risk_ratio=round(one.risk_ratio, 2)) for one in state.risks]),
        forecasts=(),
        fold=None,
        at_s=0.0,
        calm_since_s=None,
    )


def _three_digits(found: Constants) -> Constants:
    """Return the constants to three digits: no decision hangs on the fourth."""
    return Constants(
        overhead_s=float(f"{found.overhead_s:.3g}"),
        prompt_s=float(f"{found.prompt_s:.3g}"),
        weights_s=float(f"{found.weights_s:.3g}"),
        share_s=float(f"{found.share_s:.3g}"),
    )


def _two_digits(wake: Wake) -> Wake:
    """Return what waking takes to two digits: no decision hangs on the third."""
    joules = None if wake.joules is None else float(f"{wake.joules:.2g}")
    return replace(wake, seconds=float(f"{wake.seconds:.2g}"), joules=joules)


class Snapshot:
    """Holds the machine's state, the fleet and the calls in flight."""

    def __init__(
        self,
        fleet: FleetSpec,
        *,
        clock: Clock,
        health: Health,
        states: Callable[[], Iterable[tuple[str, State]]],
    ) -> None:
        """Start with an unknown machine; ``states`` says where local engines stand."""
        self.fleet = fleet
        self.metabolic = MetabolicState()
        self.hardware: HardwareState | None = None
        self.hardware_id: str | None = None
        self._clock = clock
        self._health = health
        self._states = states
        self._running = {one.name: 0 for one in fleet.deployments}
        self._slots = {one.name: one.slots for one in fleet.deployments}
        self._learned: dict[str, tuple[float | None, float | None]] = {}
        self._seen: dict[str, Seen] = {}
        self._paces: dict[str, Constants] = {}
        self._limits: dict[str, int] = {}
        self._wakes: dict[str, Wake] = {}
        self._leaving: frozenset[str] = frozenset()

    def began(self, deployment: str) -> None:
        """Count a call in flight."""
        self._running[deployment] = self._running.get(deployment, 0) + 1
        self._health.began(deployment)

    def ended(self, deployment: str) -> None:
        """Count it out again."""
        self._running[deployment] -= 1
        self._health.ended(deployment)

    def in_flight(self) -> int:
        """Return how many calls are in flight."""
        return sum(self._running.values())

    def see(self, state: MetabolicState) -> None:
        """Take over a new state of the machine, if a decision can tell it from the last."""
        seen = coarse(state)
        if seen != self.metabolic:
            self.metabolic = seen

    def learn(self, ratios: Mapping[str, float], exponents: Mapping[str, float]) -> None:
        """Take over what the meters have learned of deployments, to two digits."""
        self._learned = {
            name: (
                float(f"{ratios[name]:.2g}") if name in ratios else None,
                None if exponents.get(name, 1.0) == 1.0 else round(exponents[name], 2),
            )
            for name in {*ratios, *exponents}
        }

    def hear(self, deployment: str, seen: Seen) -> None:
        """Take over what an engine said of itself."""
        self._seen[deployment] = seen

    def seen(self, deployment: str) -> Seen | None:
        """Return what an engine said of itself, unless that is stale."""
        seen = self._seen.get(deployment)
        if seen is None or self._clock.monotonic_s() - seen.at_s > seen.stale_s:
            return None
        return seen

    def pace(
        self,
        paces: Mapping[str, Constants],
        limits: Mapping[str, int],
        wakes: Mapping[str, Wake] | None = None,
        leaving: frozenset[str] = frozenset(),
    ) -> None:
        """Take over how fast deployments answer and wake, how much each may do, who leaves."""
        self._wakes = {name: _two_digits(one) for name, one in (wakes or {}).items()}
        self._leaving = leaving
        self._paces = {name: _three_digits(one) for name, one in paces.items()}
        self._limits = dict(limits)

    def running(self, deployment: str) -> int:
        """Return how many calls of ours a deployment has in flight."""
        return self._running.get(deployment, 0)

    def loads(self) -> tuple[Load, ...]:
        """Return how busy each deployment is, by name."""
        plain = self._plain()
        known = self._seen or self._paces or self._limits or self._wakes
        if not (known or self._leaving):
            return plain
        now_s, slots = self._clock.monotonic_s(), self._slots
        return tuple([self._informed(one, now_s, slots[one.deployment]) for one in plain])

    def _informed(self, load: Load, now_s: float, slots: int) -> Load:
        """Return a load with what its engine said, its pace and its limit."""
        name = load.deployment
        seen, pace, limit = self._seen.get(name), self._paces.get(name), self._limits.get(name)
        wake = self._wakes.get(name)
        if seen is not None:
            load = heard(load, seen, now_s=now_s, slots=slots)
        if name in self._leaving:
            load = replace(load, leaving=True)
        if wake is not None:
            load = replace(load, wake_s=wake.seconds, wake_j=wake.joules, wake_j_origin=wake.origin)
        if pace is None:
            return load if limit is None else replace(load, limit=limit)
        return replace(
            load,
            limit=limit,
            ttft_s=pace.overhead_s,
            ttft_per_token_s=pace.prompt_s,
            tpot_s=pace.weights_s,
            tpot_per_answer_s=pace.share_s,
        )

    def _plain(self) -> tuple[Load, ...]:
        """Return what is known here of each deployment, by name."""
        states, learned = dict(self._states()), self._learned
        return tuple(
            Load(
                deployment=one.name,
                state=states.get(one.name, "stopped" if one.kind == "local" else "warm"),
                running=min(self._running[one.name], one.slots),
                waiting=max(0, self._running[one.name] - one.slots),
                healthy=self._health.ok(one.name),
                energy_ratio=learned.get(one.name, _NOTHING)[0],
                batch_exponent=learned.get(one.name, _NOTHING)[1],
            )
            for one in self.fleet.deployments
        )

    def situation(self) -> Situation:
        """Return everything at this moment."""
        return Situation(
            at_s=self._clock.now_s(),
            metabolic=self.metabolic,
            fleet=self.fleet,
            load=self.loads(),
            hardware_id=self.hardware_id,
        )
