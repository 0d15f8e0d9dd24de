"""The time limit between two events."""

import asyncio

import pytest

from metabolic.core.errors import TimedOut
from metabolic.execute.stall import Watch

pytestmark = pytest.mark.anyio


async def test_a_stream_that_stands_still_times_out():
    with pytest.raises(TimedOut, match=r"nothing came for 0.01 s"):
        async with Watch(0.01):
            await asyncio.Event().wait()


async def test_time_spent_passing_an_event_on_does_not_count():
    loop = asyncio.get_running_loop()
    slow = loop.create_future()
    loop.call_later(0.05, slow.set_result, None)
    async with Watch(0.01) as watch:
        watch.pause()
        await slow
        watch.go_on()


async def test_after_passing_on_it_watches_again():
    async def passed_on_once():
        async with Watch(0.01) as watch:
            watch.pause()
            watch.go_on()
            await asyncio.Event().wait()

    with pytest.raises(TimedOut):
        await passed_on_once()


async def test_an_error_of_the_stream_passes_and_leaves_no_timer():
    watch = Watch(10.0)
    with pytest.raises(KeyError):
        async with watch:
            raise KeyError
    assert watch._timer is not None
    assert watch._timer.cancelled()
