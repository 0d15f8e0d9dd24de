"""Jetsons: rails and their total, the GPU in the chip, the power mode, and what tegrastats says."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabolic.core.hardware import DeviceState, HardwareState, Reading
from metabolic.sense import jetson, jetson_meter
from metabolic.sense.rails import total_of
from metabolic.sense.tegrastats_line import parse
from metabolic.testing.sensors import check_meter, check_sensor

CHIP = "sys/class/hwmon/hwmon1"
ZONE = "sys/class/thermal/thermal_zone1"
Write = Callable[[Mapping[str, str]], Path]
Value = Callable[[Reading | None], float | None]
RECORDINGS = Path(__file__).parents[3] / "shared" / "telemetry" / "tegrastats"


def _rails(*rails: tuple[str, int, int], chip: str = CHIP) -> dict[str, str]:
    files = {f"{chip}/name": "ina3221\n"}
    for number, (name, millivolts, milliamperes) in enumerate(rails, start=1):
        files[f"{chip}/in{number}_label"] = name
        files[f"{chip}/in{number}_input"] = str(millivolts)
        files[f"{chip}/curr{number}_input"] = str(milliamperes)
    return files


NANO = {
    **_rails(("VDD_IN", 5_000, 1_456), ("VDD_CPU_GPU_CV", 5_000, 500), ("VDD_SOC", 5_000, 300)),
    f"{CHIP}/in7_label": "sum of shunt voltages",
    "sys/devices/platform/bus@0/17000000.gpu/load": "873\n",
    f"{ZONE}/type": "gpu-thermal",
    f"{ZONE}/temp": "61500",
    f"{ZONE}/trip_point_0_type": "passive",
    f"{ZONE}/trip_point_0_temp": "99000",
    f"{ZONE}/trip_point_1_type": "active",
    f"{ZONE}/trip_point_1_temp": "50000",
    "sys/class/thermal/cooling_device2/type": "gpu-throttle-alert",
    "sys/class/thermal/cooling_device2/cur_state": "0",
    "var/lib/nvpmodel/status": "pmode:0001 fmode:fanCool\n",
    "etc/nvpmodel.conf": (
        "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=MODE_15W_6CORE >\n"
    ),
}
AGX = {
    **_rails(
        ("VDD_GPU_SOC", 20_000, 400), ("VDD_CPU_CV", 20_000, 100), ("VIN_SYS_5V0", 5_000, 900)
    ),
    **_rails(("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 5_000, 200), chip="sys/class/hwmon/hwmon2"),
}


def _devices(root: Path) -> dict[str, DeviceState]:
    sensor = jetson.create(jetson.Options(root=str(root)))
    return {d.name: d for d in sensor.read(HardwareState(taken_at_s=1.0)).devices}


def test_the_rail_that_feeds_the_module_is_its_power(write: Write, value: Value) -> None:
    devices = _devices(write(NANO))
    board, gpu = devices["board"], devices["tegra0"]
    assert board.power_w == Reading(value=7.28, origin="measured", source="rails:VDD_IN")
    assert value(board.power_limit_w) == 15.0
    assert (value(gpu.temperature_c), value(gpu.limit_c)) == (61.5, 99.0)
    assert (value(gpu.utilization_ratio), gpu.throttled, gpu.integrated) == (0.873, False, True)


def test_an_agx_without_a_total_tells_of_its_chip_alone(write: Write, value: Value) -> None:
    devices = _devices(write(AGX))
    assert "board" not in devices
    soc = devices["soc"]
    assert soc.power_w is not None
    assert (soc.power_w.value, soc.power_w.origin) == (10.0, "derived")
    assert soc.power_w.source == "rails:VDD_CPU_CV+VDD_GPU_SOC"
    assert soc.power_limit_w is None


def test_a_jetson_whose_gpu_is_slowed_says_so(write: Write) -> None:
    root = write({**NANO, "sys/class/thermal/cooling_device2/cur_state": "1"})
    assert _devices(root)["tegra0"].throttled is True


@pytest.mark.parametrize(
    ("status", "conf"),
    [
        ("pmode:0000", NANO["etc/nvpmodel.conf"]),
        ("pmode:0009", NANO["etc/nvpmodel.conf"]),
        ("pmode:x", NANO["etc/nvpmodel.conf"]),
        ("", NANO["etc/nvpmodel.conf"]),
        ("pmode:0001", ""),
        ("pmode:0001", "< POWER_MODEL ID=1 NAME=MODE_999W >"),
    ],
)
def test_a_mode_that_names_no_watts_is_no_limit(write: Write, status: str, conf: str) -> None:
    root = write({**NANO, "var/lib/nvpmodel/status": status, "etc/nvpmodel.conf": conf})
    assert _devices(root)["board"].power_limit_w is None


def test_jetpack_4_shows_rails_elsewhere(write: Write, value: Value) -> None:
    device = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    root = write(
        {
            f"{device}/rail_name_0": "POM_5V_IN",
            f"{device}/in_power0_input": "2933",
            f"{device}/rail_name_1": "POM_5V_GPU",
            f"{device}/in_power1_input": "80",
            "sys/devices/gpu.0/load": "0",
        }
    )
    devices = _devices(root)
    assert value(devices["board"].power_w) == pytest.approx(2.933)
    assert value(devices["tegra0"].utilization_ratio) == 0.0


@pytest.mark.parametrize("content", ["", "N/A", "-5", "99999999"])
def test_nonsense_is_unknown(write: Write, content: str) -> None:
    load = "sys/devices/platform/bus@0/17000000.gpu/load"
    root = write({**NANO, f"{CHIP}/in1_input": content, load: content, f"{ZONE}/temp": "-256000"})
    devices = _devices(root)
    assert devices["tegra0"].utilization_ratio is None
    assert devices["tegra0"].temperature_c is None
    assert devices.get("board") is None or devices["board"].power_w is None


def test_another_machine_is_no_jetson(write: Write, tmp_path: Path) -> None:
    root = write({"sys/class/hwmon/hwmon0/name": "coretemp"})
    sensor = jetson.create(jetson.Options(root=str(root)))
    assert sensor.obstacles() == ()
    assert sensor.read(HardwareState(taken_at_s=1.0)).devices == ()
    assert [one.kind for one in sensor.obstacles()] == ["absent"]
    meter = jetson_meter.create(jetson_meter.Options(root=str(tmp_path / "nothing")))
    assert meter.read(()) is None
    assert [one.kind for one in meter.obstacles()] == ["absent"]


def test_the_meter_sums_the_board_s_power_and_holds_everything_on_it(write: Write) -> None:
    files = {**NANO, "proc/stat": "cpu  100 0 0 900 0 0 0\ncpu0 1\ncpu1 1\n"}
    files["sys/devices/platform/bus@0/17000000.gpu/load"] = "0"
    root, at_s = write(files), [10.0]
    meter = jetson_meter.create(jetson_meter.Options(root=str(root)), clock=lambda: at_s[0])
    first = meter.read(())
    at_s[0] += 1.0
    write({"proc/stat": "cpu  101 0 0 900 0 0 0\ncpu0 1\ncpu1 1\n"})
    second = meter.read(())
    assert (meter.name, meter.domain) == ("board", "board")
    assert first is not None
    assert second is not None
    assert second.energy_j - first.energy_j == pytest.approx(7.28)
    assert (second.origin, second.high_ratio) == ("derived", 1.3)
    assert second.busy_cpu_s == pytest.approx(1.01)
    assert second.idle_j == pytest.approx(7.28)


def test_a_busy_processor_is_not_idle_because_the_gpu_is(write: Write) -> None:
    files = {**NANO, "proc/stat": "cpu  100 0 0 900 0 0 0\ncpu0 1\ncpu1 1\n"}
    files["sys/devices/platform/bus@0/17000000.gpu/load"] = "0"
    root, at_s = write(files), [10.0]
    meter = jetson_meter.create(jetson_meter.Options(root=str(root)), clock=lambda: at_s[0])
    meter.read(())
    at_s[0] += 1.0
    write({"proc/stat": "cpu  250 0 0 900 0 0 0\ncpu0 1\ncpu1 1\n"})
    reading = meter.read(())
    assert reading is not None
    assert (reading.idle_j, reading.low_ratio) == (None, 0.5)


def test_the_chip_s_meter_says_how_much_more_the_module_may_draw(write: Write) -> None:
    meter = jetson_meter.create(jetson_meter.Options(root=str(write(AGX))))
    reading = meter.read(())
    assert meter.name == "soc"
    assert reading is not None
    assert reading.high_ratio == 2.6


def test_jetsons_keep_the_contract(write: Write) -> None:
    root = write({**NANO, "proc/stat": "cpu  100 0 0 900 0 0 0\ncpu0 1\n"})
    check_sensor(jetson.create(jetson.Options(root=str(root))))
    check_meter(jetson_meter.create(jetson_meter.Options(root=str(root))), pids=(1,))


@pytest.mark.parametrize(
    ("watts", "expected"),
    [
        ({"VIN": 19.78, "VDD_GPU": 1.9, "VDD_CPU_SOC_MSS": 5.9, "VIN_SYS_5V0": 5.6}, 19.78),
        ({"GPU": 1.0, "CPU": 2.0, "SOC": 3.0, "CV": 0.0, "VDDRQ": 0.5, "SYS5V": 4.0}, 6.0),
        ({"VDD_GPU_SOC": 2.0, "VIN_SYS_5V0": 4.0}, None),
        ({"NEW_RAIL": 3.0}, None),
        ({}, None),
    ],
)
def test_a_total_is_never_added_to_what_lies_behind_it(
    watts: dict[str, float], expected: float | None
) -> None:
    total = total_of(watts)
    assert (None if total is None else total.watts) == expected


@settings(max_examples=50)
@given(
    st.dictionaries(
        st.sampled_from(("VDD_IN", "VIN", "VDD_GPU_SOC", "VDD_CPU_CV", "X")), st.floats(0, 100)
    )
)
def test_a_total_is_never_more_than_the_rails_together(watts: dict[str, float]) -> None:
    total = total_of(watts)
    if total is not None:
        assert 0 <= total.watts <= sum(watts.values()) + 1e-9
        assert set(total.rails) <= set(watts)


ORIN = (
    "04-11-2025 10:36:27 RAM 4321/62801MB (lfb 1759x4MB) SWAP 19/31400MB (cached 0MB)"
    " CPU [0%@729,off] EMC_FREQ 0%@2133 GR3D_FREQ 14%@[407,407] VIC_FREQ 729 APE 174"
    " CV0@-256C CPU@44.562C tj@44.343C/45C PMIC@100C VDD_GPU_SOC 2340mW/2340mW"
    " VDD_CPU_CV 390mW/391mW/777mW NC 0mW/0mW POM_5V_IN 933/934"
)


def test_a_line_of_tegrastats_is_read() -> None:
    line = parse(ORIN)
    assert line.temperatures_c == {"cpu": 44.562, "tj": 44.343}
    assert line.rails_w == {"VDD_GPU_SOC": 2.34, "VDD_CPU_CV": 0.39, "POM_5V_IN": 0.933}
    assert line.gpu_ratio == 0.14
    assert (line.memory_used_bytes, line.memory_total_bytes) == (4321 * 2**20, 62_801 * 2**20)


@pytest.mark.parametrize(
    "line", ["", "GR3D_FREQ @[314,314,314]", "GR3D_FREQ 101%", "RAM 9/8MB", "VDD_IN mW/mW", "\0\n"]
)
def test_what_a_line_does_not_say_is_unknown(line: str) -> None:
    assert parse(line) == parse("")


@settings(max_examples=50)
@given(st.text(), st.integers(0, len(ORIN)), st.integers(0, 40))
def test_a_mangled_line_never_raises_nor_says_what_cannot_be(noise: str, at: int, cut: int) -> None:
    line = parse(ORIN[:at] + noise + ORIN[at + cut :])
    assert all(-40 < celsius < 150 for celsius in line.temperatures_c.values())
    assert all(0 <= watts < 10_000 for watts in line.rails_w.values())
    assert line.gpu_ratio is None or 0 <= line.gpu_ratio <= 1


@pytest.mark.parametrize(
    ("name", "number", "total", "hottest", "load"),
    [
        ("agx-orin-64gb-r36.4.4.txt", 0, 4.019, 52.562, 0.0),
        ("agx-orin-r35-sentinel-temps.txt", 0, 2.73, 44.562, 0.0),
        ("agx-orin-r35-sentinel-temps.txt", 1, 17.462, 77.281, 0.14),
        ("agx-thor-r38.4.txt", 0, 19.78, 38.875, None),
        ("three-jetsons-max-suffix.txt", 0, 4.171, 47.906, 0.0),
        ("three-jetsons-max-suffix.txt", 1, 4.548, 50.875, 0.12),
        ("three-jetsons-max-suffix.txt", 2, 7.28, 59.687, 0.0),
    ],
)
def test_a_recorded_line_is_read(
    name: str, number: int, total: float, hottest: float, load: float | None
) -> None:
    path = RECORDINGS / name
    if not path.is_file():
        pytest.skip("no recordings beside the checkout")
    line = parse([one for one in path.read_text().splitlines() if one.strip()][number])
    found = total_of(line.rails_w)
    assert found is not None
    assert found.watts == pytest.approx(total)
    assert max(line.temperatures_c.values()) == hottest
    assert line.gpu_ratio == load
    assert line.memory_total_bytes is not None
