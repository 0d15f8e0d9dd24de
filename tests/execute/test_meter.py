"""Windows closed, calls charged, requests settled."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabolic.core.receipt import Settlement, Window
from metabolic.execute.clock import ManualClock
from metabolic.execute.meter import EnergyMeter, Options
from metabolic.plugins import meter as make_meter
from metabolic.sense.fake_meter import FakeMeter
from metabolic.sense.fake_meter import Options as FakeOptions
from metabolic.sense.fake_meter import create as make_fake


class _Bench:
    """A meter, a clock and a list of settlements."""

    def __init__(self, options: Options | None = None) -> None:
        self.clock = ManualClock(1_000.0)
        self.fake: FakeMeter = make_fake(FakeOptions())
        self.settled: list[Settlement] = []
        self.windows: list[Window] = []
        self.meter = EnergyMeter(
            self.fake,
            clock=self.clock,
            settled=self.settled.append,
            closed=self.windows.append,
            options=options,
        )
        self.meter.start()

    def wait(self, seconds: float) -> None:
        asyncio.run(self.clock.advance(seconds))

    def window(self, seconds: float, energy_j: float, **cpu_s: float) -> Window | None:
        """Let time pass and energy flow, then close the window."""
        self.wait(seconds)
        self.fake.spend(energy_j, **cpu_s)
        return self.meter.close_window()

    def charged(self) -> dict[str, dict[str, float]]:
        return {one.id: {s.call: s.energy_j for s in one.shares} for one in self.settled}


@pytest.fixture
def bench() -> _Bench:
    return _Bench()


def test_a_request_is_settled_when_the_window_of_its_last_call_has_closed(bench: _Bench) -> None:
    bench.meter.watch(7)
    bench.meter.began("r1/c0", 7)
    bench.window(1.0, 10.0, p7=0.5, other_cpu_s=0.5)
    bench.wait(0.5)
    bench.meter.ended("r1/c0")
    assert bench.meter.finished("r1") is True
    assert bench.settled == []
    bench.window(0.5, 8.0, p7=0.5)
    (settlement,) = bench.settled
    assert settlement.id == "r1"
    assert (settlement.origin, settlement.meter) == ("measured", "cpu")
    assert [(s.call, s.energy_j, s.cpu_s) for s in settlement.shares] == [("r1/c0", 13.0, 1.0)]
    assert bench.meter.totals.settled == 1


def test_calls_of_a_cascade_are_settled_together(bench: _Bench) -> None:
    bench.meter.began("r1/c0", 7)
    bench.wait(1.0)
    bench.meter.ended("r1/c0")
    bench.window(0.0, 4.0, p7=1.0)
    bench.meter.began("r1/c1", 8)
    bench.wait(0.5)
    bench.meter.ended("r1/c1")
    bench.meter.finished("r1")
    bench.window(0.5, 6.0, p8=1.0)
    assert bench.charged() == {"r1": {"r1/c0": 4.0, "r1/c1": 6.0}}


def test_a_request_nobody_finished_is_settled_after_it_has_been_quiet(bench: _Bench) -> None:
    bench.meter.began("r1/c0", 7)
    bench.wait(0.5)
    bench.meter.ended("r1/c0")
    bench.window(0.5, 4.0, p7=1.0)
    bench.window(1.0, 1.0)
    assert bench.settled == []
    bench.window(1.0, 1.0)
    assert bench.charged() == {"r1": {"r1/c0": 4.0}}
    bench.window(1.0, 1.0)
    assert len(bench.settled) == 1


def test_a_call_after_the_settlement_is_settled_again_with_all(bench: _Bench) -> None:
    bench.meter.began("r1/c0", 7)
    bench.meter.ended("r1/c0")
    bench.window(1.0, 4.0, p7=1.0)
    bench.window(2.0, 0.0)
    assert bench.charged() == {"r1": {"r1/c0": 4.0}}
    bench.meter.began("r1/c1", 7)
    bench.wait(0.1)
    bench.meter.ended("r1/c1")
    bench.meter.finished("r1")
    bench.window(0.9, 2.0, p7=0.5)
    assert bench.charged() == {"r1": {"r1/c0": 4.0, "r1/c1": 2.0}}
    assert len(bench.settled) == 2


def test_a_settled_request_is_forgotten_in_time() -> None:
    bench = _Bench(Options(linger_s=1.0, forget_s=3.0))
    bench.meter.began("r1/c0", 7)
    bench.meter.ended("r1/c0")
    for _ in range(6):
        bench.window(1.0, 1.0, p7=1.0)
    assert bench.meter.accounts.open == {}
    assert len(bench.settled) == 1


def test_a_request_without_local_calls_is_never_waited_for(bench: _Bench) -> None:
    assert bench.meter.finished("remote") is False
    bench.meter.ended("remote/c0")
    bench.window(1.0, 5.0)
    assert bench.settled == []
    assert bench.meter.totals.unattributed_j == 5.0


def test_a_lost_reading_only_makes_the_window_longer(bench: _Bench) -> None:
    bench.meter.watch(7)
    bench.meter.began("r1/c0", 7)
    bench.fake.lost = True
    assert bench.window(1.0, 3.0, p7=1.0) is None
    bench.fake.lost = False
    bench.meter.ended("r1/c0")
    bench.meter.finished("r1")
    window = bench.window(1.0, 3.0, p7=1.0)
    assert window is not None
    assert window.energy_j == 6.0
    assert bench.charged() == {"r1": {"r1/c0": 6.0}}
    assert bench.meter.totals.lost_readings == 1
    assert bench.meter.totals.gaps == 0


def test_a_reset_counter_is_a_gap_and_settles_nobody_who_was_in_it(bench: _Bench) -> None:
    bench.meter.began("r1/c0", 7)
    bench.meter.began("r2/c0", 7)
    bench.window(1.0, 3.0, p7=1.0)
    bench.meter.ended("r1/c0")
    bench.fake.reset()
    assert bench.window(1.0, 9.0, p7=1.0) is None
    assert bench.meter.finished("r1") is False
    bench.meter.ended("r2/c0")
    bench.meter.finished("r2")
    bench.meter.began("r3/c0", 7)
    bench.meter.ended("r3/c0")
    bench.meter.finished("r3")
    bench.window(1.0, 2.0, p7=1.0)
    assert list(bench.charged()) == ["r3"]
    totals = bench.meter.totals
    assert (totals.gaps, totals.unsettled, totals.settled) == (1, 2, 1)
    assert totals.energy_j == 5.0


def test_a_meter_that_stays_lost_becomes_a_gap() -> None:
    bench = _Bench(Options(longest_s=3.0))
    bench.meter.began("r1/c0", 7)
    bench.meter.ended("r1/c0")
    bench.meter.finished("r1")
    bench.fake.lost = True
    for _ in range(5):
        bench.window(1.0, 1.0)
    totals = bench.meter.totals
    assert (totals.gaps, totals.unsettled, totals.lost_readings) == (1, 1, 5)
    bench.fake.lost = False
    assert bench.window(1.0, 1.0) is None
    assert bench.window(1.0, 1.0) is not None
    assert bench.meter.totals.energy_j == 1.0


def test_a_window_grown_too_long_is_a_gap(bench: _Bench) -> None:
    bench.meter.began("r1/c0", 7)
    assert bench.window(3_600.0, 50.0, p7=1.0) is None
    assert bench.meter.totals.gaps == 1


def test_an_engine_seen_for_the_first_time_is_charged_from_then_on(bench: _Bench) -> None:
    bench.fake.spend(100.0, p7=50.0)
    bench.window(1.0, 0.0)
    bench.meter.began("r1/c0", 7)
    bench.meter.ended("r1/c0")
    bench.meter.finished("r1")
    bench.window(1.0, 10.0, p7=1.0, other_cpu_s=1.0)
    assert bench.charged() == {"r1": {"r1/c0": 5.0}}


def test_a_process_that_is_gone_is_no_longer_asked_for(bench: _Bench) -> None:
    bench.meter.watch(7)
    bench.meter.watch(8)
    bench.fake.gone.add(8)
    bench.window(1.0, 1.0)
    assert set(bench.meter._pids) == {7}


def test_the_same_call_counts_once(bench: _Bench) -> None:
    bench.meter.began("r1/c0", 7)
    bench.meter.began("r1/c0", 7)
    assert bench.meter.in_flight == 1
    bench.meter.ended("r1/c0")
    bench.meter.ended("r1/c0")
    assert bench.meter.in_flight == 0


def test_flush_settles_what_is_open_and_close_closes(bench: _Bench) -> None:
    bench.meter.began("r1/c0", 7)
    bench.wait(0.5)
    bench.fake.spend(5.0, p7=0.5)
    bench.meter.close()
    assert bench.charged() == {"r1": {"r1/c0": 5.0}}
    assert bench.fake.closed


def test_flush_with_a_lost_meter_lets_go(bench: _Bench) -> None:
    bench.meter.began("r1/c0", 7)
    bench.wait(0.5)
    bench.fake.lost = True
    bench.meter.flush()
    assert bench.settled == []
    assert bench.meter.totals.unsettled == 1


def test_a_meter_lost_at_the_start_begins_when_it_reads() -> None:
    bench = _Bench()
    bench.fake.lost = True
    bench.meter.start()
    bench.fake.lost = False
    assert bench.window(1.0, 1.0) is None
    window = bench.window(1.0, 2.0)
    assert window is not None
    assert window.energy_j == 2.0


def test_counters_are_given_by_name(bench: _Bench) -> None:
    bench.window(1.0, 5.0)
    counters = dict(bench.meter.counters())
    assert counters["energy_j"] == counters["unattributed_j"] == 5.0
    assert counters["windows"] == 1.0
    assert len(bench.windows) == 1


@pytest.mark.anyio
async def test_windows_are_closed_every_second_until_cancelled() -> None:
    clock = ManualClock(0.0)
    fake = make_fake(FakeOptions(step_j=2.0))
    meter = EnergyMeter(fake, clock=clock, settled=lambda _: None)
    task = asyncio.create_task(meter.run())
    await asyncio.sleep(0)
    await clock.advance(3.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert meter.totals.windows == 3
    assert meter.totals.energy_j == 6.0


step = st.tuples(
    st.sampled_from(["began", "ended", "finished", "window", "lost", "reset", "spend"]),
    st.integers(0, 3),
    st.integers(0, 2),
    st.floats(0.0, 20.0),
)


@settings(max_examples=200)
@given(st.lists(step, max_size=60))
def test_whatever_happens_every_joule_is_somebody_s_or_nobody_s(
    steps: list[tuple[str, int, int, float]],
) -> None:
    clock = ManualClock(0.0)
    fake = make_fake(FakeOptions())
    settled: list[Settlement] = []
    windows: list[Window] = []
    meter = EnergyMeter(fake, clock=clock, settled=settled.append, closed=windows.append)
    meter.start()
    for what, request, call, amount in steps:
        call_id = f"r{request}/c{call}"
        match what:
            case "began":
                meter.began(call_id, call)
            case "ended":
                meter.ended(call_id)
            case "finished":
                meter.finished(f"r{request}")
            case "spend":
                fake.spend(amount, idle_j=amount / 3, other_cpu_s=0.1, p0=amount / 9, p1=0.5)
            case "reset":
                fake.reset()
            case _:
                fake.lost = what == "lost"
                clock._at_s += amount
                meter.close_window()
    fake.lost = False
    clock._at_s += 1.0
    meter.flush()
    totals = meter.totals
    assert totals.energy_j == totals.attributed_j + totals.unattributed_j
    assert totals.energy_j == sum(window.energy_j for window in windows)
    shared = {
        (share.call, window.from_s): share.energy_j for window in windows for share in window.shares
    }
    assert sum(shared.values()) <= totals.attributed_j
    assert meter.accounts.open == {}
    assert meter.in_flight == 0
    assert len(settled) == totals.settled
    for settlement in settled:
        calls = [share.call for share in settlement.shares]
        assert len(calls) == len(set(calls))
        assert all(call.startswith(f"{settlement.id}/") for call in calls)


def test_the_request_path_reads_no_meter() -> None:
    bench = _Bench()
    bench.meter.watch(7)
    reads = bench.fake.reads
    for number in range(100):
        bench.meter.began(f"{number}/c0", 7)
        bench.meter.ended(f"{number}/c0")
        bench.meter.finished(str(number))
    assert bench.fake.reads == reads
    bench.window(1.0, 1.0, p7=1.0)
    assert bench.fake.reads == reads + 1
    assert len(bench.settled) == 100


def test_this_machine_s_own_meter_settles_a_call() -> None:
    settled: list[Settlement] = []
    clock = ManualClock(0.0)
    meter = EnergyMeter(make_meter("rapl"), clock=clock, settled=settled.append)
    meter.start()
    meter.began("r/c0", None)
    asyncio.run(clock.advance(1.0))
    meter.ended("r/c0")
    meter.finished("r")
    meter.close()
    assert [one.id for one in settled] == ["r"]
    assert meter.totals.energy_j >= 0
