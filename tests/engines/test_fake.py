"""The fake engine keeps the contract, and does what it is told."""

import asyncio

import msgspec
import pytest

from metabolic.core.errors import EngineError
from metabolic.core.fleet import Endpoint, LaunchSpec
from metabolic.engines.fake import Fake, Options, create
from metabolic.testing.engines import check_engine

pytestmark = pytest.mark.anyio

SPEC = LaunchSpec(deployment="fake", model_path="")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_it_keeps_the_contract_of_engines() -> None:
    await check_engine(lambda: create(Options(), spec=SPEC))


async def test_it_fails_as_often_as_it_is_told() -> None:
    fake = create(Options(fail_starts=2, load_s=3.0), spec=SPEC)
    for _ in range(2):
        with pytest.raises(EngineError, match="as told"):
            await fake.start()
        assert fake.state == "failed"
    await fake.start()
    assert (fake.state, fake.starts, fake.load_s, fake.pid) == ("warm", 3, 3.0, None)


async def test_a_crash_is_seen_by_who_waits_for_the_end() -> None:
    fake = create(Options(), spec=SPEC)
    await fake.start()
    ended = asyncio.create_task(fake.ended())
    await asyncio.sleep(0)
    assert not ended.done()
    fake.crash("died")
    await ended
    assert (fake.state, fake.reason, fake.endpoint) == ("failed", "fake died", None)


class Leaky(Fake):
    """An engine that stays warm when put to sleep."""

    async def sleep(self) -> None:
        """Do nothing."""


class Forgetful(Fake):
    """An engine whose endpoint belongs to somebody else."""

    @property
    def endpoint(self) -> Endpoint | None:
        """Return an endpoint under another name."""
        own = super().endpoint
        return None if own is None else msgspec.structs.replace(own, deployment="other")


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [(Leaky, "after sleep its state must be asleep"), (Forgetful, "must name its deployment")],
)
async def test_the_suite_catches_an_engine_that_breaks_the_contract(
    broken: type[Fake], complaint: str
) -> None:
    with pytest.raises(AssertionError, match=complaint):
        await check_engine(lambda: broken(Options(), SPEC))
