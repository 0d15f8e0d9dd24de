"""Two engines of different speed, 64 clients, and a power cap on the faster one half-way."""

__all__ = ["FAST", "SLOW", "SteadyRun", "fleet_of", "play", "routing"]

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from metabolic.bench.load_engine import Engine, Kind
from metabolic.bench.load_policies import Done, Ours, Policy, Simple
from metabolic.bench.load_world import Item, World
from metabolic.core.decision import Belief
from metabolic.core.decision import Policy as Routing
from metabolic.core.fleet import Deployment, FleetSpec, Model
from metabolic.core.metabolic import Profile
from metabolic.decide.digest import sealed

FAST = Kind(
    base_s=0.010,
    each_s=0.0006,
    context_s=2.0e-7,
    prompt_s=0.00012,
    cache_tokens=24_000,
    batch=64,
    idle_w=90.0,
    busy_w=600.0,
    asleep_w=20.0,
    wake_s=15.0,
)
SLOW = replace(
    FAST, base_s=0.022, each_s=0.0012, context_s=4e-7, prompt_s=0.0003, cache_tokens=12_000
)
_CAP_STRETCH = 1.7
_CAP_POWER = 0.6
_DRAIN_S = 120.0


class SteadyRun(Struct, frozen=True, kw_only=True):
    """What one policy did: how asks ended, what it drew, and whether an engine was pushed."""

    policy: str
    done: tuple[Done, ...]
    joules: float
    preemptions: int
    refused: int


def fleet_of(kinds: dict[str, Kind], *, model: str, parameters: int, device: str) -> FleetSpec:
    """Return deployments of one model on these engines, with speeds as somebody would guess."""
    return sealed(
        FleetSpec(
            id="",
            deployments=tuple(
                Deployment(
                    name=name,
                    model=Model(id=model, tier="medium", active_parameters=parameters),
                    kind="server",
                    device=f"{device}-{name}",
                    prefill_tokens_per_s=1.0 / kind.prompt_s,
                    decode_tokens_per_s=1.0 / (kind.base_s + kind.each_s),
                    active_w=(kind.busy_w - kind.idle_w) * (1 / (1 + kind.knee)) ** 0.5,
                    load_s=kind.wake_s,
                    slots=kind.batch,
                )
                for name, kind in sorted(kinds.items())
            ),
        )
    )


def routing(beliefs: tuple[Belief, ...] = (), *, loss: float = 0.0) -> Routing:
    """Return a policy that gives up no quality and asks one stage."""
    profile = Profile(
        name="edge",
        preference=1.0,
        max_loss_ratio=loss,
        min_gain_ratio=0.0,
        tiers=(),
        heat_weight=1.0,
        thresholds=(),
    )
    return sealed(Routing(id="", profile=profile, beliefs=beliefs, max_stages=1))


def play(kind: str, items: Sequence[Item], *, seconds: float, seed: int) -> SteadyRun:
    """Let one policy answer all asks."""
    world = World()
    kinds = {"fast": FAST, "slow": SLOW}
    engines = [Engine(name, one, now=world.now_s, after=world.after) for name, one in kinds.items()]
    policy: Policy
    if kind == "metabolic":
        fleet = fleet_of(kinds, model="m", parameters=8_000_000_000, device="gpu")
        policy = Ours(world, engines, seed=seed, fleet=fleet, routing=routing())
    else:
        policy = Simple(world, engines, seed=seed, kind=kind)

    def cap() -> None:
        engines[0].joules()
        engines[0].stretch, engines[0].power_ratio = _CAP_STRETCH, _CAP_POWER

    world.after(seconds / 2, cap)
    for item in items:
        world.after(item.at_s, lambda item=item: policy.ask(item))
    world.run(seconds + _DRAIN_S)
    ended = {one.item.key for one in policy.done}
    lost = [Done(item=one, engine="", ended_s=None) for one in items if one.key not in ended]
    return SteadyRun(
        policy=kind,
        done=tuple(sorted([*policy.done, *lost], key=lambda one: one.item.key)),
        joules=sum(one.joules() for one in engines),
        preemptions=sum(one.preemptions for one in engines),
        refused=sum(one.refused for one in engines),
    )
