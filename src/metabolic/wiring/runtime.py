"""Everything a configuration needs, started, used and stopped together."""

__all__ = ["Outcome", "Runtime"]

import asyncio
from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct

from metabolic import plugins
from metabolic.account.bill import bill, largest_of
from metabolic.config import Config
from metabolic.core.attempt import Effect, Event, Reply, Run
from metabolic.core.decision import Decision, Policy
from metabolic.core.errors import MetabolicError, NoCandidate
from metabolic.core.fleet import Deployment, Endpoint, Load, Situation
from metabolic.core.hardware import HardwareState
from metabolic.core.labels import Label
from metabolic.core.metabolic import MetabolicState
from metabolic.core.ports import Backend, Clock, Ledger, Sink
from metabolic.core.receipt import RECORD_SCHEMA, Receipt, Record, Settlement, Window
from metabolic.core.request import Ask, Request, WarmPrefix
from metabolic.core.signals import TASKS, Signals
from metabolic.decide.advance import begin
from metabolic.decide.decide import DECISION_VERSION, decide, why_none
from metabolic.decide.digest import digest
from metabolic.decide.drift import Watch
from metabolic.decide.metabolism import assess
from metabolic.execute.calls import Calls
from metabolic.execute.drive import Driver
from metabolic.execute.health import Health
from metabolic.execute.lane_state import Feedback, LaneView
from metabolic.execute.sessions import Sessions, tool_call_ids
from metabolic.execute.snapshot import Snapshot
from metabolic.execute.vigil import Vigil
from metabolic.wiring.blobs import Blobs
from metabolic.wiring.capacity import Capacity
from metabolic.wiring.continuing import continuation_of
from metabolic.wiring.fleet import Assembled, assemble, has_local, store_of
from metabolic.wiring.lanes import Lanes
from metabolic.wiring.ledgers import ledger_table
from metabolic.wiring.local import LocalFleet
from metabolic.wiring.meters import Memory, meters_of
from metabolic.wiring.policy import Chooser, hedges_of, watched
from metabolic.wiring.reloading import refuse_restarts
from metabolic.wiring.senses import probe_of
from metabolic.wiring.speculation import Speculating

_REMEMBER_S = 300.0


class Outcome(Struct, frozen=True, kw_only=True):
    """How a request ended: its audit line, and what the client may have."""

    record: Record
    reply: Reply | None = None
    error: MetabolicError | None = None
    streamed: bool = False


class Runtime:
    """The whole line behind the gateway."""

    def __init__(
        self, config: Config, *, clock: Clock, say: Callable[[str], None] | None = None
    ) -> None:
        """Make every part; see ``build``."""
        self.config, self._clock = config, clock
        self._probe = probe_of(config)
        self._health, self._sessions = Health(clock), Sessions()
        self._ledger: Ledger = plugins.ledger(config.ledger.kind, ledger_table(config))
        self._tasks: list[asyncio.Task[None]] = []
        store = store_of(config) if has_local(config) else None
        assembled = assemble(config, store=store, say=say)
        self._fleet = {one.name: one for one in assembled.fleet.deployments}
        self._sessions.watch(watched(config, assembled.fleet), hedges_of(config))
        self._largest = largest_of(self._fleet)
        self._meter = meters_of(
            config, self._fleet, clock=clock, settled=self._settle, closed=self._learn
        )
        self._memory = Memory(config)
        self._meter.restore(self._memory.load())
        self._local = self._local_of(config, assembled)
        self._snapshot = Snapshot(
            assembled.fleet, clock=clock, health=self._health, states=self._local.keeper.states
        )
        reserve_bytes = config.engines.memory_reserve_bytes
        self._speculating = Speculating(
            self._snapshot, self._local.keeper, clock=clock, reserve_bytes=reserve_bytes
        )
        self._capacity = self._capacity_of(config, assembled)
        self._chooser = Chooser(config, assembled.fleet, self._probe.poll())
        self._vigil = Vigil(self._chooser.certificates, alarm=self._chooser.alarm)
        self._lanes = Lanes(config, clock=clock, publish=self._chooser.learn)
        self._blobs = Blobs(self._ledger, clock)
        self._classifier = plugins.classifier(
            config.routing.classifier.kind, config.routing.classifier.options
        )
        self._driver = self._driver_of(config, assembled.endpoints)
        self._state: MetabolicState | None = None

    def _local_of(self, config: Config, assembled: Assembled) -> LocalFleet:
        """Return what runs here, and what others run that may sleep."""
        return LocalFleet(
            config,
            assembled,
            clock=self._clock,
            situation=lambda: self._snapshot.situation(),  # noqa: PLW0108 - made later
            meters=self._meter,
            hardware=self._probe.latest,
        )

    def _capacity_of(self, config: Config, assembled: Assembled) -> Capacity:
        """Return what watches the engines and keeps order before them."""
        return Capacity(
            config.capacity,
            assembled.fleet.deployments,
            endpoints=assembled.endpoints,
            keeper=self._local.keeper,
            snapshot=self._snapshot,
            health=self._health,
            clock=self._clock,
            caches={one.name: one.cache for one in config.deployments if one.cache is not None},
        )

    def _driver_of(self, config: Config, endpoints: dict[str, Endpoint]) -> Driver:
        """Return what runs are driven with."""
        routing = config.routing
        given = {one.name: one.options for one in config.deployments if one.options}
        for name, table in given.items():
            plugin = plugins.load("backends", endpoints[name].backend)
            plugins.options(plugin, table, where=f"[[deployment]] {name} options")

        def connect(endpoint: Endpoint) -> Backend:
            table = dict(given.get(endpoint.deployment, {}))
            known = plugins.load("backends", endpoint.backend).Options.__struct_fields__
            if "connect_timeout_s" in known:
                table.setdefault("connect_timeout_s", routing.connect_timeout_s)
            if "variants" in known:
                variants = self._fleet[endpoint.deployment].variants
                table["variants"] = msgspec.to_builtins(variants)
            return plugins.backend(endpoint.backend, table, endpoint=endpoint)

        return Driver(
            calls=Calls(
                connect=connect,
                endpoints=endpoints,
                engines=self._local.keeper,
                meter=self._meter,
                snapshot=self._snapshot,
                health=self._health,
                clock=self._clock,
                first_token_timeout_s=routing.first_token_timeout_s,
                stall_timeout_s=routing.stall_timeout_s,
                metered=frozenset(
                    name for name in endpoints if self._fleet[name].device is not None
                ),
                admission=self._capacity.admission,
                kept=self._local.kept,
            ),
            validators=tuple(
                plugins.validator(one.kind, one.options) for one in routing.validators
            ),
            clock=self._clock,
            continuation=continuation_of(config, self._fleet, endpoints),
        )

    async def start(self) -> None:
        """Start sensors, meter and engines; returns before the engines are up."""
        self._probe.start()
        self._refresh()
        self._meter.start()
        self._local.open()
        await asyncio.to_thread(self._lanes.recover, self._ledger)
        self._tasks = [
            asyncio.create_task(self._follow(), name="state"),
            asyncio.create_task(self._meter.run(), name="meter"),
            asyncio.create_task(self._remember(), name="memory"),
            asyncio.create_task(self._lanes.run(), name="lanes"),
            asyncio.create_task(self._speculating.run(), name="twins"),
            *self._capacity.start(),
        ]

    async def aclose(self, *, drain_s: float) -> None:
        """Finish what is under way within ``drain_s``, then stop everything."""
        end_s = self._clock.monotonic_s() + drain_s
        while self._snapshot.in_flight() and self._clock.monotonic_s() < end_s:
            await self._clock.sleep(0.02)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._driver.calls.aclose()
        await self._local.aclose()
        self._meter.close()
        await asyncio.to_thread(self._memory.save, self._meter.state())
        await asyncio.to_thread(self._lanes.turn)
        self._probe.close()
        await asyncio.to_thread(self._ledger.close)

    async def reload(self, config: Config) -> None:
        """Take over prices, policy, keys and virtual models of a valid configuration.

        Raises:
            ConfigError: it changes what only a restart can change; the old one stays in force.
        """
        refuse_restarts(self.config, config)
        self._chooser = Chooser(config, self._snapshot.fleet, self._probe.latest())
        self._vigil = Vigil(self._chooser.certificates, alarm=self._chooser.alarm)
        self._lanes.configure(config, self._chooser.learn)
        self._sessions.watch(watched(config, self._snapshot.fleet), hedges_of(config))
        self.config = config

    async def answer(
        self, request: Request, ask: Ask, *, sink: Sink | None, gone: "asyncio.Future[None]"
    ) -> Outcome:
        """Route and answer a request; returns soon after ``gone`` is resolved."""
        ask = self._sessions.counted(ask)
        signals = self._classify(request, ask)
        situation = self._speculating.see(self._snapshot.situation(), request, ask, signals)
        prepared = self._chooser.prepared
        decision = decide(ask, signals, situation, prepared.policy, prepared=prepared)
        if not (decision.stages or decision.fallbacks):
            run = begin(decision)
            error = NoCandidate(f"nobody may answer: {why_none(decision)}", decision=decision)
            record = self._record(
                ask, signals, situation, run, (), (), policy=prepared.policy, seconds=0.0
            )
            return Outcome(record=record, error=error)
        driven = await self._driver.run(request, ask, decision, sink=sink, gone=gone)
        self._meter.finished(ask.id)
        self._sessions.learn(ask, driven.run, tool_call_ids(driven.reply))
        self._speculating.saw(driven.run.attempts, decision, request, ask, signals)
        record = self._record(
            ask,
            signals,
            situation,
            driven.run,
            driven.events,
            driven.effects,
            policy=prepared.policy,
            seconds=driven.seconds,
        )
        return Outcome(
            record=record, reply=driven.reply, error=driven.error, streamed=driven.streamed
        )

    def _classify(self, request: Request, ask: Ask) -> Signals:
        """Return the signals; a task named by the client is believed."""
        signals = self._classifier.classify(request)
        if ask.task is None:
            return signals
        task = ask.task if ask.task in TASKS else signals.task
        return msgspec.structs.replace(signals, task=task, lane=ask.task)

    def _record(  # noqa: PLR0913 - a record is made of all of these
        self,
        ask: Ask,
        signals: Signals,
        situation: Situation,
        run: Run,
        events: tuple[Event, ...],
        effects: tuple[Effect, ...],
        *,
        policy: Policy,
        seconds: float,
    ) -> Record:
        """Bill the run and hand its record to the ledger.

        ``policy`` is the one decided by, whichever is in force now.
        """
        receipt = bill(
            ask=ask,
            signals=signals,
            level=situation.metabolic.level,
            fleet=self._fleet,
            policy=policy,
            run=run,
            seconds=seconds,
            largest=self._largest,
            load=situation.load,
        )
        record = Record(
            schema=RECORD_SCHEMA,
            decision_version=DECISION_VERSION,
            ask=ask,
            signals=signals,
            situation=self._blobs.ref(situation, policy, self._probe.latest),
            decision=run.decision,
            events=events,
            effects_digest=digest(effects),
            attempts=run.attempts,
            receipt=receipt,
        )
        self._ledger.append(record)
        self._lanes.saw(record)
        return record

    def _settle(self, settlement: Settlement) -> None:
        """Let the ledger know what the meter said."""
        self._ledger.settle(settlement)

    def _learn(self, window: Window) -> None:
        """Let decisions and bills know what the meters have learned."""
        self._local.saw(window)
        self._snapshot.learn(self._meter.ratios(), self._meter.exponents())

    async def _remember(self) -> None:
        """Keep what the meters have learned, now and then."""
        while True:
            await self._clock.sleep(_REMEMBER_S)
            await asyncio.to_thread(self._memory.save, self._meter.state())
            await asyncio.to_thread(self._local.save)

    async def _follow(self) -> None:
        """Follow the machine's state, as often as it is read."""
        while True:
            await self._clock.sleep(self.config.sense.period_s)
            self._refresh()

    def _refresh(self) -> None:
        """Assess the latest readings; the profile follows the state."""
        self._state = assess(self._probe.latest(), self._state, self._chooser.policy.profile)
        self._snapshot.see(self._state)
        self._chooser.follow(self._state)

    def ask_extras(
        self, request: Request, session: str | None, tenant: str | None
    ) -> tuple[tuple[WarmPrefix, ...], str | None]:
        """Return warm prefixes of the session, and who must answer a tool result."""
        return self._sessions.warm(tenant, session), self._sessions.pin(tenant, request)

    def deployments(self) -> tuple[Deployment, ...]:
        """Return who can answer, by name."""
        return self._snapshot.fleet.deployments

    def loads(self) -> tuple[Load, ...]:
        """Return how busy each deployment is."""
        return self._snapshot.loads()

    def metabolic(self) -> MetabolicState:
        """Return what the machine can afford now."""
        return self._snapshot.metabolic

    def hardware(self) -> HardwareState:
        """Return the latest readings."""
        return self._probe.latest()

    def receipt(self, request_id: str) -> Receipt | None:
        """Return one receipt from the ledger, settled if it is; blocks while it reads."""
        record = self._ledger.record(request_id)
        return None if record is None else record.receipt

    def decision(self, request_id: str) -> Decision | None:
        """Return one decision from the ledger; blocks while it reads."""
        record = self._ledger.record(request_id)
        return None if record is None else record.decision

    def label(self, lane: str, *, loss: float, propensity: float = 1.0) -> None:
        """Take a label of a certified lane's kept draft; see ``execute.vigil``."""
        self._vigil.label(lane, loss=loss, propensity=propensity)

    def observe(self, label: Label) -> bool:
        """Take a label of any answer (``decide.evidence_labels.label_of`` makes it); blocks.

        False: there was one of that name already. Raises ``OSError`` when it cannot be kept.
        """
        return self._lanes.observe(label)

    def lanes(self) -> LaneView:
        """Return the table of lanes, for who watches it."""
        return self._lanes.view()

    def strong_shares(self) -> Iterable[tuple[str | None, float]]:
        """Return tenants with their share of the largest models; nobody where none is watched."""
        return self._sessions.strong_shares()

    def feedback(self, given: Feedback, tenant: str | None) -> bool | None:
        """Take a client's label of an answer; see ``wiring.lanes``; blocks."""
        record = self._ledger.record(given.id)
        return self._lanes.feedback(given, tenant, record, vigil=self._vigil)

    def watches(self) -> tuple[Watch, ...]:
        """Return how much speaks against each certificate in force."""
        return self._vigil.watches()

    def ready(self) -> bool:
        """Say whether at least one deployment can answer now."""
        return any(one.state == "warm" and one.healthy is not False for one in self.loads())

    def snapshot_counters(self) -> Iterable[tuple[str, float]]:
        """Return counters of ledger, meter, probe and engines, by dotted names."""
        for name, count in self._ledger.counters():
            yield f"ledger.{name}", float(count)
        for name, value in self._meter.counters():
            yield f"meter.{name}", value
        yield from self._capacity.counters()
        yield "probe.cpu_seconds", self._probe.stats().cpu_s
        for info in self._local.info():
            yield f"engine.{info.deployment}.restarts", float(info.restarts)
