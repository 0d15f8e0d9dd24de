"""What one meter learns from its windows: weights of tokens, power over batch, joules per answer.

Three small fits, all of them fed by what was read and none by its own output: how many joules a
prompt token, a decode token, a step and a second take on each engine (``account.weights``), how
power grows with the answers in flight (``account.curve``), and by which factor the estimates of
each deployment are off here (``account.calibration``). They are kept over restarts.
"""

__all__ = ["Learned", "Learner"]

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from metabolic.account import calibration, curve
from metabolic.account.calibration import Calibration
from metabolic.account.curve import Curve
from metabolic.account.energy import BATCHED_EXPONENT, Occupancy
from metabolic.account.parts import parts_of
from metabolic.account.presence import (
    ALONE_RATIO,
    GPU_ALONE_RATIO,
    Flight,
    Phases,
    Presence,
    phases_of,
    presences,
    union_s,
)
from metabolic.account.weights import Weights, learned
from metabolic.account.work import parameters_of, usage_energy_j
from metabolic.core.fleet import Deployment
from metabolic.core.ports import Domain
from metabolic.core.receipt import Window
from metabolic.execute.settling import Account, Call

_POOL = ""
"""The engine of a meter whose joules no CPU seconds divide."""

_MOSTLY_BUSY = 0.5
_UNKNOWN = Weights()


class Learned(Struct, frozen=True, kw_only=True):
    """What a meter has learned: by engine, for the device, and by deployment."""

    weights: tuple[tuple[str, Weights], ...] = ()
    curve: Curve = Curve()
    calibrations: tuple[tuple[str, Calibration], ...] = ()


class Learner:
    """Weighs calls against each other, and learns how to."""

    def __init__(self, fleet: Mapping[str, Deployment], *, domain: Domain) -> None:
        """Take what deployments are like; the joules of a GPU do not follow CPU seconds."""
        self.by_cpu = domain != "gpu"
        self._fleet = fleet
        self._alone_ratio = ALONE_RATIO if self.by_cpu else GPU_ALONE_RATIO
        self._curve = Curve(prior=1.0 if self.by_cpu else BATCHED_EXPONENT)
        self._weights: dict[str, Weights] = {}
        self._calibrations: dict[str, Calibration] = {}
        self._parts: tuple[Presence, ...] = ()

    def competes(self, calls: Sequence[Call]) -> bool:
        """Say whether a call in flight shares its engine, so that its tokens would matter."""
        counts = Counter(self._key(call) for call in calls)
        return any(call.ended_s is None and counts[self._key(call)] > 1 for call in calls)

    def weigh(
        self, calls: Sequence[Call], from_s: float, to_s: float
    ) -> tuple[tuple[Occupancy, ...], float]:
        """Return the calls' presence in a window with their work, and the seconds in flight."""
        flights = [self._flight(call) for call in calls]
        spans = phases_of(flights, to_s=to_s, alone_ratio=self._alone_ratio)
        self._parts = presences(spans, from_s=from_s, to_s=to_s)
        work = self._work(spans, from_s, to_s)
        return tuple(
            Occupancy(call=one.call, pid=one.pid, seconds=one.seconds, work=work[one.call])
            for one in self._parts
        ), union_s(flights, from_s=from_s, to_s=to_s)

    def _work(self, spans: Sequence[Phases], from_s: float, to_s: float) -> dict[str, float]:
        """Return each call's weight among those its joules are shared with."""
        pools: dict[object, list[Phases]] = {}
        for span in spans:
            pools.setdefault(span.flight.pid if self.by_cpu else None, []).append(span)
        found: dict[str, float] = {}
        for pool in pools.values():
            parts = parts_of(
                pool,
                from_s=from_s,
                to_s=to_s,
                weights=self._prices,
                exponent=0.0 if self.by_cpu else self.batch_exponent,
            )
            found |= {span.flight.call: part for span, part in zip(pool, parts, strict=True)}
        return found

    def _prices(self, span: Phases) -> Weights:
        """Return the weights of a call's engine."""
        key = span.flight.engine if self.by_cpu and span.flight.pid is not None else _POOL
        return self._weights.get(key, _UNKNOWN)

    def learn(self, window: Window, in_flight_s: float, *, with_cpu: bool) -> None:
        """Learn from the window that was weighed last."""
        active_j: dict[str, float] = {}
        measured = {share.call: share for share in window.shares}
        for one in self._parts:
            share = measured.get(one.call)
            if share is None or (self.by_cpu and with_cpu and share.cpu_s is None):
                continue  # whose joules these were was a guess
            engine = self._engine(one)
            active_j[engine] = active_j.get(engine, 0.0) + share.energy_j - share.idle_j
        for engine, energy_j in active_j.items():
            parts = [one for one in self._parts if self._engine(one) == engine]
            self._weights[engine] = learned(self._weights.get(engine, _UNKNOWN), parts, energy_j)
        seconds = window.to_s - window.from_s
        if active_j and in_flight_s > _MOSTLY_BUSY * seconds:
            self._curve = curve.observed(
                self._curve,
                batch=sum(one.seconds for one in self._parts) / in_flight_s,
                active_w=sum(active_j.values()) / in_flight_s,
            )

    def settled(self, call: Call, account: Account) -> None:
        """Compare what a call was charged with what its deployment's figures foresaw."""
        deployment, usage = self._fleet.get(call.deployment), call.usage
        metered_j = account.active_j(call.call)
        if deployment is None or usage is None or metered_j is None:
            return
        modelled_j = usage_energy_j(usage, deployment)
        if modelled_j is not None:
            old = self._calibrations.get(call.deployment, Calibration())
            self._calibrations[call.deployment] = calibration.learned(
                old, modelled_j=modelled_j, metered_j=metered_j
            )

    def ratios(self) -> Mapping[str, float]:
        """Return by deployment what its estimates are to be multiplied by."""
        return {name: calibration.ratio(one) for name, one in self._calibrations.items()}

    @property
    def batch_exponent(self) -> float:
        """How this device's power grows with the answers in flight."""
        return curve.exponent(self._curve)

    def state(self) -> Learned:
        """Return all that was learned, to be kept."""
        return Learned(
            weights=tuple(self._weights.items()),
            curve=self._curve,
            calibrations=tuple(self._calibrations.items()),
        )

    def restore(self, state: Learned) -> None:
        """Take up what was learned before; deployments that are gone are forgotten."""
        self._curve = replace(state.curve, prior=self._curve.prior)
        self._weights = {
            name: one for name, one in state.weights if name == _POOL or name in self._fleet
        }
        self._calibrations = {name: one for name, one in state.calibrations if name in self._fleet}

    def _key(self, call: Call) -> object:
        """Return what a call's joules are shared within: its process, or all of the meter."""
        return call.pid if self.by_cpu else None

    def _engine(self, one: Presence) -> str:
        """Return whose weights hold for a call."""
        return one.engine if self.by_cpu and one.pid is not None else _POOL

    def _flight(self, call: Call) -> Flight:
        """Return a call with the tokens that are known of it, and its deployment's speeds."""
        deployment, usage = self._fleet.get(call.deployment), call.usage
        prompt, output = call.prompt_tokens, None
        if usage is not None:
            output = usage.output_tokens
            if usage.input_tokens is not None:
                prompt = max(0, usage.input_tokens - (usage.cached_tokens or 0))
        return Flight(
            call=call.call,
            pid=call.pid,
            engine=call.deployment,
            began_s=call.began_s,
            ended_s=call.ended_s,
            first_s=call.first_s,
            prompt_tokens=prompt,
            output_tokens=output,
            prefill_tokens_per_s=None if deployment is None else deployment.prefill_tokens_per_s,
            decode_tokens_per_s=None if deployment is None else deployment.decode_tokens_per_s,
            scale=1.0 if deployment is None else parameters_of(deployment.model) / 1e9,
        )
