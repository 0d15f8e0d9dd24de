"""Intel GPUs through sysfs, and their meters."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from metabolic.core.hardware import DeviceState, HardwareState, Reading
from metabolic.sense import intel, intel_meter
from metabolic.sense.cards import CardSensor
from metabolic.testing.sensors import check_meter, check_sensor

CARD = "sys/class/drm/card0"
CHIP = f"{CARD}/device/hwmon/hwmon2"
XE = f"{CARD}/device/tile0/gt0/freq0/throttle"
Write = Callable[[Mapping[str, str]], Path]
Value = Callable[[Reading | None], float | None]
ARC = {
    f"{CARD}/device/vendor": "0x8086",
    f"{CARD}/device/uevent": "PCI_SLOT_NAME=0000:09:00.0",
    f"{CHIP}/name": "xe",
    f"{CHIP}/energy1_label": "card",
    f"{CHIP}/energy1_input": "1000000",
    f"{CHIP}/energy2_label": "pkg",
    f"{CHIP}/energy2_input": "5000000",
    f"{CHIP}/power1_cap": "190000000",
    f"{CHIP}/power1_crit": "380000000",
    f"{CHIP}/temp2_label": "pkg",
    f"{CHIP}/temp2_input": "54000",
    f"{CHIP}/temp2_crit": "100000",
    f"{CHIP}/temp2_max": "60000",
    f"{CHIP}/temp3_label": "vram",
    f"{CHIP}/temp3_input": "92000",
    f"{CHIP}/temp3_crit": "105000",
    f"{CHIP}/temp6_label": "vram_ch_0",
    f"{CHIP}/temp6_input": "104000",
    f"{CHIP}/temp6_crit": "105000",
}


def _sensor(root: Path) -> CardSensor:
    return intel.create(intel.Options(root=str(root)))


def _card(sensor: CardSensor, at_s: float = 1.0) -> DeviceState:
    (card,) = sensor.read(HardwareState(taken_at_s=at_s)).devices
    return card


def test_a_card_is_read_and_its_power_follows_from_its_counter(write: Write, value: Value) -> None:
    sensor = _sensor(write(ARC))
    first = _card(sensor)
    assert (first.name, first.kind, first.integrated) == ("intel0", "gpu", None)
    assert (value(first.temperature_c), value(first.limit_c)) == (92.0, 105.0)
    assert (first.power_w, value(first.power_limit_w)) == (None, 190.0)
    write({f"{CHIP}/energy1_input": "121000000"})
    second = _card(sensor, 2.0)
    assert second.power_w is not None
    assert (second.power_w.value, second.power_w.origin) == (120.0, "derived")
    assert value(second.energy_j) == 120.0
    assert second.energy_j is not None
    assert second.energy_j.source == "hwmon:xe/card"
    sensor.close()


def test_a_counter_that_stays_at_0_counts_for_nothing(write: Write, value: Value) -> None:
    root = write({**ARC, f"{CHIP}/energy1_input": "0"})
    sensor = _sensor(root)
    card = _card(sensor)
    assert card.energy_j is not None
    assert card.energy_j.source == "hwmon:xe/pkg"
    assert sensor.obstacles() == ()
    write({f"{CHIP}/energy1_input": "1", f"{CHIP}/energy2_input": "65000000"})
    assert value(_card(sensor, 2.0).energy_j) == 60.0
    write({f"{CHIP}/energy1_input": "0", f"{CHIP}/energy2_input": "0"})
    dead = _sensor(root)
    assert _card(dead).energy_j is None
    assert [one.kind for one in dead.obstacles()] == ["driver"]


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("reason_thermal", "thermal"),
        ("reason_vr_thermalert", "thermal"),
        ("reason_prochot", "thermal"),
        ("reason_pl1", "power_cap"),
        ("reason_psys_pl2", "power_cap"),
        ("reason_fastvmode", "other"),
    ],
)
def test_what_holds_the_clocks_is_told_by_reasons(write: Write, name: str, held: str) -> None:
    reasons = {f"{XE}/status": "1", f"{XE}/reason_pl4": "0", f"{XE}/{name}": "1"}
    card = _card(_sensor(write({**ARC, **reasons})))
    assert card.clocks_held_by == held
    assert card.throttled is (held == "thermal")


def test_without_a_reason_nothing_holds_them(write: Write) -> None:
    gt = f"{CARD}/gt/gt0"
    files = {f"{gt}/throttle_reason_status": "0", f"{gt}/throttle_reason_thermal": "0"}
    card = _card(_sensor(write({**ARC, **files})))
    assert (card.throttled, card.clocks_held_by) == (False, "none")


def test_a_gpu_in_the_processor_tells_what_throttles_it_alone(write: Write) -> None:
    gt = f"{CARD}/gt/gt0"
    root = write(
        {
            f"{CARD}/device/vendor": "0x8086",
            f"{CARD}/device/uevent": "PCI_SLOT_NAME=0000:00:02.0",
            f"{gt}/throttle_reason_thermal": "1",
            f"{gt}/throttle_reason_pl1": "1",
        }
    )
    card = _card(_sensor(root))
    assert (card.integrated, card.throttled) == (True, True)
    assert card.clocks_held_by == "thermal+power_cap"


def test_i915_has_one_counter_without_a_label(write: Write) -> None:
    files = {k: v for k, v in ARC.items() if "energy" not in k}
    root = write({**files, f"{CHIP}/name": "i915", f"{CHIP}/energy1_input": "7000000"})
    card = _card(_sensor(root))
    assert card.energy_j is not None
    assert card.energy_j.source == "hwmon:i915/energy1"


@pytest.mark.parametrize("content", ["", "N/A", "-273150", "999999999999999999999"])
def test_nonsense_is_unknown(write: Write, content: str) -> None:
    names = ("energy1_input", "energy2_input", "power1_cap", "temp2_input", "temp3_input")
    card = {f"{CHIP}/{name}": content for name in (*names, "temp6_input")}
    state = _sensor(write({**ARC, **card})).read(HardwareState(taken_at_s=1.0))
    fields = [d for d in state.devices if d.temperature_c or d.power_limit_w]
    assert fields == []


def test_a_machine_without_says_so(tmp_path: Path) -> None:
    sensor = _sensor(tmp_path)
    assert sensor.read(HardwareState(taken_at_s=1.0)).devices == ()
    assert [one.kind for one in sensor.obstacles()] == ["absent"]
    meter = intel_meter.create(intel_meter.Options(root=str(tmp_path)))
    assert meter.read(()) is None
    assert [one.kind for one in meter.obstacles()] == ["absent"]


def test_a_meter_counts_the_card(write: Write) -> None:
    root, at_s = write(ARC), [10.0]
    meter = intel_meter.create(
        intel_meter.Options(root=str(root), idle_w=20.0), clock=lambda: at_s[0]
    )
    meter.read(())
    at_s[0] += 1.0
    write({f"{CHIP}/energy1_input": "151000000"})
    reading = meter.read(())
    assert (meter.name, meter.domain) == ("intel0", "gpu")
    assert reading is not None
    assert (reading.energy_j, reading.origin, reading.idle_j) == (150.0, "measured", 20.0)
    write({f"{CARD}/device/power/runtime_status": "suspended"})
    at_s[0] += 100.0
    asleep = meter.read(())
    assert asleep is not None
    assert (asleep.energy_j, asleep.epoch_id) == (150.0, reading.epoch_id)
    meter.close()


def test_cards_keep_the_contract(write: Write) -> None:
    root = write(ARC)
    check_sensor(_sensor(root))
    check_meter(intel_meter.create(intel_meter.Options(root=str(root))))


@pytest.mark.parametrize(
    ("name", "heat", "limit_w", "counter"),
    [
        ("b580", (58.0, 100.0), 190.0, "hwmon:xe/card"),
        ("b580-6.16", (48.0, None), None, "hwmon:xe/pkg"),
        ("a380-xe", (56.0, None), 55.0, "hwmon:xe/pkg"),
    ],
)
def test_a_recorded_card_is_read(
    lact: Callable[[str], Path],
    value: Value,
    name: str,
    heat: tuple[float, float | None],
    limit_w: float | None,
    counter: str,
) -> None:
    root = lact(f"intel/{name}")
    card = _card(_sensor(root))
    assert (value(card.temperature_c), value(card.limit_c)) == heat
    assert value(card.power_limit_w) == limit_w
    assert card.energy_j is not None
    assert card.energy_j.source == counter
    assert card.throttled is None
    check_sensor(_sensor(root))
    check_meter(intel_meter.create(intel_meter.Options(root=str(root))))
