"""An engine that dies comes back, with growing pauses, until it is given up."""

import asyncio
from collections.abc import Callable

import pytest

from metabolic.core.errors import EngineError
from metabolic.core.fleet import Endpoint, LaunchSpec, State
from metabolic.engines.fake import Fake, Options
from metabolic.engines.supervised import Backoff, Supervised
from metabolic.execute.clock import ManualClock
from metabolic.testing.engines import check_engine

pytestmark = pytest.mark.anyio

BACKOFF = Backoff(first_s=1.0, most_s=4.0, limit=3, cool_off_s=100.0, stable_s=60.0)
SPEC = LaunchSpec(deployment="small", model_path="")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class World:
    """A supervised fake, its clock, and what was heard of it."""

    def __init__(self, launch: Callable[[], LaunchSpec] | None = None, *, fail: int = 0) -> None:
        self.clock = ManualClock()
        self.heard: list[tuple[State, str | None]] = []
        self.fakes: list[Fake] = []
        self._fail = fail
        self.engine = Supervised(
            "small",
            make=self._make,
            launch=launch or (lambda: SPEC),
            clock=self.clock,
            backoff=BACKOFF,
            on_change=lambda _, state, reason: self.heard.append((state, reason)),
        )

    def _make(self, spec: LaunchSpec) -> Fake:
        self.fakes.append(Fake(Options(fail_starts=self._fail), spec))
        return self.fakes[-1]

    @property
    def fake(self) -> Fake:
        return self.fakes[-1]

    @property
    def states(self) -> list[State]:
        return [state for state, _ in self.heard]


async def test_it_keeps_the_contract_of_engines() -> None:
    await check_engine(lambda: World().engine)


async def test_a_death_goes_failed_starting_warm_after_a_pause() -> None:
    world = World()
    await world.engine.start()
    world.heard.clear()
    world.fake.crash()
    await settle()
    assert world.heard == [("failed", "small was killed by SIGKILL")]
    await world.clock.advance(0.9)
    assert world.engine.state == "failed"
    await world.clock.advance(0.1)
    await settle()
    assert world.states == ["failed", "starting", "warm"]
    assert world.engine.restarts == 1
    assert world.engine.reason is None
    await world.engine.stop()


async def test_the_pauses_double_up_to_the_most() -> None:
    assert [BACKOFF.delay_s(n) for n in (1, 2, 3)] == [1.0, 2.0, 4.0]
    assert Backoff(limit=20).delay_s(19) == 30.0


async def test_a_flapping_engine_stays_failed_with_the_reason() -> None:
    world = World()
    await world.engine.start()
    for _ in range(BACKOFF.limit):
        world.fake.crash()
        await settle()
        await world.clock.advance(4.0)
        await settle()
        assert world.engine.state == "warm"
    world.fake.crash("exited with status 7")
    await settle()
    await world.clock.advance(50.0)
    await settle()
    assert world.engine.state == "failed"
    with pytest.raises(EngineError, match=r"exited with status 7; not tried again for 50 s"):
        await world.engine.start()
    await world.clock.advance(50.0)
    assert (await world.engine.start()).deployment == "small"
    await world.engine.stop()


async def test_an_engine_that_ran_long_enough_starts_from_the_beginning() -> None:
    world = World()
    await world.engine.start()
    for _ in range(3 * BACKOFF.limit):
        await world.clock.advance(60.0)
        world.fake.crash()
        await settle()
        await world.clock.advance(1.0)
        await settle()
        assert world.engine.state == "warm"
    assert world.engine.restarts == 3 * BACKOFF.limit
    await world.engine.stop()


async def test_who_asks_while_it_comes_back_waits_for_that() -> None:
    world = World()
    await world.engine.start()
    world.fake.crash()
    await settle()
    asked = asyncio.create_task(world.engine.start())
    await settle()
    assert not asked.done()
    await world.clock.advance(1.0)
    assert (await asked).deployment == "small"
    assert world.fake.starts == 2
    await world.engine.stop()


async def test_a_first_start_that_fails_is_told_and_not_tried_again_at_once() -> None:
    world = World(fail=1)
    with pytest.raises(EngineError, match="as told"):
        await world.engine.start()
    assert world.states == ["starting", "failed"]
    with pytest.raises(EngineError, match=r"as told; not tried again for 1 s"):
        await world.engine.start()
    await world.clock.advance(1.0)
    await world.engine.start()
    assert world.engine.state == "warm"
    await world.engine.stop()


async def test_a_restart_that_fails_is_tried_again() -> None:
    world = World()
    await world.engine.start()
    world.fake._fail = 1
    world.fake.crash()
    await settle()
    await world.clock.advance(1.0)
    await settle()
    assert world.engine.state == "failed"
    await world.clock.advance(2.0)
    await settle()
    assert world.engine.state == "warm"
    await world.engine.stop()


async def test_restarts_that_all_fail_are_given_up_and_those_who_wait_are_told() -> None:
    world = World()
    await world.engine.start()
    world.fake._fail = 99
    world.fake.crash()
    await settle()
    asked = asyncio.create_task(world.engine.start())
    for _ in range(BACKOFF.limit):
        await world.clock.advance(4.0)
        await settle()
    with pytest.raises(EngineError, match="as told; it failed 4 times in a row"):
        await asked
    assert world.engine.state == "failed"
    await world.engine.stop()
    assert world.engine.state == "stopped"


@pytest.mark.parametrize("rest", ["sleep", "stop"])
async def test_an_engine_put_to_rest_does_not_come_back(rest: str) -> None:
    world = World()
    await world.engine.start()
    world.fake.crash()
    await settle()
    await getattr(world.engine, rest)()
    await world.clock.advance(100.0)
    await settle()
    assert world.engine.state == ("asleep" if rest == "sleep" else "stopped")
    assert world.fake.starts == 1


async def test_no_room_is_a_reason_and_not_a_failure_of_the_engine() -> None:
    def full() -> LaunchSpec:
        message = "small does not fit"
        raise EngineError(message)

    world = World(full)
    with pytest.raises(EngineError, match="does not fit"):
        await world.engine.start()
    assert world.engine.state == "stopped"
    assert world.engine.reason == "small does not fit"
    await world.engine.stop()


async def test_it_is_made_anew_when_its_size_changes() -> None:
    slots = iter((1, 2, 2))
    world = World(lambda: LaunchSpec(deployment="small", model_path="", slots=next(slots)))
    for _ in range(3):
        await world.engine.start()
        await world.engine.sleep()
    assert [fake.spec.slots for fake in world.fakes] == [1, 2]
    assert world.fakes[0].state == "stopped"
    await world.engine.stop()


async def test_sleep_before_any_start_does_nothing() -> None:
    world = World()
    await world.engine.sleep()
    assert world.engine.state == "stopped"
    assert world.heard == []


class Plain:
    """An engine that cannot say when it is down."""

    deployment = "small"

    def __init__(self) -> None:
        self.state: State = "stopped"
        self.starts = 0

    @property
    def endpoint(self) -> Endpoint | None:
        if self.state != "warm":
            return None
        return Endpoint(deployment="small", base_url="http://x", model="m")

    async def start(self) -> Endpoint:
        self.state = "warm"
        self.starts += 1
        assert self.endpoint is not None
        return self.endpoint

    async def sleep(self) -> None:
        self.state = "asleep"

    async def stop(self) -> None:
        self.state = "stopped"


async def test_an_engine_that_cannot_say_it_died_is_looked_at() -> None:
    clock, plain = ManualClock(), Plain()
    engine = Supervised(
        "small",
        make=lambda _: plain,
        launch=lambda: SPEC,
        clock=clock,
        backoff=BACKOFF,
        on_change=lambda *_: None,
    )
    await engine.start()
    assert engine.load_s == 0.0
    plain.state = "failed"
    await clock.advance(0.5)
    await settle()
    assert engine.reason == "small died"
    await clock.advance(1.0)
    await settle()
    assert plain.starts == 2
    await engine.stop()
