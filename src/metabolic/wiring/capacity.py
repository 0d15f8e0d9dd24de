"""Gates, paces and the scraper of a configuration, put together."""

__all__ = ["Capacity"]

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from functools import partial

from metabolic import plugins
from metabolic.config.cache import CacheTable
from metabolic.config.capacity import CapacityTable
from metabolic.core.fleet import Deployment, Endpoint
from metabolic.core.ports import Clock
from metabolic.decide.admit import Rules
from metabolic.decide.capacity import holds, need
from metabolic.decide.impacts import slots
from metabolic.execute.admission import Admission, Conditions, Gate
from metabolic.execute.admission_pace import Paces
from metabolic.execute.health import Health
from metabolic.execute.keeper import Keeper
from metabolic.execute.probes import Probes
from metabolic.execute.probes import Target as HealthPage
from metabolic.execute.scrape import Scraper, Target, fetch
from metabolic.execute.snapshot import Snapshot

_PERIOD_S = 1.0
_RESTING = frozenset({"asleep", "stopped", "starting"})
_BLOCK = 16
"""Tokens that engines allot at once as a rule; a configured cache counts its own blocks."""


class Capacity:
    """What bounds and watches the deployments that are ours: local ones and pools.

    A remote API is neither asked nor held up: it says itself when it has had enough.
    """

    def __init__(  # noqa: PLR0913 - the shell is where everything meets
        self,
        table: CapacityTable,
        fleet: Sequence[Deployment],
        *,
        endpoints: Mapping[str, Endpoint],
        keeper: Keeper,
        snapshot: Snapshot,
        health: Health,
        clock: Clock,
        caches: Mapping[str, CacheTable] | None = None,
    ) -> None:
        """``endpoints`` are those that need no engine; ``keeper`` knows the others.

        ``caches`` are those of which more is configured than engines say.
        """
        self._caches = {name: one.cache() for name, one in (caches or {}).items()}
        self._table, self._clock, self._snapshot, self._keeper = table, clock, snapshot, keeper
        ours = [one for one in fleet if one.kind != "remote"] if table.enabled else []
        self._slots = {one.name: one.slots for one in ours}
        self._here = frozenset(one.name for one in ours if one.device is not None)
        self._pools = [_target(endpoints[one.name]) for one in ours if one.name in endpoints]
        gates = {one.name: self._gate(one) for one in ours}
        self.admission = Admission(gates, Paces(fleet), clock=clock) if table.enabled else None
        keeper.ability = self.ability
        self.scraper = Scraper(
            self._targets,
            clock=clock,
            fetch=fetch,
            in_flight=snapshot.running,
            heard=snapshot.hear,
            period_s=table.scrape_period_s or _PERIOD_S,
        )
        pages = [_health_page(endpoints[one.name]) for one in ours if one.name in endpoints]
        self.probes = Probes(
            [one for one in pages if one is not None],
            health=health,
            clock=clock,
            fetch=fetch,
            spared=self._spared,
            period_s=table.probe_period_s or _PERIOD_S,
        )

    def _gate(self, one: Deployment) -> Gate:
        """Return the gate of a deployment."""
        table = self._table
        most = table.max_concurrency or one.slots
        rules = Rules(
            most=most,
            start=min(table.start_concurrency or one.slots, most),
            slow_ratio=table.slow_ratio,
            queue=table.queue,
            wait_s=table.queue_wait_s,
        )
        cache = self._caches.get(one.name)
        return Gate(
            one.name,
            rules,
            clock=self._clock,
            now=lambda: self._now(one.name),
            need=None if cache is None else partial(need, cache),
        )

    def _most(self, name: str) -> int:
        """Return the most answers a deployment ever works on."""
        return self._table.max_concurrency or self._slots[name]

    def _now(self, name: str) -> Conditions:
        """Return what holds for a deployment now."""
        machine, seen = self._snapshot.metabolic, self._snapshot.seen(name)
        told = None if seen is None else seen.observed.kv_capacity_tokens
        cache = self._caches.get(name)
        here = name in self._here  # heat and memory are this machine's
        return Conditions(
            throttle_risk_ratio=machine.throttle_risk_ratio if here else None,
            memory_ratio=machine.memory_pressure_ratio if here else None,
            kv_used_ratio=None if seen is None else seen.observed.kv_used_ratio,
            kv_capacity_tokens=told if cache is None else holds(cache, told),
            kv_block=_BLOCK if cache is None else 1,
            preempting=seen is not None and bool(seen.preemptions_per_s),
            slots=slots(machine, self._most(name)) if name in self._here else None,
        )

    def _targets(self) -> list[Target]:
        """Return who can be asked now."""
        return [*self._pools, *(_target(one) for one in self._keeper.endpoints())]

    def start(self) -> list["asyncio.Task[None]"]:
        """Begin to ask and to learn."""
        if not self._slots:
            return []
        made: list[Coroutine[None, None, None]] = [self._learn()]
        if self._table.probe_period_s and self.probes.targets:
            made.append(self.probes.run())
        if self._table.scrape_period_s:
            made.append(self.scraper.run())
        return [asyncio.create_task(one, name="capacity") for one in made]

    async def _learn(self) -> None:
        """Solve for paces and look at the lines, once a second."""
        while True:
            await self._clock.sleep(_PERIOD_S)
            self.refresh()

    def refresh(self) -> None:
        """Let decisions know what was learned; let in who may come by now."""
        if self.admission is None:
            return
        self.admission.paces.refit()
        limits = {
            name: limit
            for name, limit in self.admission.limits().items()
            if limit < self._slots[name]
        }
        self._snapshot.pace(
            self.admission.paces.found(), limits, self._keeper.wakes(), self._keeper.leaving()
        )
        self.admission.open()

    def ability(self, name: str) -> float | None:
        """Return how many answers a second a deployment gives in time; ``None`` is unknown.

        As many as it may work on at once, each taking what its answers have shown of late.
        """
        if self.admission is None or name not in self.admission.gates:
            return None
        gate, typical = self.admission.gates[name], self.admission.paces.typical(name)
        if typical is None:
            return None
        seconds = self.admission.paces.answer_s(
            name, prompt=typical[0], output=typical[1], batch=gate.flow.limit
        )
        return gate.flow.limit / seconds if seconds > 0.0 else None

    def _spared(self, name: str) -> bool:
        """Say whether a deployment was heard to sleep, or works on a call of ours."""
        seen = self._snapshot.seen(name)
        asleep = seen is not None and bool(seen.observed.asleep)
        return asleep or self._snapshot.running(name) > 0

    def counters(self) -> Iterable[tuple[str, float]]:
        """Return counters of gates and scraper, by dotted names."""
        yield "scrape.asked", float(self.scraper.scrapes)
        yield "scrape.unheard", float(self.scraper.failures)
        yield "probe.health.asked", float(self.probes.asked)
        yield "probe.health.missed", float(self.probes.missed)
        for move, count in self._keeper.moves.items():
            yield f"engine.{move}s", float(count)
        for name, gate in self.admission.gates.items() if self.admission is not None else ():
            yield f"admission.{name}.admitted", float(gate.admitted)
            yield f"admission.{name}.shed", float(gate.shed)
            yield f"admission.{name}.waited_s", gate.waited_s


def _target(endpoint: Endpoint) -> Target:
    """Return whom to ask, by the pages and names of its engine."""
    return Target.of(endpoint, plugins.traits(endpoint.engine))


def _health_page(endpoint: Endpoint) -> HealthPage | None:
    """Return where an endpoint is asked whether it is well, if it has such a page."""
    return HealthPage.of(endpoint, plugins.traits(endpoint.engine))
