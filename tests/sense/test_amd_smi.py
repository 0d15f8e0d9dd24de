"""rocm-smi and amd-smi: their JSON, and the sensor that runs them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabolic.core.hardware import DeviceState, HardwareState, Reading
from metabolic.sense import amd_smi
from metabolic.sense.amd_smi_text import AmdGpu, parse
from metabolic.testing.sensors import check_sensor

RECORDINGS = Path(__file__).parents[3] / "shared" / "telemetry"
Value = Callable[[Reading | None], float | None]
ROCM = {
    "card0": {
        "Temperature (Sensor edge) (C)": "31.0",
        "Temperature (Sensor junction) (C)": "34.0",
        "Temperature (Sensor memory) (C)": "N/A",
        "Max Graphics Package Power (W)": "290.0",
        "Average Graphics Package Power (W)": "39.0",
        "GPU use (%)": "7",
        "VRAM Total Memory (B)": "34342961152",
        "VRAM Total Used Memory (B)": "6782976",
    },
    "card1": {
        "Average Graphics Package Power (W)": "N/A (Secondary die)",
        "Max Graphics Package Power (W)": "0.0",
    },
    "card2": {"Current Socket Graphics Package Power (W)": "142.0"},
    "system": {"Driver version": "6.8"},
}
METRIC = [
    {
        "gpu": 1,
        "usage": {"gfx_activity": {"value": 87, "unit": "%"}},
        "power": {"socket_power": {"value": 542_000, "unit": "mW"}},
        "temperature": {"edge": "N/A", "hotspot": {"value": 71, "unit": "C"}, "mem": 58},
        "mem_usage": {
            "total_vram": {"value": 196_592, "unit": "MB"},
            "used_vram": {"value": 121_344, "unit": "MB"},
        },
    },
    {"gpu": 0, "power": {"socket_power": "N/A", "average_socket_power": {"value": 90}}},
]


def _gpus(found: object, before: str = "") -> dict[int, AmdGpu]:
    gpus = parse(before + json.dumps(found))
    assert gpus is not None
    return {gpu.index: gpu for gpu in gpus}


def test_rocm_smi_is_read_and_what_is_not_applicable_is_unknown() -> None:
    gpus = _gpus(ROCM, "WARNING: one of these may fail\n")
    assert gpus[0] == AmdGpu(
        index=0,
        temperatures_c={"edge": 31.0, "hotspot": 34.0},
        power_w=39.0,
        power_limit_w=290.0,
        busy_ratio=0.07,
        used_bytes=6_782_976.0,
        total_bytes=34_342_961_152.0,
    )
    assert gpus[1] == AmdGpu(index=1)
    assert gpus[2].power_w == 142.0


@pytest.mark.parametrize("wrapped", [METRIC, {"gpu_data": METRIC}])
def test_amd_smi_is_read_in_the_units_it_names(wrapped: object) -> None:
    gpus = _gpus(wrapped)
    assert (gpus[1].power_w, gpus[1].busy_ratio) == (542.0, 0.87)
    assert gpus[1].temperatures_c == {"hotspot": 71.0, "mem": 58.0}
    assert (gpus[1].used_bytes, gpus[1].total_bytes) == (121_344 * 2**20, 196_592 * 2**20)
    assert gpus[0].power_w == 90.0


def test_an_unknown_unit_is_unknown() -> None:
    gpus = _gpus([{"gpu": 0, "power": {"socket_power": {"value": 5, "unit": "hp"}}}])
    assert gpus[0].power_w is None


@pytest.mark.parametrize("text", ["", "{", "[]", "[1]", "null", "{}", '{"card0x": {}}', "[" * 9999])
def test_what_neither_tool_wrote_is_refused(text: str) -> None:
    assert parse(text) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    *ROCM["card0"],
                    "card0",
                    "gpu_data",
                    *METRIC[0],
                    "value",
                    "unit",
                    "limit",
                    "hotspot",
                )
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=40)
@given(_JSON)
def test_whatever_the_json_nothing_is_invented(found: object) -> None:
    for gpu in parse(json.dumps(found)) or ():
        assert all(0 <= celsius <= 150 for celsius in gpu.temperatures_c.values())
        assert gpu.power_w is None or 0 <= gpu.power_w <= 5_000
        assert gpu.busy_ratio is None or 0 <= gpu.busy_ratio <= 1


def _sensor(tmp_path: Path, metric: object, static: object = None) -> amd_smi.AmdSmiSensor:
    (tmp_path / "metric.json").write_text(json.dumps(metric))
    (tmp_path / "static.json").write_text(json.dumps(static))
    return amd_smi.create(
        amd_smi.Options(
            file=str(tmp_path / "metric.json"),
            static_file=None if static is None else str(tmp_path / "static.json"),
        )
    )


def test_the_sensor_joins_figures_and_limits(tmp_path: Path, value: Value) -> None:
    static = [
        {
            "gpu": 1,
            "limit": {
                "slowdown_hotspot_temperature": {"value": 100, "unit": "C"},
                "slowdown_vram_temperature": {"value": 64, "unit": "C"},
                "ppt0": {"socket_power_limit": {"value": 750, "unit": "W"}},
            },
        }
    ]
    sensor = _sensor(tmp_path, METRIC, static)
    state = sensor.read(HardwareState(taken_at_s=1.0))
    card = next(device for device in state.devices if device.name == "amd1")
    assert (value(card.temperature_c), value(card.limit_c)) == (58.0, 64.0)
    assert (value(card.power_w), value(card.power_limit_w)) == (542.0, 750.0)
    assert sensor.obstacles() == ()
    check_sensor(sensor)


def test_what_sysfs_shows_is_left_to_it(tmp_path: Path) -> None:
    sensor = _sensor(tmp_path, METRIC)
    given_state = HardwareState(taken_at_s=1.0, devices=(DeviceState(name="amd0", kind="gpu"),))
    assert sensor.read(given_state) == given_state
    assert sensor.obstacles() == ()


def test_below_another_root_nothing_is_run(tmp_path: Path) -> None:
    sensor = amd_smi.create(amd_smi.Options(root=str(tmp_path)))
    assert sensor.read(HardwareState(taken_at_s=1.0)).devices == ()
    assert [one.kind for one in sensor.obstacles()] == ["library"]
    check_sensor(sensor)


def test_a_file_that_says_nothing_is_told(tmp_path: Path) -> None:
    sensor = _sensor(tmp_path, {})
    assert sensor.read(HardwareState(taken_at_s=1.0)).devices == ()
    assert [one.kind for one in sensor.obstacles()] == ["configuration"]


@pytest.mark.parametrize(
    ("name", "cards", "watts", "hottest"),
    [
        ("mi100_rocm571.json", 6, 39.0, 34.0),
        ("mi100_rocm602.json", 4, 36.0, 55.0),
        ("rx6700xt_rocm430.json", 1, 6.0, 47.0),
        ("rx6700xt_rocm602.json", 1, None, 47.0),
        ("vega-10-XT.json", 1, 15.0, 92.0),
        ("vega-20-WKS-GL-XE.json", 1, 26.0, 38.0),
    ],
)
def test_a_recorded_answer_is_read(
    name: str, cards: int, watts: float | None, hottest: float
) -> None:
    path = RECORDINGS / "rocm-smi" / name
    if not path.is_file():
        pytest.skip("no recordings beside the checkout")
    gpus = parse(path.read_text())
    assert gpus is not None
    assert len(gpus) == cards
    assert gpus[0].power_w == watts
    assert max(gpus[0].temperatures_c.values()) == hottest
    assert gpus[0].total_bytes is not None
    check_sensor(amd_smi.create(amd_smi.Options(file=str(path))))


def test_the_recorded_limits_are_read() -> None:
    path = RECORDINGS / "amd-smi" / "mi210-static.json"
    if not path.is_file():
        pytest.skip("no recordings beside the checkout")
    gpus = parse(path.read_text())
    assert gpus is not None
    (gpu,) = gpus
    assert gpu.limits_c == {"edge": 99.0, "hotspot": 100.0, "mem": 94.0}
    assert gpu.power_limit_w == 300.0
    assert gpu.power_w is None
