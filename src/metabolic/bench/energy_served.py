"""The simulated server's requests through the product's meter, and beside it the simpler ways."""

__all__ = ["cases"]

from metabolic.account.presence import Flight
from metabolic.bench.energy_meter import UNIT_J, Clock, Counter, Rig
from metabolic.bench.energy_scores import METHODS, Case, baselines
from metabolic.bench.energy_simulator import IDLE_W, LOADS, Request, simulate
from metabolic.core.fleet import Deployment, Model
from metabolic.core.request import Usage

_NAME = "served"
_LEAST_J = 1.0
"""Requests that took less are left out: their relative error says nothing."""

_MODEL = Model(id=_NAME, tier="medium", active_parameters=8_000_000_000)
_FLEET = {_NAME: Deployment(name=_NAME, model=_MODEL, kind="pool", device="gpu0")}
"""Its speeds are not known to the accounting."""


def cases(*, seconds: float, seed: int) -> dict[str, list[Case]]:
    """Return by load what every request was charged above idle, and what it truly took."""
    found: dict[str, list[Case]] = {}
    for load, rate in LOADS:
        run = simulate(load, rate, seconds=seconds, seed=seed)
        windows = [
            (before[0], after[0], after[1] - before[1])
            for before, after in zip(run.active_j, run.active_j[1:], strict=False)
        ]
        charged = {"ours": _ours(run.requests, windows)}
        charged |= baselines([_flight(one) for one in run.requests], windows)
        found[load] = [
            Case(
                cluster=int(one.began_s // 10),
                true_j=one.true_j,
                charged_j={name: charged[name].get(one.name, 0.0) for name in METHODS},
            )
            for one in run.requests
            if one.true_j >= _LEAST_J
        ]
    return found


def _flight(one: Request) -> Flight:
    """Return a request as the simpler ways see it: every token at its true time."""
    return Flight(
        call=one.name,
        began_s=one.began_s,
        first_s=one.first_s,
        ended_s=one.ended_s,
        prompt_tokens=one.prompt - one.cached,
        output_tokens=one.said,
    )


def _ours(
    requests: tuple[Request, ...], windows: list[tuple[float, float, float]]
) -> dict[str, float]:
    """Play the run to the product's meter second by second; return joules above idle by call."""
    clock = Clock()
    counter = Counter("gpu0", domain="gpu", clock=clock)
    rig = Rig((counter,), _FLEET, clock)
    events = sorted(
        [(one.began_s, 0, one) for one in requests] + [(one.ended_s, 1, one) for one in requests],
        key=lambda event: event[:2],
    )
    idle, owed = round(IDLE_W / UNIT_J), 0.0
    for _, to_s, joules in windows:
        while events and events[0][0] <= to_s:
            clock.at_s, ends, one = events.pop(0)
            if ends:
                rig.ended(one.name, _usage(one), one.first_s)
            else:
                rig.began(one.name, _NAME, None, one.prompt)
        owed += joules / UNIT_J
        counter.spend(idle + int(owed), idle_units=idle)
        owed -= int(owed)
        clock.at_s = to_s
        rig.meters.close_windows()
    rig.meters.close()
    return {call: energy_j - idle_j for call, (energy_j, idle_j) in rig.charged().items()}


def _usage(one: Request) -> Usage | None:
    """Return what the engine reports: nothing for a request that was cancelled."""
    if one.leaves_after is not None:
        return None
    return Usage(input_tokens=one.prompt, cached_tokens=one.cached, output_tokens=one.said)
