"""Engines asked how busy they are: their pages, ages and rates."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic import plugins
from metabolic.core.engine import MetricNames
from metabolic.core.fleet import Endpoint, Load
from metabolic.execute.clock import ManualClock
from metabolic.execute.health import Health
from metabolic.execute.scrape import Scraper, Seen, Target, fetch, heard
from metabolic.execute.scrape_read import Observed, loads, metrics, ollama, slots
from metabolic.execute.snapshot import Snapshot
from metabolic.testing.fakeengines import FakeEngine
from metabolic.testing.fleets import deployment, fleet_of

VLLM = """# HELP vllm:num_requests_running Number of requests in model execution batches.
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 4.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.75
vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="1000"} 1.0
vllm:num_preemptions_total{engine="0",model_name="m"} 7.0
vllm:prefix_cache_queries_total{engine="0"} 100.0
vllm:prefix_cache_hits_total{engine="0"} 40.0
"""
SLEEPING = """vllm:engine_sleep_state{sleep_state="awake"} 0.0
vllm:engine_sleep_state{sleep_state="weights_offloaded"} 1.0
"""
SGLANG = """sglang:num_running_reqs{model_name="m"} 5
sglang:num_queue_reqs{model_name="m"} 1
sglang:token_usage{model_name="m"} 0.4
sglang:max_total_num_tokens{model_name="m"} 9000
sglang:cache_hit_rate{model_name="m"} 0.2
"""
LLAMACPP = "llamacpp:requests_processing 1\nllamacpp:requests_deferred 2\n"
SLOTS = b"""[{"id":0,"n_ctx":1000,"is_processing":true,"n_prompt_tokens":300,
"next_token":[{"n_decoded":100}]},{"id":1,"n_ctx":1000,"is_processing":false,"n_past":900}]"""


def test_vllm_replicas_are_added_up_and_blocks_counted_in_tokens():
    seen = metrics(VLLM)
    assert seen is not None
    assert (seen.engine, seen.running, seen.waiting) == ("vllm", 5, 4)
    assert seen.kv_used_ratio == pytest.approx(0.5)
    assert seen.kv_capacity_tokens == 16_000
    assert (seen.preemptions, seen.prefix_hits) == (7.0, 40.0)
    assert seen.asleep is None


def test_vllm_asleep_is_told_by_the_state_that_is_not_awake():
    sleeping, awake = metrics(SLEEPING), metrics(SLEEPING.replace("} 0.0", "} 1.0"))
    assert sleeping is not None
    assert awake is not None
    assert (sleeping.asleep, awake.asleep) == (True, False)


def test_sglang_tells_usage_capacity_and_hits():
    seen = metrics(SGLANG)
    assert seen is not None
    assert (seen.running, seen.waiting, seen.kv_capacity_tokens) == (5, 1, 9000)
    assert (seen.kv_used_ratio, seen.hit_ratio) == (0.4, 0.2)


def test_names_of_the_engine_s_traits_come_first():
    page = LLAMACPP + "llamacpp:n_drafted_total 5\nllamacpp:spec_decode_num_draft_tokens_total 9\n"
    own = metrics(
        page.replace("spec_decode_num_draft_tokens", "mine"), MetricNames(running="llamacpp:n")
    )
    named = metrics(page, MetricNames(draft_tokens="llamacpp:requests_deferred"))
    assert own is not None
    assert named is not None
    assert (own.running, own.drafted) == (1, 5.0), "what is not there falls back"
    assert (named.drafted, named.running) == (2.0, 1)


@pytest.mark.parametrize("name", ["vllm", "sglang", "llamacpp", "tgi", "tensorrt-llm"])
def test_a_target_asks_the_page_of_its_engine_by_its_names(name: str):
    traits = plugins.traits(name)
    endpoint = Endpoint(deployment="d", base_url="http://x/v1", model="m", engine=name)
    target = Target.of(endpoint, traits)
    assert (target.path, target.names) == (traits.metrics_path, traits.metrics)
    assert (Target.of(endpoint).path, Target.of(endpoint).names) == ("/metrics", None)


def test_sglang_loads_are_those_of_all_ranks():
    body = b"""{"loads":[{"num_running_reqs":2,"num_waiting_reqs":1,"token_usage":0.5,
    "max_total_num_tokens":100},{"num_running_reqs":3,"token_usage":0.7}]}"""
    seen = loads(body)
    assert seen is not None
    assert (seen.running, seen.waiting, seen.kv_capacity_tokens) == (5, 1, 100)
    assert seen.kv_used_ratio == pytest.approx(0.6)


def test_llamacpp_has_its_cache_share_from_busy_slots_only():
    seen = slots(SLOTS)
    assert seen is not None
    assert (seen.running, seen.kv_capacity_tokens) == (1, 2000)
    assert seen.kv_used_ratio == pytest.approx(0.2)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"error":{"code":501}}'])
def test_pages_that_are_something_else_say_nothing(body):
    assert slots(body) is None
    assert loads(body) is None


def test_an_ollama_model_that_is_not_in_memory_is_asleep():
    body = b'{"models":[{"name":"a:latest","model":"a:latest","context_length":4096}]}'
    warm, cold = ollama(body, "a"), ollama(body, "b")
    assert warm is not None
    assert cold is not None
    assert (warm.asleep, warm.kv_capacity_tokens, cold.asleep) == (False, 4096, True)


def test_metrics_of_no_known_engine_say_nothing():
    assert metrics("node_load1 0.5\n") is None
    assert metrics("# vllm: is not here\n") is None


@given(st.text(max_size=200))
def test_any_text_is_read_without_a_fault(text):
    metrics("vllm:" + text)
    metrics("sglang:num_running_reqs " + text)
    slots(text.encode())


class Pages:
    """Answers for addresses; counts what was asked."""

    def __init__(self, **pages: str | bytes) -> None:
        self.pages = {f"http://e/{name}": text for name, text in pages.items()}
        self.asked: list[str] = []

    async def fetch(self, url: str, api_key: str | None) -> bytes | None:
        self.asked.append(url)
        page = self.pages.get(url)
        return page.encode() if isinstance(page, str) else page


def scraper(pages, clock, heard_, *, in_flight=0):
    target = Target.of(Endpoint(deployment="a", base_url="http://e/v1", model="m"))
    return Scraper(
        lambda: [target],
        clock=clock,
        fetch=pages.fetch,
        in_flight=lambda _: in_flight,
        heard=lambda name, seen: heard_.append((name, seen)),
    )


def test_rates_are_differences_and_a_counter_that_fell_begins_anew():
    clock, said = ManualClock(), []
    pages = Pages(metrics=VLLM)
    asking = scraper(pages, clock, said, in_flight=2)

    async def play() -> None:
        await asking.once()
        await clock.advance(2.0)
        pages.pages["http://e/metrics"] = (
            VLLM.replace('_total{engine="0",model_name="m"} 7.0', '_total{engine="0"} 11.0')
            .replace('queries_total{engine="0"} 100.0', 'queries_total{engine="0"} 200.0')
            .replace('hits_total{engine="0"} 40.0', 'hits_total{engine="0"} 115.0')
        )
        await asking.once()
        await clock.advance(1.0)
        pages.pages["http://e/metrics"] = VLLM
        await asking.once()

    asyncio.run(play())
    first, second, third = (seen for _, seen in said)
    assert (first.preemptions_per_s, first.prefix_hit_ratio, first.others) == (None, None, 7)
    assert (second.preemptions_per_s, second.prefix_hit_ratio) == (2.0, 0.75)
    assert (third.preemptions_per_s, third.prefix_hit_ratio) == (None, None)


def test_a_known_engine_is_asked_for_its_pages_only_and_an_unknown_one_seldom():
    clock, said = ManualClock(), []
    known, unknown = Pages(metrics=LLAMACPP, slots=SLOTS), Pages()
    ours, theirs = scraper(known, clock, said), scraper(unknown, clock, [])

    async def play() -> None:
        for _ in range(3):
            await ours.once()
            await theirs.once()
            await clock.advance(1.0)

    asyncio.run(play())
    assert known.asked[-2:] == ["http://e/metrics", "http://e/slots"]
    assert len(unknown.asked) == 4
    assert said[-1][1].observed.kv_capacity_tokens == 2000
    assert said[-1][1].observed.waiting == 2


def test_what_is_stale_is_unknown_and_never_zero():
    observed = Observed(engine="vllm", running=5, kv_used_ratio=0.9)
    seen = Seen(at_s=10.0, stale_s=3.0, observed=observed, others=4)
    load = Load(deployment="a", running=1)
    fresh = heard(load, seen, now_s=12.0, slots=3)
    assert (fresh.running, fresh.waiting, fresh.kv_used_ratio, fresh.age_s) == (3, 2, 0.9, 2.0)
    assert heard(load, seen, now_s=13.5, slots=3) is load


def test_a_snapshot_tells_what_engines_said_until_it_is_stale():
    clock = ManualClock()
    snapshot = Snapshot(
        fleet_of(deployment("a"), deployment("b")),
        clock=clock,
        health=Health(clock),
        states=lambda: (("a", "warm"), ("b", "warm")),
    )
    seen = Seen(
        at_s=clock.monotonic_s(),
        stale_s=3.0,
        observed=Observed(engine="vllm", asleep=True, kv_used_ratio=0.333),
    )
    snapshot.hear("a", seen)
    one, other = snapshot.loads()
    assert (one.state, one.kv_used_ratio, other.state) == ("asleep", 0.33, "warm")
    asyncio.run(clock.advance(4.0))
    assert snapshot.loads()[0].kv_used_ratio is None


async def once(name: str) -> tuple[Scraper, list[tuple[str, Seen]]]:
    heard_of: list[tuple[str, Seen]] = []
    async with FakeEngine(name) as engine:
        endpoint = Endpoint(deployment="d", base_url=engine.base_url, model="fake", engine=name)
        scraper = Scraper(
            lambda: [Target.of(endpoint, plugins.traits(name))],
            clock=ManualClock(),
            fetch=fetch,
            in_flight=lambda _: 0,
            heard=lambda deployment, seen: heard_of.append((deployment, seen)),
        )
        await scraper.once()
    return scraper, heard_of


@pytest.mark.parametrize("name", ["vllm", "sglang", "llamacpp", "tgi", "tensorrt-llm", "ollama"])
def test_each_fake_engine_is_heard_by_its_own_pages(name: str):
    scraper, heard_of = asyncio.run(once(name))
    [(deployment, seen)] = heard_of
    said = seen.observed
    assert (deployment, scraper.failures) == ("d", 0)
    if name == "tensorrt-llm":
        assert said.running is None, "its page tells times only: unknown, not zero"
    else:
        assert (said.running if name != "ollama" else said.asleep) is not None
