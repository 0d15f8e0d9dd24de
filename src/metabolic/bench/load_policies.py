"""Who gets an ask: round robin, least busy, by latency, or the product's decision and gates."""

__all__ = ["POLICIES", "Done", "Ours", "Policy", "Simple"]

import random
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from metabolic.bench.load_engine import Engine, Job
from metabolic.bench.load_world import Item, World
from metabolic.core.attempt import Attempt, Call
from metabolic.core.decision import Policy as Routing
from metabolic.core.errors import Shed
from metabolic.core.fleet import Deployment, FleetSpec, Load, Situation, State
from metabolic.core.metabolic import MetabolicState
from metabolic.core.request import Ask, Limits, Usage
from metabolic.core.signals import Signals
from metabolic.decide.admit import Rules
from metabolic.decide.decide import decide
from metabolic.decide.estimate import prepare
from metabolic.execute.admission import Admission, Conditions, Gate, Pass
from metabolic.execute.admission_pace import Paces

_SCRAPE_S = 1.0
_SMOOTH = 0.1


class Done(Struct, frozen=True, kw_only=True):
    """How one ask ended: ``ended_s`` is ``None`` when it was shed or refused."""

    item: Item
    engine: str
    ended_s: float | None

    def seconds(self) -> float | None:
        """Return how long it took."""
        return None if self.ended_s is None else self.ended_s - self.item.at_s

    def good(self) -> bool:
        """Say whether it was answered in time."""
        seconds = self.seconds()
        return seconds is not None and seconds <= self.item.deadline_s


class Policy:
    """Hands asks to engines and collects how they ended."""

    def __init__(self, world: World, engines: Sequence[Engine], *, seed: int) -> None:
        """Take the engines."""
        self.world, self.engines = world, {one.name: one for one in engines}
        self.draw = random.Random(f"{seed}/policy")
        self.done: list[Done] = []

    def ask(self, item: Item) -> None:
        """Answer an ask, or shed it."""
        raise NotImplementedError

    def send(self, item: Item, name: str, then: Callable[[Job], None] | None = None) -> None:
        """Hand an ask to an engine."""

        def done(job: Job) -> None:
            self.done.append(Done(item=item, engine=name, ended_s=job.ended_s))
            if then is not None:
                then(job)

        self.engines[name].submit(Job(item.key, item.prompt, item.output, done))


class Simple(Policy):
    """What gateways usually do; ``kind`` names it. Engines queue by themselves."""

    def __init__(
        self, world: World, engines: Sequence[Engine], *, seed: int, kind: str = "round_robin"
    ) -> None:
        """Take the engines and the kind."""
        super().__init__(world, engines, seed=seed)
        self.kind, self._turn = kind, 0
        self._latency_s: dict[str, float] = {}

    def ask(self, item: Item) -> None:
        """Pick by the kind."""
        names = list(self.engines)
        if self.kind == "round_robin":
            self._turn += 1
            name = names[self._turn % len(names)]
        elif self.kind == "least_busy":
            name = min(names, key=lambda one: self.engines[one].load())
        else:
            weights = [1.0 / self._latency_s.get(one, 1.0) for one in names]
            name = self.draw.choices(names, weights)[0]
        self.send(item, name, lambda job: self._learn(name, job))

    def _learn(self, name: str, job: Job) -> None:
        """Follow the latency of an engine: a moving average."""
        if job.ended_s is not None:
            seconds = job.ended_s - job.arrived_s
            old = self._latency_s.get(name, seconds)
            self._latency_s[name] = old + _SMOOTH * (seconds - old)


class Ours(Policy):
    """The product's own ``decide``, gates and paces, on what a scrape a second would show."""

    def __init__(
        self,
        world: World,
        engines: Sequence[Engine],
        *,
        seed: int,
        fleet: FleetSpec,
        routing: Routing,
        exponent: float = 0.5,
    ) -> None:
        """Prepare as the runtime does."""
        super().__init__(world, engines, seed=seed)
        self.fleet, self.routing = fleet, routing
        self.exponent = exponent
        self.prepared = prepare(fleet, routing)
        self.easy: tuple[str, ...] = ()
        self.hard: tuple[str, ...] = ()
        self.deployments = {one.name: one for one in fleet.deployments}
        self._kv: dict[str, float] = {}
        self._leaving: set[str] = set()
        gates = {one.name: self._gate(one) for one in fleet.deployments}
        self.admission = Admission(gates, Paces(fleet.deployments), clock=world)
        self._tick()

    def _gate(self, one: Deployment) -> Gate:
        """Return the gate of a deployment, as ``wiring.capacity`` makes it."""
        cache = self.engines[one.name].kind.cache_tokens
        rules = Rules(most=one.slots, start=one.slots)
        return Gate(
            one.name,
            rules,
            clock=self.world,
            now=lambda: Conditions(kv_used_ratio=self._kv.get(one.name), kv_capacity_tokens=cache),
        )

    def _tick(self) -> None:
        """Scrape, learn and look at the lines once a second."""
        self._kv = {name: engine.used_ratio() for name, engine in self.engines.items()}
        self.admission.paces.refit()
        self.admission.open()
        self.world.after(_SCRAPE_S, self._tick)

    def leave(self, among: Iterable[str], names: Iterable[str]) -> None:
        """Give no further work to these, ``among`` those that were asked about."""
        self._leaving = (self._leaving - set(among)) | set(names)

    def loads(self) -> tuple[Load, ...]:
        """Return what the snapshot would say."""
        return tuple(self._load(one) for one in self.fleet.deployments)

    def _load(self, one: Deployment) -> Load:
        """Return one deployment's load."""
        gate, engine = self.admission.gates[one.name], self.engines[one.name]
        pace, limit = self.admission.paces.found().get(one.name), gate.limit()
        load = Load(
            deployment=one.name,
            state=_state(engine),
            running=gate.inside,
            waiting=gate.waiting,
            batch_exponent=self.exponent,
            limit=limit if limit < one.slots else None,
            leaving=one.name in self._leaving,
        )
        if pace is None:
            return load
        return replace(
            load,
            ttft_s=pace.overhead_s,
            ttft_per_token_s=pace.prompt_s,
            tpot_s=pace.weights_s,
            tpot_per_answer_s=pace.share_s,
        )

    def ask(self, item: Item) -> None:
        """Decide, and try the stages' deployments in order until a gate takes it."""
        ask = Ask(
            id=str(item.key),
            at_s=item.at_s,
            input_tokens=item.prompt,
            max_output_tokens=item.most,
            allowed=self.easy if item.simple else self.hard,
            limits=Limits(deadline_s=item.deadline_s),
        )
        hard = 0.0 if item.simple else 1.0
        signals = Signals(
            lane="simple" if item.simple else "hard",
            p_simple=1.0 - hard,
            p_medium=0.0,
            p_complex=hard,
            expected_output_tokens=96,
        )
        situation = Situation(
            at_s=item.at_s, metabolic=MetabolicState(), fleet=self.fleet, load=self.loads()
        )
        found = decide(ask, signals, situation, self.routing, prepared=self.prepared)
        names = [one.deployment for one in (*found.stages[:1], *found.fallbacks)]
        self._offer(item, ask, names)

    def _offer(self, item: Item, ask: Ask, names: Sequence[str]) -> None:
        """Offer an ask to gates in turn; who is shed everywhere has no answer."""
        for number, name in enumerate(names):
            gate = self.admission.gates[name]
            rest = names[number + 1 :]
            ticket = self.admission.ticket(gate, ask, t0_s=item.at_s)

            def tell(answer: Pass | Shed, gate: Gate = gate, rest: Sequence[str] = rest) -> None:
                if isinstance(answer, Shed):
                    self._offer(item, ask, rest)
                else:
                    self._begin(item, gate, answer)

            try:
                answer = gate.offer(ticket, tell)
            except Shed:
                continue
            if isinstance(answer, Pass):
                self._begin(item, gate, answer)
            return
        self.done.append(Done(item=item, engine="", ended_s=None))

    def _begin(self, item: Item, gate: Gate, given: Pass) -> None:
        """Send an ask that was let in, and learn from its answer."""
        running = gate.inside
        began_s = self.world.monotonic_s()

        def then(job: Job) -> None:
            token_s = self._learn(gate, job, began_s, max(running, gate.inside))
            gate.leave(given, token_s=token_s, refused=job.ended_s is None)

        self.send(item, gate.deployment, then)

    def _learn(self, gate: Gate, job: Job, began_s: float, running: int) -> float | None:
        """Let the paces see an answer."""
        if job.ended_s is None or job.first_s is None:
            return None
        attempt = Attempt(
            call=Call(id="c0", stage=0, deployment=gate.deployment),
            began_s=began_s,
            first_token_s=job.first_s,
            ended_s=job.ended_s,
            usage=Usage(input_tokens=job.prompt, output_tokens=job.output),
        )
        if self.engines[gate.deployment].since_s > began_s:
            return None  # it had to wake first
        return self.admission.saw(attempt, running=running, began_s=began_s)


def _state(engine: Engine) -> State:
    """Return an engine's state as a load has it."""
    return (
        "asleep"
        if engine.state == "asleep"
        else "starting"
        if engine.state == "starting"
        else "warm"
    )


POLICIES: Mapping[str, str] = {
    "round_robin": "each in turn",
    "least_busy": "fewest answers in flight",
    "latency_weighted": "drawn by the inverse of recent latency",
}
"""The baselines."""
