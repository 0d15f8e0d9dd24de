"""The keeper starts what is waited for and lets the idle sleep."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from metabolic.core.errors import EngineError
from metabolic.core.fleet import Deployment, FleetSpec, LaunchSpec, Load, Model, Situation
from metabolic.core.metabolic import MetabolicState
from metabolic.decide.provision import Rules
from metabolic.engines.fake import Fake, Options
from metabolic.engines.supervised import Backoff, Supervised
from metabolic.execute.clock import ManualClock
from metabolic.execute.keeper import Keeper

pytestmark = pytest.mark.anyio

RULES = Rules(idle_s=100.0, dwell_s=5.0, retry_s=20.0, reserve_bytes=100)
ON_DEMAND = Rules(idle_s=100.0, dwell_s=5.0, retry_s=20.0, reserve_bytes=100, warm_up=False)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class World:
    """A machine with some memory, some fake engines and a clock."""

    def __init__(self, needs: dict[str, int], *, memory: int = 10_000, fail: int = 0) -> None:
        self.clock = ManualClock()
        self.memory = memory
        self.loads: tuple[Load, ...] = ()
        self.engines = {
            name: Fake(Options(fail_starts=fail), LaunchSpec(deployment=name, model_path=""))
            for name in needs
        }
        self.deployments = tuple(
            Deployment(name=name, model=Model(id=name, tier="tiny"), memory_bytes=need)
            for name, need in needs.items()
        )

    def free(self) -> int:
        up = (one for one in self.deployments if self.engines[one.name].state == "warm")
        return self.memory - sum(one.memory_bytes or 0 for one in up)

    def situation(self) -> Situation:
        return Situation(
            at_s=0.0,
            metabolic=MetabolicState(),
            fleet=FleetSpec(id="f", deployments=self.deployments),
            load=self.loads,
        )

    def keeper(self, rules: Rules = RULES) -> Keeper:
        return Keeper(
            self.engines,
            self.deployments,
            clock=self.clock,
            situation=self.situation,
            free_bytes=self.free,
            rules=rules,
        )


async def settle() -> None:
    """Let every task that can run, run."""
    for _ in range(30):
        await asyncio.sleep(0)


@contextmanager
def held(engine: Fake) -> Generator[None]:
    """Hold the starts of ``engine``."""
    engine.gate.clear()
    yield
    engine.gate.set()


async def test_models_are_warmed_up_smallest_first_one_at_a_time() -> None:
    world = World({"large": 300, "small": 100})
    async with world.keeper() as keeper:
        with held(world.engines["small"]):
            await settle()
            assert keeper.states() == (("large", "stopped"), ("small", "starting"))
        await settle()
        assert keeper.states() == (("large", "warm"), ("small", "warm"))


async def test_ensure_returns_a_warm_endpoint_at_once() -> None:
    world = World({"small": 100})
    async with world.keeper() as keeper:
        await settle()
        assert await keeper.ensure("small") == world.engines["small"].endpoint
        assert world.engines["small"].starts == 1


async def test_many_who_wait_share_one_start() -> None:
    world = World({"small": 100})
    async with world.keeper(ON_DEMAND) as keeper:
        with held(world.engines["small"]):
            waiting = [asyncio.create_task(keeper.ensure("small")) for _ in range(5)]
            await settle()
            assert not any(one.done() for one in waiting)
        endpoints = await asyncio.gather(*waiting)
        assert len(set(endpoints)) == 1
        assert world.engines["small"].starts == 1


async def test_one_who_leaves_does_not_end_the_start_for_the_others() -> None:
    world = World({"small": 100})
    async with world.keeper(ON_DEMAND) as keeper:
        with held(world.engines["small"]):
            first, second = (asyncio.create_task(keeper.ensure("small")) for _ in range(2))
            await settle()
            first.cancel()
            await settle()
        assert (await second).deployment == "small"


async def test_an_idle_model_sleeps_and_wakes_on_demand() -> None:
    world = World({"small": 100, "large": 300})
    async with world.keeper() as keeper:
        await settle()
        await world.clock.advance(50)
        keeper.note_use("small")
        await world.clock.advance(51)
        await settle()
        assert dict(keeper.states()) == {"large": "asleep", "small": "warm"}
        assert (await keeper.ensure("large")).deployment == "large"
        assert world.engines["large"].starts == 2


async def test_a_model_in_use_stays_awake_however_long_it_takes() -> None:
    world = World({"small": 100, "large": 300})
    async with world.keeper() as keeper:
        await settle()
        with keeper.using("large"), keeper.using("small"):
            await world.clock.advance(1000)
            await settle()
            assert dict(keeper.states()) == {"large": "warm", "small": "warm"}
        await world.clock.advance(99)
        await settle()
        assert world.engines["large"].sleeps == 0


async def test_the_load_of_the_situation_keeps_a_model_awake_too() -> None:
    world = World({"small": 100, "large": 300})
    world.loads = tuple(Load(deployment=name, running=1) for name in world.engines)
    async with world.keeper() as keeper:
        await settle()
        await world.clock.advance(1000)
        await settle()
        assert dict(keeper.states()) == {"large": "warm", "small": "warm"}


async def test_a_wanted_model_pushes_out_an_idle_one_first() -> None:
    world = World({"small": 200, "large": 300}, memory=450)
    async with world.keeper() as keeper:
        await settle()
        assert dict(keeper.states()) == {"large": "stopped", "small": "warm"}
        await world.clock.advance(6)
        assert (await keeper.ensure("large")).deployment == "large"
        assert dict(keeper.states()) == {"large": "warm", "small": "asleep"}


async def test_who_waits_for_room_gets_it_once_the_calls_are_done() -> None:
    world = World({"small": 200, "large": 300}, memory=450)
    async with world.keeper() as keeper:
        await settle()
        with keeper.using("small"):
            waiting = asyncio.create_task(keeper.ensure("large"))
            await world.clock.advance(30)
            await settle()
            assert not waiting.done()
        await world.clock.advance(6)
        assert (await waiting).deployment == "large"


async def test_what_can_never_fit_is_refused_at_once_with_the_reason() -> None:
    world = World({"small": 200, "huge": 5_000}, memory=450)
    async with world.keeper() as keeper:
        await settle()
        with pytest.raises(EngineError, match="huge cannot start: it needs 0 MB"):
            await keeper.ensure("huge")


async def test_a_failed_start_is_the_answer_and_not_tried_again_at_once() -> None:
    world = World({"small": 100}, fail=1)
    async with world.keeper(ON_DEMAND) as keeper:
        with pytest.raises(EngineError, match="did not start: as told"):
            await keeper.ensure("small")
        assert keeper.error("small") == "small did not start: as told"
        with pytest.raises(EngineError, match=r"failed a moment ago \(small did not start"):
            await keeper.ensure("small")
        assert world.engines["small"].starts == 1
        await world.clock.advance(20)
        assert (await keeper.ensure("small")).deployment == "small"
        assert keeper.error("small") is None


async def test_a_model_that_died_is_started_again() -> None:
    world = World({"small": 100})
    async with world.keeper() as keeper:
        await settle()
        world.engines["small"].crash()
        keeper.poke("small", "failed", None)
        await settle()
        assert dict(keeper.states()) == {"small": "warm"}
        assert world.engines["small"].starts == 2


async def test_a_start_that_takes_too_long_is_given_up_by_who_waits() -> None:
    world = World({"small": 100})
    async with world.keeper(ON_DEMAND) as keeper:
        with held(world.engines["small"]):
            waiting = asyncio.create_task(keeper.ensure("small", timeout_s=3.0))
            await settle()
            await world.clock.advance(3)
            await settle()
            with pytest.raises(EngineError, match="was not ready in time; it is starting"):
                await waiting


async def test_a_stranger_is_refused_and_its_use_ignored() -> None:
    async with World({"small": 100}).keeper() as keeper:
        keeper.note_use("cloud")
        keeper.retire("cloud")
        with keeper.using("cloud"):
            pass
        assert keeper.error("cloud") is None
        with pytest.raises(EngineError, match="cloud is not a local deployment"):
            await keeper.ensure("cloud")


async def test_a_retired_model_is_stopped_after_its_last_call() -> None:
    world = World({"small": 100, "large": 300})
    async with world.keeper() as keeper:
        await settle()
        with keeper.using("large"):
            keeper.retire("large")
            await settle()
            assert world.engines["large"].stops == 0
        await world.clock.advance(1)
        await settle()
        assert world.engines["large"].stops == 1
        with pytest.raises(EngineError, match="not a local model of this fleet"):
            await keeper.ensure("large")


async def test_closing_refuses_who_waits_and_leaves_the_engines() -> None:
    world = World({"small": 100, "large": 300})
    keeper = world.keeper(ON_DEMAND)
    keeper.open()
    await keeper.ensure("small")
    with held(world.engines["large"]):
        waiting = asyncio.create_task(keeper.ensure("large"))
        await settle()
        await keeper.aclose()
        with pytest.raises(EngineError, match="the keeper is closed"):
            await waiting
    assert world.engines["small"].state == "warm"
    assert keeper.tick() == ()


async def test_a_closed_keeper_refuses_to_start_anything() -> None:
    keeper = World({"small": 100}).keeper()
    with pytest.raises(EngineError, match="the keeper is closed"):
        await keeper.ensure("small")


async def test_nothing_of_the_keeper_runs_on_after_it_is_closed() -> None:
    before = asyncio.all_tasks()
    world = World({"small": 100})
    async with world.keeper():
        await settle()
        await world.clock.advance(5)
    await settle()
    assert asyncio.all_tasks() == before


async def test_a_crash_is_repaired_by_the_supervisor_and_the_keeper_waits_for_it() -> None:
    world = World({"small": 100})
    keeper: list[Keeper] = []
    supervised = Supervised(
        "small",
        make=lambda _: world.engines["small"],
        launch=lambda: LaunchSpec(deployment="small", model_path=""),
        clock=world.clock,
        backoff=Backoff(first_s=0.5),
        on_change=lambda *change: keeper[0].poke(*change) if keeper else None,
    )
    async with Keeper(
        {"small": supervised},
        world.deployments,
        clock=world.clock,
        situation=world.situation,
        rules=RULES,
    ) as kept:
        keeper.append(kept)
        await kept.ensure("small")
        world.engines["small"].crash()
        await settle()
        assert kept.states() == (("small", "starting"),)
        waiting = asyncio.create_task(kept.ensure("small"))
        await settle()
        assert not waiting.done()
        await world.clock.advance(0.5)
        assert (await waiting).deployment == "small"
        assert supervised.restarts == 1
        await supervised.stop()


async def test_how_long_starts_take_is_measured():
    world = World({"a": 10})
    keeper = world.keeper(ON_DEMAND)
    async with keeper:
        assert keeper.wakes() == {}
        gate = asyncio.Event()
        start = world.engines["a"].start

        async def slow() -> object:
            await gate.wait()
            return await start()

        world.engines["a"].start = slow  # type: ignore[method-assign]
        waiting = asyncio.create_task(keeper.ensure("a"))
        await settle()
        await world.clock.advance(4.0)
        gate.set()
        await waiting
        await settle()
        assert keeper.wakes()["a"].seconds == pytest.approx(4.0, abs=1.0)
