"""What a GPU's figures mean: headroom, what holds its clocks, and what cannot be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.hardware import DeviceState, HardwareState, Reading
from metabolic.sense.nvidia_gpu import Gpu, held_by, with_gpus

EMPTY = HardwareState(taken_at_s=0.0)


def read(**figures: float | str | tuple[str, ...] | None) -> DeviceState:
    known = Gpu(name="nvidia0", asleep=False, **figures)  # pyright: ignore[reportArgumentType]
    (device,) = with_gpus(EMPTY, (known,), source="nvml", age_s=0.25).devices
    return device


def room(**figures: float) -> tuple[float, str] | None:
    reading = read(**figures).headroom_c
    return None if reading is None else (reading.value, reading.source)


@pytest.mark.parametrize(
    ("bits", "held"),
    [
        (0x0, ()),
        (0x1, ()),
        (0x4, ("power_cap",)),
        (0x8, ("hardware",)),
        (0x20, ("thermal",)),
        (0x48, ("thermal",)),
        (0x88, ("power_brake",)),
        (0x60 | 0x4, ("thermal", "power_cap")),
        (0x1F3, ("thermal", "power_brake")),
    ],
)
def test_clock_bits_become_words(bits: int, held: tuple[str, ...]) -> None:
    assert held_by(bits) == held


def test_a_power_cap_is_no_throttling_but_heat_and_the_brake_are() -> None:
    assert read(held=("power_cap",)).throttled is False
    assert read(held=("power_cap",)).clocks_held_by == "power_cap"
    assert read(held=()).clocks_held_by == "none"
    for word in ("thermal", "power_brake", "hardware"):
        assert read(held=(word,)).throttled is True
    assert read(held=None).throttled is None
    assert read(held=None).clocks_held_by is None


def test_headroom_is_the_margin_less_where_the_hardware_slows() -> None:
    assert room(margin_c=26.0, slowdown_margin_c=-2.0, temperature_c=59.0) == (28.0, "nvml:margin")
    assert room(margin_c=26.0) == (26.0, "nvml:margin")
    assert room(margin_c=-3.0, slowdown_margin_c=-2.0) == (-1.0, "nvml:margin")


def test_with_thresholds_the_nearer_of_core_and_memory_counts() -> None:
    core = {"temperature_c": 62.0, "slowdown_c": 89.0}
    assert room(**core) is None, "limit minus temperature says it already"
    assert room(**core, memory_c=90.0, memory_highest_c=95.0) == (5.0, "nvml:memory")
    assert room(**core, memory_c=40.0, memory_highest_c=95.0) == (27.0, "nvml:core")
    assert room(memory_c=40.0, memory_highest_c=95.0) == (55.0, "nvml:memory")


def test_the_limit_is_where_it_slows_down_else_the_highest_operating() -> None:
    both = read(slowdown_c=89.0, highest_c=85.0).limit_c
    assert both is not None
    assert (both.value, both.source) == (89.0, "nvml:slowdown")
    highest = read(highest_c=85.0).limit_c
    assert highest is not None
    assert (highest.value, highest.source) == (85.0, "nvml:highest")


def test_what_cannot_be_is_unknown_and_ages_are_kept() -> None:
    odd = read(
        temperature_c=255.0,
        slowdown_c=0.0,
        power_w=float("nan"),
        power_limit_w=0.0,
        utilization_ratio=1.01,
        memory_used_bytes=9.0,
        memory_total_bytes=8.0,
        margin_c=-273.0,
    )
    assert odd.temperature_c is None
    assert odd.limit_c is None
    assert odd.headroom_c is None
    assert odd.power_w is None
    assert odd.power_limit_w is None
    assert odd.utilization_ratio is None
    assert odd.memory_used_bytes is None
    assert odd.memory_total_bytes == Reading(
        value=8.0, origin="measured", source="nvml", age_s=0.25
    )


def test_a_module_marks_its_power() -> None:
    power = read(power_w=900.0, power_kind="average:module").power_w
    assert power is not None
    assert power.source == "nvml:average:module"


figure = st.none() | st.floats(allow_nan=True, allow_infinity=True)


@given(
    temperature_c=figure,
    slowdown_c=figure,
    memory_c=figure,
    memory_highest_c=figure,
    margin_c=figure,
    slowdown_margin_c=figure,
    power_w=figure,
    utilization_ratio=figure,
    memory_used_bytes=figure,
    memory_total_bytes=figure,
)
def test_no_figure_makes_an_impossible_reading(**figures: float | None) -> None:
    device = read(**figures)
    for name in ("temperature_c", "limit_c", "headroom_c", "power_w", "utilization_ratio"):
        reading: Reading | None = getattr(device, name)
        assert reading is None or -200 <= reading.value <= 20_000
