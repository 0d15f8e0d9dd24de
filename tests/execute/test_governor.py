"""Limits are put back: when the gateway ends, and after it was killed."""

import os

import pytest

from metabolic.actuate.fake import Fake, Options
from metabolic.core.actuation import Saved
from metabolic.core.metabolic import MetabolicState
from metabolic.decide.actuation import Limits
from metabolic.execute.clock import ManualClock
from metabolic.execute.governor import Governor, Journal, put_back

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class World:
    """A machine with one cap."""

    def __init__(self, tmp_path, **options):
        self.clock, self.state = ManualClock(), MetabolicState(level="nominal")
        self.fake = Fake(Options(**options))
        self.journal = Journal(tmp_path / "state/limits.json", pid=os.getpid(), born_s=1.0)
        self.governor = Governor(
            [("fake", {}, self.fake)],
            Limits(hold_s=60.0),
            self.journal,
            clock=self.clock,
            state=lambda: self.state,
        )

    async def at(self, level):
        self.state = MetabolicState(level=level)
        await self.governor.step()


async def test_a_calm_machine_is_never_touched(tmp_path):
    world = World(tmp_path)
    await world.at("nominal")
    assert world.fake.sets == []
    assert not world.journal.path.exists()


async def test_heat_sets_a_cap_that_the_file_knows_and_calm_lifts_it(tmp_path):
    world = World(tmp_path)
    await world.at("critical")
    assert world.fake.sets == [210.0]
    assert world.journal.read() == (
        Saved(kind="fake", options={}, knob="fake0", value=300.0, set_to=210.0),
    )
    await world.at("elevated")
    await world.clock.advance(61.0)
    await world.at("elevated")
    assert world.fake.sets == [210.0, 255.0]
    await world.at("nominal")
    await world.clock.advance(61.0)
    await world.at("nominal")
    assert world.fake.sets == [210.0, 255.0, 300.0]
    assert not world.journal.path.exists()


async def test_the_end_puts_everything_back(tmp_path):
    world = World(tmp_path)
    await world.at("critical")
    await world.governor.aclose()
    assert world.fake.sets == [210.0, 300.0]
    assert not world.journal.path.exists()


async def test_what_a_killed_gateway_left_is_put_back_from_the_file(tmp_path):
    world = World(tmp_path)
    await world.at("critical")
    said, left = put_back(world.journal.read(), lambda *_: world.fake)
    assert (said, left) == (["fake0: put back to 300 W"], [])
    assert world.fake.sets == [210.0, 300.0]


async def test_a_cap_that_somebody_else_has_set_since_stays(tmp_path):
    world = World(tmp_path)
    await world.at("critical")
    world.fake.set("fake0", 150.0)
    said, _ = put_back(world.journal.read(), lambda *_: world.fake)
    assert said == ["fake0: 150 W was set by somebody else, and stays"]
    assert world.fake.sets[-1] == 150.0


async def test_what_is_refused_is_counted_and_not_tried_every_second(tmp_path):
    world = World(tmp_path, refuses=True)
    await world.at("critical")
    await world.at("critical")
    assert (world.governor.refused, world.governor.set_count) == (1, 0)
    assert not world.journal.path.exists()
    await world.clock.advance(61.0)
    await world.at("critical")
    assert world.governor.refused == 2


async def test_without_a_file_nothing_is_set(tmp_path):
    blocked = tmp_path / "state"
    blocked.write_text("a file where the folder should be")
    world = World(tmp_path)
    await world.at("critical")
    assert world.fake.sets == []
    assert world.governor.refused == 1


async def test_what_cannot_be_put_back_stays_in_the_file(tmp_path):
    saved = Saved(kind="fake", options={}, knob="gone", value=300.0, set_to=210.0)
    said, left = put_back([saved], lambda *_: Fake(Options()))
    assert left == [saved]
    assert "not put back" in said[0]
