"""Loads and days, as the benchmark says it."""

import pytest

from metabolic.bench import load_day, load_steady
from metabolic.bench.load import Options, run
from metabolic.bench.load_engine import Engine, Job
from metabolic.bench.load_world import World, day, steady


def engine(**changes):
    from msgspec.structs import replace  # noqa: PLC0415 - one test's helper

    world = World()
    return world, Engine(
        "e", replace(load_steady.FAST, **changes), now=world.now_s, after=world.after
    )


def test_a_lone_answer_takes_its_steps_and_its_prompt():
    world, one = engine(context_s=0.0)
    ended = []
    one.submit(Job(0, 100, 10, lambda job: ended.append(job.ended_s)))
    world.run(10.0)
    kind = one.kind
    assert ended == [pytest.approx(10 * (kind.base_s + kind.each_s) + 100 * kind.prompt_s)]


def test_answers_that_outgrow_the_cache_are_set_aside_and_end_all_the_same():
    world, one = engine(cache_tokens=640)
    ended = []
    for key in range(6):
        one.submit(Job(key, 64, 200, lambda job: ended.append(job.key)))
    world.run(60.0)
    assert sorted(ended) == list(range(6))
    assert one.preemptions > 0


def test_one_that_could_never_fit_is_refused():
    world, one = engine(cache_tokens=100)
    ended = []
    one.submit(Job(0, 200, 10, lambda job: ended.append(job.ended_s)))
    world.run(1.0)
    assert (ended, one.refused) == ([None], 1)


def test_a_sleeping_engine_draws_less_and_must_wake_first():
    world = World()
    kind = load_steady.FAST
    one = Engine("e", kind, now=world.now_s, after=world.after, awake=False)
    world.run(10.0)
    assert one.joules() == pytest.approx(10 * kind.asleep_w)
    first = []
    one.submit(Job(0, 10, 1, lambda job: first.append(job.ended_s)))
    world.run(60.0)
    assert first[0] > 10.0 + kind.wake_s
    assert one.wakes == 1


def test_asks_are_the_same_for_the_same_seed_and_follow_the_day():
    assert steady(clients=3, seconds=60, per_client_s=5, seed=1) == steady(
        clients=3, seconds=60, per_client_s=5, seed=1
    )
    asks = day(seconds=1000, least_rps=0.1, most_rps=4.0, seed=2)
    middle = sum(400 < one.at_s < 600 for one in asks)
    assert middle > 3 * sum(one.at_s < 200 for one in asks)


def test_under_load_we_answer_more_in_time_and_push_no_engine():
    items = steady(clients=64, seconds=60, per_client_s=6.0, seed=9)
    ours = load_steady.play("metabolic", items, seconds=60, seed=9)
    theirs = load_steady.play("round_robin", items, seconds=60, seed=9)
    assert (ours.preemptions, ours.refused) == (0, 0)
    assert theirs.preemptions > 0
    assert sum(one.good() for one in ours.done) > sum(one.good() for one in theirs.done)
    assert [one.item.key for one in ours.done] == [one.item.key for one in theirs.done]


def test_a_quiet_day_draws_no_more_than_always_large_with_the_same_sleep():
    items = day(seconds=300, least_rps=0.1, most_rps=0.6, seed=9)
    runs = {
        kind: load_day.play(kind, items, seconds=300, seed=9)
        for kind in ("always_on", "always_large", "metabolic")
    }
    assert runs["metabolic"].joules <= 1.01 * runs["always_large"].joules
    assert runs["always_large"].joules < 0.8 * runs["always_on"].joules


def test_the_whole_report_has_the_figures_and_rows_of_the_contract():
    report = run(Options(quick=True))
    assert {
        "goodput_ratio_to_best_baseline",
        "preemptions",
        "rss_slope_mb_per_100k",
    } <= report.figures.keys()
    assert report.figures["preemptions"].value == 0
    for row in report.rows:
        assert {"policy", "goodput", "p50_ms", "p99_ms"} <= row.keys()
    assert {row["policy"] for row in report.rows} == {
        "metabolic",
        "round_robin",
        "least_busy",
        "latency_weighted",
        "always_on",
        "always_large",
    }
