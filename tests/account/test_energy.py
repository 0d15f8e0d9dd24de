"""Sharing measured joules, exactly."""

from itertools import pairwise, permutations
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from metabolic.account.energy import (
    Occupancy,
    settle,
)
from metabolic.core.hardware import Origin
from metabolic.core.ports import MeterReading
from metabolic.core.receipt import Window


def _at(
    energy_j: float,
    *,
    busy_s: float | None = None,
    idle_j: float | None = None,
    epoch_id: int = 0,
    origin: Origin = "measured",
    **cpu_s: float,
) -> MeterReading:
    return MeterReading(
        at_s=10.0 + energy_j,
        energy_j=energy_j,
        origin=origin,
        busy_cpu_s=busy_s,
        idle_j=idle_j,
        epoch_id=epoch_id,
        cpu_s=tuple((int(key[1:]), seconds) for key, seconds in cpu_s.items()),
    )


def _call(
    call: str, pid: int | None = 1, seconds: float = 1.0, work: float | None = None
) -> Occupancy:
    return Occupancy(call=call, pid=pid, seconds=seconds, work=work)


def _settle(before: MeterReading, after: MeterReading, *calls: Occupancy) -> Window | None:
    return settle(meter="cpu", before=before, after=after, occupancies=calls, seconds=1.0)


def _shares(window: Window | None) -> dict[str, float]:
    assert window is not None
    return {share.call: share.energy_j for share in window.shares}


def test_one_engine_gets_its_part_of_the_busy_seconds() -> None:
    window = _settle(_at(0.0, busy_s=0.0, p1=0.0), _at(10.0, busy_s=2.0, p1=1.5), _call("r/c0"))
    assert _shares(window) == {"r/c0": 7.5}
    assert window is not None
    assert (window.energy_j, window.unattributed_j) == (10.0, 2.5)
    assert window.shares[0].cpu_s == 1.5
    assert (window.from_s, window.to_s, window.meter) == (10.0, 20.0, "cpu")


def test_idle_energy_is_shared_by_seconds_in_flight_and_said_apart() -> None:
    window = _settle(
        _at(0.0, busy_s=0.0, idle_j=0.0, p1=0.0),
        _at(10.0, busy_s=1.0, idle_j=4.0, p1=1.0),
        _call("a/c0", seconds=0.6, work=0.0),
        _call("b/c0", seconds=0.2, work=5.0),
    )
    assert _shares(window) == pytest.approx({"a/c0": 2.4, "b/c0": 6.8}, abs=1e-5)
    assert window is not None
    assert [share.idle_j for share in window.shares] == pytest.approx([2.4, 0.8], abs=1e-5)
    assert window.unattributed_j == pytest.approx(0.8, abs=1e-5)


def test_idle_energy_while_calls_overlap_is_shared_once() -> None:
    before, after = _at(0.0, idle_j=0.0), _at(8.0, idle_j=8.0)
    calls = (_call("a/c0", pid=None, seconds=0.5), _call("b/c0", pid=None, seconds=0.5))
    window = settle(
        meter="m", before=before, after=after, occupancies=calls, seconds=1.0, in_flight_s=0.5
    )
    assert _shares(window) == {"a/c0": 2.0, "b/c0": 2.0}
    assert window is not None
    assert window.unattributed_j == 4.0


def test_idle_energy_is_not_charged_for_the_time_other_processes_took() -> None:
    window = _settle(
        _at(0.0, busy_s=0.0, idle_j=0.0, p1=0.0),
        _at(10.0, busy_s=4.0, idle_j=4.0, p1=1.0),
        _call("r/c0"),
    )
    assert _shares(window) == {"r/c0": 1.5 + 1.0}


def test_a_gpu_s_joules_follow_the_work_and_not_the_cpu() -> None:
    window = settle(
        meter="gpu0",
        before=_at(0.0, busy_s=0.0, p1=0.0, p2=0.0),
        after=_at(10.0, busy_s=5.0, p1=5.0, p2=0.0),
        occupancies=(_call("a/c0", pid=1, work=1.0), _call("b/c0", pid=2, work=4.0)),
        seconds=1.0,
        by_cpu=False,
    )
    assert _shares(window) == pytest.approx({"a/c0": 2.0, "b/c0": 8.0})


def test_more_idle_energy_than_was_read_is_all_idle() -> None:
    window = _settle(
        _at(0.0, busy_s=0.0, idle_j=0.0, p1=0.0),
        _at(3.0, busy_s=1.0, idle_j=4.0, p1=1.0),
        _call("r/c0"),
    )
    assert _shares(window) == {"r/c0": 3.0}
    assert window is not None
    assert (window.shares[0].idle_j, window.unattributed_j) == (3.0, 0.0)


def test_calls_of_one_engine_share_by_time_and_work() -> None:
    window = _settle(
        _at(0.0, busy_s=0.0, p1=0.0),
        _at(12.0, busy_s=1.0, p1=1.0),
        _call("a/c0", seconds=1.0, work=1.0),
        _call("b/c0", seconds=0.5, work=2.0),
    )
    assert _shares(window) == pytest.approx({"a/c0": 4.0, "b/c0": 8.0})


def test_calls_that_took_no_time_share_equally() -> None:
    window = _settle(
        _at(0.0, busy_s=0.0, p1=0.0),
        _at(8.0, busy_s=1.0, p1=1.0),
        _call("a/c0", seconds=0.0),
        _call("b/c0", seconds=0.0),
    )
    assert _shares(window) == {"a/c0": 4.0, "b/c0": 4.0}


def test_two_engines_share_by_cpu_seconds_however_long_their_calls_were() -> None:
    window = _settle(
        _at(0.0, busy_s=0.0, p1=5.0, p2=7.0),
        _at(8.0, busy_s=2.0, p1=5.5, p2=8.5),
        _call("a/c0", pid=1, seconds=1.0),
        _call("b/c0", pid=2, seconds=0.1),
    )
    assert _shares(window) == {"a/c0": 2.0, "b/c0": 6.0}


def test_an_engine_whose_cpu_is_unknown_counts_as_one_busy_core_while_it_had_calls() -> None:
    window = _settle(
        _at(0.0, busy_s=0.0), _at(10.0, busy_s=2.0), _call("r/c0", pid=None, seconds=0.5)
    )
    assert _shares(window) == {"r/c0": 2.5}
    assert window is not None
    assert window.shares[0].cpu_s is None


def test_an_unknown_engine_gets_no_more_than_the_machine_was_busy() -> None:
    window = _settle(
        _at(0.0, busy_s=0.0, p1=0.0),
        _at(10.0, busy_s=1.0, p1=0.8),
        _call("a/c0", pid=1),
        _call("b/c0", pid=9),
    )
    assert _shares(window) == pytest.approx({"a/c0": 8.0, "b/c0": 2.0}, abs=1e-5)


def test_without_any_cpu_figures_occupancy_takes_all() -> None:
    window = _settle(_at(0.0), _at(6.0), _call("a/c0", pid=None), _call("b/c0", pid=None))
    assert _shares(window) == {"a/c0": 3.0, "b/c0": 3.0}


def test_a_process_number_that_was_given_anew_is_an_unknown_engine() -> None:
    window = _settle(
        _at(0.0, busy_s=0.0, p1=50.0), _at(4.0, busy_s=1.0, p1=0.5), _call("r/c0", seconds=1.0)
    )
    assert window is not None
    assert window.shares[0].cpu_s is None
    assert window.shares[0].energy_j == 4.0


def test_engine_seconds_beyond_the_machine_s_do_not_make_energy() -> None:
    window = _settle(
        _at(0.0, busy_s=0.0, p1=0.0, p2=0.0),
        _at(4.0, busy_s=1.0, p1=1.0, p2=1.0),
        _call("a/c0", pid=1),
        _call("b/c0", pid=2),
    )
    assert _shares(window) == {"a/c0": 2.0, "b/c0": 2.0}


def test_an_idle_machine_charges_nobody() -> None:
    window = _settle(_at(0.0, busy_s=0.0, p1=1.0), _at(5.0, busy_s=0.0, p1=1.0), _call("r/c0"))
    assert window is not None
    assert (window.shares, window.unattributed_j) == ((), 5.0)


def test_nobody_in_flight_leaves_all_unattributed() -> None:
    window = _settle(_at(1.0, busy_s=0.0), _at(5.0, busy_s=1.0))
    assert window is not None
    assert (window.shares, window.unattributed_j, window.energy_j) == ((), 4.0, 4.0)


def test_a_window_of_a_model_says_so_with_its_bounds() -> None:
    before = replace(_at(0.0, origin="modelled"), low_ratio=0.5, high_ratio=2.0)
    window = _settle(before, _at(1.0))
    assert window is not None
    assert (window.origin, window.low_ratio, window.high_ratio) == ("modelled", 0.5, 2.0)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (_at(5.0), _at(4.0)),
        (_at(5.0), _at(9.0, epoch_id=1)),
        (_at(5.0), _at(nan)),
        (_at(5.0), _at(inf)),
    ],
)
def test_a_counter_that_cannot_be_compared_is_a_gap(
    before: MeterReading, after: MeterReading
) -> None:
    assert _settle(before, after, _call("r/c0")) is None


@pytest.mark.parametrize("seconds", [0.0, -1.0, nan])
def test_a_window_without_time_is_a_gap(seconds: float) -> None:
    window = settle(meter="m", before=_at(0.0), after=_at(1.0), occupancies=(), seconds=seconds)
    assert window is None


amounts = st.floats(0.0, 1e5, allow_nan=False)
occupancies = st.lists(
    st.builds(
        Occupancy,
        call=st.uuids().map(str),
        pid=st.sampled_from([None, 1, 2, 3]),
        seconds=st.floats(-0.5, 20.0),
        work=st.none() | st.floats(-1.0, 1e3),
    ),
    max_size=6,
    unique_by=lambda one: one.call,
)


@st.composite
def windows(draw: st.DrawFn) -> tuple[MeterReading, MeterReading, tuple[Occupancy, ...], float]:
    pids = draw(st.sets(st.sampled_from([1, 2, 3])))
    first = {pid: draw(amounts) for pid in pids}
    last = {pid: first[pid] + draw(st.floats(-1.0, 50.0)) for pid in pids}
    start, idle, busy = draw(amounts), draw(st.none() | amounts), draw(st.none() | amounts)
    before = MeterReading(
        at_s=0.0,
        energy_j=start,
        origin="measured",
        busy_cpu_s=busy,
        idle_j=idle,
        cpu_s=tuple(first.items()),
    )
    after = MeterReading(
        at_s=1.0,
        energy_j=start + draw(amounts),
        origin="measured",
        busy_cpu_s=None if busy is None else busy + draw(st.floats(-1.0, 100.0)),
        idle_j=None if idle is None else idle + draw(amounts),
        cpu_s=tuple(last.items()),
    )
    return before, after, tuple(draw(occupancies)), draw(st.floats(0.001, 20.0))


@given(windows())
def test_shares_and_unattributed_are_exactly_what_the_meter_read(
    case: tuple[MeterReading, MeterReading, tuple[Occupancy, ...], float],
) -> None:
    before, after, calls, seconds = case
    window = settle(meter="m", before=before, after=after, occupancies=calls, seconds=seconds)
    assert window is not None
    parts = [share.energy_j for share in window.shares]
    assert sum(parts) + window.unattributed_j == window.energy_j
    assert all(part >= 0 for part in parts)
    assert window.unattributed_j >= 0
    assert window.energy_j == pytest.approx(after.energy_j - before.energy_j, abs=2e-6)
    for order in list(permutations([*parts, window.unattributed_j]))[:24]:
        assert sum(order) == window.energy_j


@given(windows())
def test_cpu_seconds_are_shared_out_whole(
    case: tuple[MeterReading, MeterReading, tuple[Occupancy, ...], float],
) -> None:
    before, after, calls, seconds = case
    window = settle(meter="m", before=before, after=after, occupancies=calls, seconds=seconds)
    assert window is not None
    spent = {pid: dict(after.cpu_s)[pid] - first for pid, first in before.cpu_s}
    used = {one.pid for one in calls}
    expected = sum(s for pid, s in spent.items() if pid in used and s >= 0)
    if window.shares:
        found = sum(share.cpu_s for share in window.shares if share.cpu_s is not None)
        assert found == pytest.approx(expected, abs=1e-6)


@given(st.lists(amounts, min_size=2, max_size=20))
def test_windows_that_follow_each_other_add_up_to_the_counter(steps: list[float]) -> None:
    counter, readings = 0.0, list[MeterReading]()
    for step in steps:
        counter += step
        readings.append(MeterReading(at_s=0.0, energy_j=counter, origin="measured"))
    found = [_settle(a, b) for a, b in pairwise(readings)]
    whole = _settle(readings[0], readings[-1])
    assert whole is not None
    assert sum(one.energy_j for one in found if one is not None) == whole.energy_j
