"""Health pages asked in the background, and the circuits they open and close."""

import asyncio

from metabolic import plugins
from metabolic.core.fleet import Endpoint
from metabolic.execute.clock import ManualClock
from metabolic.execute.health import Health
from metabolic.execute.probes import Probes, Target
from metabolic.execute.scrape import fetch
from metabolic.testing.fakeengines import FakeEngine

HERE = Target(deployment="a", url="http://x/health")


class Page:
    """A health page that can be switched off."""

    def __init__(self) -> None:
        self.well, self.urls = True, []

    async def fetch(self, url, api_key):
        self.urls.append((url, api_key))
        return b"" if self.well else None


def probing(*targets, spared=()):
    clock, page = ManualClock(), Page()
    health = Health(clock)
    probes = Probes(
        targets,
        health=health,
        clock=clock,
        fetch=page.fetch,
        spared=lambda name: name in spared,
        period_s=5.0,
    )
    return probes, page, health


def once(probes, times=1):
    for _ in range(times):
        asyncio.run(probes.once())


def test_two_misses_in_a_row_open_a_circuit_and_one_answer_closes_it():
    probes, page, health = probing(HERE)
    once(probes)
    page.well = False
    once(probes)
    assert health.ok("a") is None, "one miss says nothing"
    once(probes)
    assert health.ok("a") is False
    page.well = True
    once(probes)
    assert (health.ok("a"), health.open()) == (None, ())
    assert (probes.asked, probes.missed) == (4, 2)


def test_an_answer_between_two_misses_forgets_the_first():
    probes, page, health = probing(HERE)
    once(probes)
    for well in (False, True, False):
        page.well = well
        once(probes)
    assert health.ok("a") is None


def test_a_page_that_never_answered_is_none_and_holds_nothing_against_anybody():
    probes, page, health = probing(HERE)
    page.well = False
    once(probes, 5)
    assert health.ok("a") is None


def test_a_call_that_could_not_reach_it_is_made_good_by_a_probe_that_can():
    probes, _, health = probing(HERE)
    health.failed("a")
    once(probes)
    assert health.ok("a") is None


def test_what_the_upstream_said_itself_and_answers_of_5xx_stand():
    probes, _, health = probing(HERE, Target(deployment="b", url="http://y/health"))
    health.busy("a", retry_after_s=30.0)
    for _ in range(3):
        health.faulty("b")
    once(probes)
    assert (health.ok("a"), health.ok("b")) == (False, False)


def test_who_sleeps_or_works_is_left_in_peace():
    probes, page, _ = probing(HERE, spared={"a"})
    once(probes)
    assert page.urls == []


def test_a_miss_while_a_call_came_in_is_none():
    spared: set[str] = set()
    probes, _, health = probing(HERE, spared=spared)
    once(probes)

    async def slow(url, api_key):
        spared.add("a")

    probes._fetch = slow
    for _ in range(3):
        once(probes)
        spared.clear()
    assert health.ok("a") is None


def test_the_page_is_the_engine_s_and_counts_from_the_origin():
    endpoint = Endpoint(deployment="d", base_url="http://h:8000/v1", model="m", api_key="k")
    target = Target.of(endpoint, plugins.traits("ollama"))
    assert target is not None
    assert (target.url, target.api_key) == ("http://h:8000/api/version", "k")
    assert Target.of(endpoint, plugins.traits("anthropic")) is None, "it has no such page"


async def of_a_fake() -> list[bool | None]:
    health, said = Health(ManualClock()), []
    async with FakeEngine("vllm") as engine:
        endpoint = Endpoint(deployment="d", base_url=engine.base_url, model="fake", engine="vllm")
        target = Target.of(endpoint, engine.traits)
        assert target is not None
        probes = Probes(
            [target],
            health=health,
            clock=ManualClock(),
            fetch=fetch,
            spared=lambda _: False,
            period_s=1.0,
        )
        for healthy in (True, False, False, True):
            engine.healthy = healthy
            await probes.once()
            said.append(health.ok("d"))
    return said


def test_a_real_page_that_turns_503_and_back():
    assert asyncio.run(of_a_fake()) == [None, None, False, None]
