"""Memory, pressure, load and utilisation."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from metabolic.core.hardware import DeviceState, HardwareState, Reading
from metabolic.sense.host import Options, create
from metabolic.testing.sensors import check_sensor

GIB = 1024**3
PROC = {
    "proc/meminfo": "MemTotal:        8388608 kB\nMemFree: 1 kB\nMemAvailable:    4194304 kB\n",
    "proc/loadavg": "1.50 1.00 0.50 2/300 4242\n",
    "proc/stat": "cpu  1000 0 500 8000 100 10 10 50 0 0\ncpu0 1\ncpu1 1\nintr 5\n",
    "proc/pressure/cpu": "some avg10=12.50 avg60=1.00 avg300=0.10 total=9\n",
    "proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00",
}
Write = Callable[[Mapping[str, str]], Path]
Value = Callable[[Reading | None], float | None]


def test_memory_pressure_and_load_are_read(write: Write, value: Value) -> None:
    state = create(Options(root=str(write(PROC)))).read(HardwareState(taken_at_s=1.0))
    assert value(state.memory_total_bytes) == 8 * GIB
    assert value(state.memory_available_bytes) == 4 * GIB
    assert value(state.cpu_pressure_ratio) == pytest.approx(0.125)
    assert value(state.memory_pressure_ratio) == 0.0
    assert value(state.load_ratio) == pytest.approx(0.75)
    assert state.devices == ()


def test_utilisation_and_modelled_power_follow_cpu_time(
    write: Write, value: Value, cpu: Callable[[HardwareState], DeviceState]
) -> None:
    root = write(PROC)
    sensor = create(Options(root=str(root), cpu_w_per_core=4.0, cpu_idle_w=3.0))
    sensor.read(HardwareState(taken_at_s=1.0))
    write({"proc/stat": PROC["proc/stat"].replace("cpu  1000", "cpu  1100")})
    device = cpu(sensor.read(HardwareState(taken_at_s=2.0)))
    assert value(device.utilization_ratio) == pytest.approx(0.5)
    assert value(device.energy_j) == pytest.approx(4.0 + 3.0)
    assert value(device.power_w) == pytest.approx(7.0)
    assert device.power_w is not None
    assert device.power_w.origin == "modelled"


def test_no_model_is_asked_for_none_is_given(
    write: Write, cpu: Callable[[HardwareState], DeviceState]
) -> None:
    sensor = create(Options(root=str(write(PROC)), cpu_w_per_core=None))
    sensor.read(HardwareState(taken_at_s=1.0))
    device = cpu(sensor.read(HardwareState(taken_at_s=2.0)))
    assert device.utilization_ratio is not None
    assert (device.power_w, device.energy_j) == (None, None)


def test_between_looks_figures_grow_older(write: Write) -> None:
    root = write(PROC)
    sensor = create(Options(root=str(root), every_s=0.5))
    sensor.read(HardwareState(taken_at_s=1.0))
    write({"proc/meminfo": "MemTotal: 1 kB\n"})
    state = sensor.read(HardwareState(taken_at_s=1.4))
    assert state.memory_total_bytes is not None
    assert state.memory_total_bytes.age_s == pytest.approx(0.4)
    assert state.memory_total_bytes.value == 8 * GIB
    state = sensor.read(HardwareState(taken_at_s=1.5))
    assert state.memory_total_bytes is not None
    assert (state.memory_total_bytes.value, state.memory_total_bytes.age_s) == (1024, 0.0)
    assert state.memory_available_bytes is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("proc/meminfo", "MemTotal: many kB\nMemAvailable:\n"),
        ("proc/loadavg", "high\n"),
        ("proc/stat", "cpu  1 2 three 4 5 6 7\n"),
        ("proc/stat", "cpu  1 2\n"),
        ("proc/pressure/cpu", "some avg10=nan avg60=0\n"),
        ("proc/pressure/cpu", "some avg10=812.0 avg60=0\n"),
        ("proc/pressure/memory", "full avg10=1.00\n"),
    ],
)
def test_nonsense_is_none_and_never_raises(write: Write, name: str, content: str) -> None:
    sensor = create(Options(root=str(write({**PROC, name: content}))))
    sensor.read(HardwareState(taken_at_s=1.0))
    state = sensor.read(HardwareState(taken_at_s=2.0))
    gone = {
        "proc/meminfo": state.memory_total_bytes,
        "proc/loadavg": state.load_ratio,
        "proc/stat": state.devices or None,
        "proc/pressure/cpu": state.cpu_pressure_ratio,
        "proc/pressure/memory": state.memory_pressure_ratio,
    }
    assert gone[name] is None


def test_a_control_group_of_version_2_limits_memory(write: Write, value: Value) -> None:
    group = "sys/fs/cgroup/user/app"
    root = write(
        {
            **PROC,
            "proc/self/cgroup": "0::/user/app\n",
            f"{group}/memory.max": "max\n",
            "sys/fs/cgroup/user/memory.max": str(2 * GIB),
            "sys/fs/cgroup/user/memory.current": str(GIB),
            "sys/fs/cgroup/user/memory.stat": f"anon 1\ninactive_file {GIB // 2}\n",
        }
    )
    state = create(Options(root=str(root))).read(HardwareState(taken_at_s=1.0))
    assert value(state.memory_total_bytes) == 2 * GIB
    assert value(state.memory_available_bytes) == 1.5 * GIB
    assert state.memory_total_bytes is not None
    assert state.memory_total_bytes.source == "cgroup limit"


def test_a_control_group_of_version_1_limits_memory(write: Write, value: Value) -> None:
    group = "sys/fs/cgroup/memory/job"
    root = write(
        {
            **PROC,
            "proc/self/cgroup": "4:cpu,memory:/job\n1:cpu:/\nnonsense\n",
            f"{group}/memory.limit_in_bytes": str(GIB),
            f"{group}/memory.usage_in_bytes": str(3 * GIB),
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        }
    )
    state = create(Options(root=str(root))).read(HardwareState(taken_at_s=1.0))
    assert value(state.memory_total_bytes) == GIB
    assert value(state.memory_available_bytes) == 0


def test_inside_a_container_the_mount_is_our_group(write: Write, value: Value) -> None:
    root = write(
        {
            **PROC,
            "proc/self/cgroup": "0::/../../elsewhere\n",
            "sys/fs/cgroup/memory.max": str(GIB),
            "sys/fs/cgroup/memory.current": str(GIB // 4),
        }
    )
    state = create(Options(root=str(root))).read(HardwareState(taken_at_s=1.0))
    assert value(state.memory_available_bytes) == 0.75 * GIB


def test_it_keeps_the_contract(write: Write, tmp_path: Path) -> None:
    check_sensor(create(Options(root=str(tmp_path / "nothing"))))
    check_sensor(create(Options(root=str(write(PROC)))))


def test_this_very_machine_is_read(value: Value) -> None:
    sensor = create(Options(every_s=0.0))
    state = sensor.read(HardwareState(taken_at_s=1.0))
    assert (value(state.memory_total_bytes) or 0) > 0
    assert (value(state.memory_available_bytes) or 0) > 0
    check_sensor(sensor)


def test_a_recorded_machine_under_pressure_is_read(
    recorded: Callable[[str], Path], write: Write, value: Value
) -> None:
    root = recorded("psi")
    write(
        {
            f"proc/pressure/{kind}": (root / f"live-vm-{kind}").read_text()
            for kind in ("cpu", "memory")
        }
    )
    state = create(Options(root=str(root))).read(HardwareState(taken_at_s=1.0))
    assert value(state.cpu_pressure_ratio) == pytest.approx(0.7047)
    assert value(state.memory_pressure_ratio) == 0.0


def test_recorded_proc_files_are_read(recorded: Callable[[str], Path], value: Value) -> None:
    root = recorded("sysfs/procfs/fixtures")
    state = create(Options(root=str(root))).read(HardwareState(taken_at_s=1.0))
    assert (value(state.memory_total_bytes) or 0) > GIB
    assert value(state.cpu_pressure_ratio) is not None


def test_off_linux_psutil_reads_the_machine(
    monkeypatch: pytest.MonkeyPatch, value: Value, cpu: Callable[[HardwareState], DeviceState]
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    sensor = create(Options(every_s=0.0))
    sensor.read(HardwareState(taken_at_s=1.0))
    state = sensor.read(HardwareState(taken_at_s=2.0))
    assert state.memory_total_bytes is not None
    assert state.memory_total_bytes.source == "psutil"
    assert (value(state.memory_available_bytes) or 0) > 0
    assert value(state.load_ratio) is not None
    assert cpu(state).utilization_ratio is not None
    check_sensor(sensor)


def test_a_group_whose_usage_cannot_be_read_still_limits(write: Write, value: Value) -> None:
    root = write({**PROC, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": str(GIB)})
    sensor = create(Options(root=str(root)))
    state = sensor.read(HardwareState(taken_at_s=1.0))
    assert value(state.memory_total_bytes) == GIB
    assert value(state.memory_available_bytes) == GIB
    sensor.close()


def test_it_says_what_the_kernel_does_not_tell(write: Write, tmp_path: Path) -> None:
    sensor = create(Options(root=str(tmp_path / "nothing")))
    assert sensor.obstacles() == ()
    sensor.read(HardwareState(taken_at_s=1.0))
    assert [one.kind for one in sensor.obstacles()] == ["container", "platform"]
    root = write(
        {
            "proc/meminfo": "MemTotal: 100 kB\nMemAvailable: 50 kB\n",
            "proc/pressure/memory": "some avg10=1.00 avg60=0.00 avg300=0.00 total=0\n",
        }
    )
    told = create(Options(root=str(root)))
    told.read(HardwareState(taken_at_s=1.0))
    assert told.obstacles() == ()
