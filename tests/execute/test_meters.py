"""Several meters at once: one charges a call, none is counted twice, one settlement."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabolic.core.fleet import Deployment, Model
from metabolic.core.receipt import Settlement, Window
from metabolic.core.request import Usage
from metabolic.execute.clock import ManualClock
from metabolic.execute.meters import Meters, Source
from metabolic.sense.fake_meter import FakeMeter, Options, create

MODEL = Model(id="m", tier="small", active_parameters=1_000_000_000)
FLEET = {
    "on-cpu": Deployment(
        name="on-cpu",
        model=MODEL,
        kind="local",
        device="cpu",
        prefill_tokens_per_s=100.0,
        decode_tokens_per_s=25.0,
        active_w=4.0,
    ),
    "on-gpu": Deployment(name="on-gpu", model=MODEL, kind="pool", device="nvidia0"),
    "cloud": Deployment(name="cloud", model=MODEL),
}


class _Room:
    """A processor, a GPU and the node around both, with a clock."""

    def __init__(self) -> None:
        self.clock = ManualClock(100.0)
        self.cpu: FakeMeter = create(Options())
        self.gpu: FakeMeter = create(Options(name="nvidia0", domain="gpu"))
        self.node: FakeMeter = create(Options(name="node", domain="node"))
        self.settled: list[Settlement] = []
        self.windows: list[Window] = []
        self.meters = Meters(
            [Source(meter=self.node), Source(meter=self.gpu), Source(meter=self.cpu)],
            clock=self.clock,
            settled=self.settled.append,
            closed=self.windows.append,
            fleet=FLEET,
        )
        self.meters.start()

    def window(self, cpu_j: float, gpu_j: float, node_j: float, seconds: float = 1.0) -> None:
        """Let time pass and energy flow, then close every window."""
        asyncio.run(self.clock.advance(seconds))
        self.cpu.spend(cpu_j, p7=seconds)
        self.gpu.spend(gpu_j)
        self.node.spend(node_j)
        for meter in self.meters._meters:
            meter.close_window()

    def counters(self) -> dict[str, float]:
        return dict(self.meters.counters())


def test_each_call_is_charged_by_the_meter_of_its_device() -> None:
    room = _Room()
    room.meters.began("r/c0", 7, "on-cpu")
    room.meters.began("r/c1", None, "on-gpu")
    room.meters.began("r/c2", None, "cloud")
    room.window(10.0, 90.0, 150.0)
    room.meters.ended("r/c0")
    room.meters.ended("r/c1")
    room.meters.ended("r/c2")
    room.meters.finished("r")
    room.window(0.0, 0.0, 40.0)
    (settlement,) = room.settled
    charged = {share.call: (share.energy_j, share.meter) for share in settlement.shares}
    assert charged == {"r/c0": (10.0, "cpu"), "r/c1": (90.0, "nvidia0")}
    assert settlement.meter == "cpu+nvidia0"


def test_the_node_is_not_added_and_its_rest_is_shown_apart() -> None:
    room = _Room()
    room.window(10.0, 90.0, 150.0)
    counters = room.counters()
    assert counters["energy_j"] == counters["unattributed_j"] == 100.0
    assert counters["node.energy_j"] == 150.0
    assert counters["node.rest_j"] == 50.0


def test_a_request_waits_for_the_last_window_of_all_its_meters() -> None:
    room = _Room()
    room.meters.began("r/c0", 7, "on-cpu")
    room.meters.began("r/c1", None, "on-gpu")
    room.meters.ended("r/c0")
    room.meters.finished("r")
    room.window(5.0, 5.0, 10.0)
    assert room.settled == []
    room.meters.ended("r/c1")
    room.window(5.0, 5.0, 10.0)
    assert len(room.settled) == 1


def test_a_gap_of_one_meter_keeps_the_request_from_being_settled() -> None:
    room = _Room()
    room.meters.began("r/c0", 7, "on-cpu")
    room.meters.began("r/c1", None, "on-gpu")
    room.gpu.reset()
    room.window(5.0, 5.0, 10.0)
    room.meters.ended("r/c0")
    room.meters.ended("r/c1")
    assert room.meters.finished("r") is False
    room.window(5.0, 5.0, 10.0)
    assert room.settled == []
    assert room.counters()["unsettled"] == 1


def test_competing_calls_are_shared_when_their_tokens_are_known() -> None:
    room = _Room()
    room.meters.began("a/c0", None, "on-gpu")
    room.meters.began("b/c0", None, "on-gpu")
    room.window(0.0, 30.0, 30.0)
    assert [one for one in room.windows if one.meter == "nvidia0"] == []
    room.meters.ended("a/c0", Usage(input_tokens=0, output_tokens=100), 100.0)
    room.meters.ended("b/c0", Usage(input_tokens=0, output_tokens=300), 100.0)
    room.window(0.0, 0.0, 0.0)
    first = next(one for one in room.windows if one.meter == "nvidia0")
    assert [share.energy_j for share in first.shares] == pytest.approx([7.5, 22.5], abs=1e-5)


def test_a_window_waits_for_tokens_only_so_long() -> None:
    room = _Room()
    room.meters.began("a/c0", None, "on-gpu")
    room.meters.began("b/c0", None, "on-gpu")
    for _ in range(5):
        room.window(0.0, 10.0, 10.0)
    assert [one.energy_j for one in room.windows if one.meter == "nvidia0"] == [10.0, 10.0]


def test_estimates_are_corrected_by_what_was_metered_and_that_is_kept() -> None:
    room = _Room()
    for number in range(30):
        room.meters.began(f"{number}/c0", 7, "on-cpu")
        asyncio.run(room.clock.advance(1.0))
        usage = Usage(input_tokens=100, cached_tokens=50, output_tokens=25)
        room.meters.ended(f"{number}/c0", usage)
        room.meters.finished(f"{number}")
        room.window(18.0, 0.0, 20.0, seconds=0.5)
    assert room.meters.ratios()["on-cpu"] == pytest.approx(3.0, rel=0.1)
    again = _Room()
    again.meters.restore(room.meters.state())
    assert again.meters.ratios() == room.meters.ratios()
    assert again.meters.exponents() == room.meters.exponents()


step = st.tuples(
    st.sampled_from(["began", "ended", "finished", "window", "lost", "reset", "spend"]),
    st.integers(0, 3),
    st.sampled_from(list(FLEET)),
    st.floats(0.0, 20.0),
)


@settings(max_examples=60)
@given(st.lists(step, max_size=50))
def test_of_every_meter_each_joule_is_somebody_s_or_nobody_s(
    steps: list[tuple[str, int, str, float]],
) -> None:
    room = _Room()
    fakes = {"on-cpu": room.cpu, "on-gpu": room.gpu, "cloud": room.node}
    for what, request, name, amount in steps:
        match what:
            case "began":
                room.meters.began(f"r{request}/{name}", 7, name, amount)
            case "ended":
                usage = Usage(input_tokens=int(amount), output_tokens=int(amount))
                room.meters.ended(f"r{request}/{name}", usage if request else None)
            case "finished":
                room.meters.finished(f"r{request}")
            case "spend":
                fakes[name].spend(amount, idle_j=amount / 2, other_cpu_s=0.1, p7=0.5)
            case "reset":
                fakes[name].reset()
            case _:
                fakes[name].lost = what == "lost"
                room.clock._at_s += amount / 3
                for meter in room.meters._meters:
                    meter.close_window()
    for fake in fakes.values():
        fake.lost = False
    room.clock._at_s += 1.0
    room.meters.close()
    for meter in room.meters._meters:
        mine = [one for one in room.windows if one.meter == meter.name]
        shared = sum(share.energy_j for one in mine for share in one.shares)
        assert shared + sum(one.unattributed_j for one in mine) == meter.totals.energy_j
        assert all(share.energy_j >= share.idle_j >= 0 for one in mine for share in one.shares)
    assert room.meters.accounts.open == {}
