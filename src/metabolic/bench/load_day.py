"""A day in which replicas may sleep: joules of the whole fleet, at the meter, by policy.

All fleets have the same devices; what sleeps is counted as sleeping. ``always_on`` keeps every
large replica awake, ``always_large`` lets them sleep by the same rule as ``metabolic``, which may
also give easy work to small models, and does so only while the fleet draws less for it. Wake time
and what waking draws are in the joules of all three.
"""

__all__ = ["DayRun", "play", "pool_of"]

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from metabolic.bench.load_engine import Engine, Kind
from metabolic.bench.load_policies import Done, Ours
from metabolic.bench.load_steady import FAST, fleet_of, routing
from metabolic.bench.load_world import Item, World
from metabolic.core.decision import Belief
from metabolic.core.fleet import FleetSpec
from metabolic.decide.consolidate import (
    Pool,
    Rate,
    Replica,
    Split,
    break_even_s,
    follow,
    moves,
    split,
)
from metabolic.decide.digest import sealed

LARGE = replace(FAST, cache_tokens=48_000)
SMALL = Kind(
    base_s=0.004,
    each_s=0.00012,
    context_s=5e-8,
    prompt_s=0.000015,
    cache_tokens=96_000,
    batch=64,
    idle_w=60.0,
    busy_w=300.0,
    asleep_w=20.0,
    wake_s=6.0,
)
_LARGE, _SMALL = 4, 2
_TYPICAL_BATCH = 16.0
_OUTPUT, _PROMPT = 95.0, 400.0
_PERIOD_S = 2.0
_DRAIN_S = 180.0
_BELIEFS = tuple(
    Belief(deployment=f"{size}{number}", lane=lane, p_correct=p, evidence=10_000)
    for size, count in (("large", _LARGE), ("small", _SMALL))
    for number in range(count)
    for lane, p in (("simple", 0.9), ("hard", 0.8 if size == "large" else 0.3))
)


class DayRun(Struct, frozen=True, kw_only=True):
    """What one policy drew and did; ``small_share`` of answers came from small models."""

    policy: str
    done: tuple[Done, ...]
    joules: float
    preemptions: int
    refused: int
    wakes: int
    small_share: float


def pool_of(name: str, kind: Kind, replicas: int) -> Pool:
    """Return a pool as a meter would have measured it at a batch of sixteen."""
    step_s = kind.base_s + _TYPICAL_BATCH * (kind.each_s + kind.context_s * (_PROMPT + _OUTPUT / 2))
    rate = _TYPICAL_BATCH / (_OUTPUT * step_s + _TYPICAL_BATCH * kind.prompt_s * _PROMPT)
    share = (_TYPICAL_BATCH / (_TYPICAL_BATCH + kind.knee)) ** 0.5
    wake_w = (kind.idle_w + kind.busy_w) / 2 - kind.asleep_w
    return Pool(
        name=name,
        replicas=replicas,
        rate_per_s=rate,
        answer_j=(kind.busy_w - kind.idle_w) * share / rate,
        idle_w=kind.idle_w,
        asleep_w=kind.asleep_w,
        wake_s=kind.wake_s,
        wake_j=wake_w * kind.wake_s,
    )


class _Keeper:
    """Wakes and puts to sleep what ``decide.consolidate`` says, every two seconds."""

    def __init__(self, policy: Ours, *, with_small: bool, sleeps: bool) -> None:
        """Watch the rates of easy and hard asks."""
        self.policy, self.sleeps = policy, sleeps
        self.large = pool_of("large", LARGE, _LARGE)
        self.small = pool_of("small", SMALL, _SMALL) if with_small else None
        self.found = Split()
        self.rates = {"easy": Rate(), "hard": Rate()}
        self.seen = {"easy": 0, "hard": 0}
        self.tick()

    def note(self, item: Item) -> None:
        """Count an ask."""
        self.seen["easy" if item.simple else "hard"] += 1

    def tick(self) -> None:
        """Follow the rates; wake, allow and let sleep."""
        for kind, count in self.seen.items():
            self.rates[kind] = follow(self.rates[kind], count, _PERIOD_S)
            self.seen[kind] = 0
        self.found = split(
            self.large,
            self.small,
            easy_per_s=self.rates["easy"].per_s,
            hard_per_s=self.rates["hard"].per_s,
            before=self.found,
            seconds=_PERIOD_S,
        )
        size = "small" if self.found.apart else "large"
        self.policy.easy = tuple([one for one in self.policy.engines if one.startswith(size)])
        if self.sleeps:
            self._keep("large", self.found.large, self.large)
            self._keep("small", self.found.small, self.small)
        self.policy.world.after(_PERIOD_S, self.tick)

    def _keep(self, size: str, wanted: int, pool: Pool | None) -> None:
        """Wake up to so many of a size, and let those beyond sleep once that pays."""
        ours = {name: one for name, one in self.policy.engines.items() if name.startswith(size)}
        now_s = self.policy.world.now_s()
        found = moves(
            tuple(_replica(one, now_s) for one in ours.values()),
            wanted,
            idle_s=0.0 if pool is None else break_even_s(pool),
        )
        for name in found.wake:
            ours[name].wake()
        for name in found.sleep:
            ours[name].sleep()
        self.policy.leave(ours, found.leave)


def _replica(engine: Engine, now_s: float) -> Replica:
    """Return an engine as the keeper of the gateway sees it."""
    return Replica(
        name=engine.name,
        up=engine.state != "asleep",
        busy=engine.load() > 0,
        idle_s=now_s - max(engine.since_s, engine.last_used_s),
    )


def _fleet(kinds: dict[str, Kind]) -> FleetSpec:
    """Return large and small deployments in one fleet."""
    parts = [
        fleet_of(
            {name: one for name, one in kinds.items() if name.startswith(size)},
            model=size,
            parameters=parameters,
            device="gpu",
        ).deployments
        for size, parameters in (("large", 70_000_000_000), ("small", 8_000_000_000))
    ]
    ordered = sorted([one for part in parts for one in part], key=lambda one: one.name)
    return sealed(FleetSpec(id="", deployments=tuple(ordered)))


def play(kind: str, items: Sequence[Item], *, seconds: float, seed: int) -> DayRun:
    """Let one policy answer a day: ``always_on``, ``always_large`` or ``metabolic``."""
    world = World()
    kinds = {f"large{n}": LARGE for n in range(_LARGE)} | {
        f"small{n}": SMALL for n in range(_SMALL)
    }
    engines = [
        Engine(
            name,
            one,
            now=world.now_s,
            after=world.after,
            awake=name.startswith("large") and (kind == "always_on" or name == "large0"),
        )
        for name, one in kinds.items()
    ]
    policy = Ours(
        world, engines, seed=seed, fleet=_fleet(kinds), routing=routing(_BELIEFS, loss=0.001)
    )
    policy.hard = tuple([one for one in kinds if one.startswith("large")])
    keeper = _Keeper(policy, with_small=kind == "metabolic", sleeps=kind != "always_on")

    def ask(item: Item) -> None:
        keeper.note(item)
        policy.ask(item)

    for item in items:
        world.after(item.at_s, lambda item=item: ask(item))
    world.run(seconds + _DRAIN_S)
    answered = [one for one in policy.done if one.ended_s is not None]
    return DayRun(
        policy=kind,
        done=tuple(policy.done),
        joules=sum(one.joules() for one in engines),
        preemptions=sum(one.preemptions for one in engines),
        refused=sum(one.refused for one in engines),
        wakes=sum(one.wakes for one in engines),
        small_share=sum(one.engine.startswith("small") for one in answered) / max(1, len(answered)),
    )
