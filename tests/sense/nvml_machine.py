"""The machine that the stub plays: its state, the kernel's files, and ways to look at it."""

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from metabolic.core.errors import SensorError
from metabolic.core.hardware import DeviceState, HardwareState, Reading
from metabolic.core.obstacle import Obstacle
from metabolic.core.ports import MeterReading
from metabolic.sense import nvidia, nvidia_meter
from metabolic.sense.nvidia_gpu import Gpu
from metabolic.sense.nvml import Nvml

STATE = Path(os.environ["NVML_STUB_STATE"])
TRACE = Path(os.environ["NVML_STUB_TRACE"])
SYSFS = STATE.parent / "root"

H100 = {
    "name": "NVIDIA H100 80GB HBM3",
    "uuid": "GPU-1",
    "bus": "00000000:0C:00.0",
    "temperature": 59,
    "margin": 26,
    "field.194.0": -2,
    "reasons": 0,
    "power_mw": 629450,
    "field.185.0": 629450,
    "field.186.0": 588390,
    "limit_mw": 700000,
    "energy_mj": 1234567890123,
    "memory_total": 85520809984,
    "memory_used": 18000000000,
    "memory_used_v2": 17179869184,
    "memory_reserved": 600000000,
    "field.82.0": 55,
    "utilization": 100,
    "mig": 0,
}
A100 = {
    "name": "NVIDIA A100-SXM4-80GB",
    "uuid": "GPU-2",
    "bus": "00000000:0D:00.0",
    "temperature": 62,
    "threshold.1": 89,
    "threshold.2": 95,
    "threshold.3": 85,
    "field.82.0": 71,
    "reasons": 0x44,
    "power_mw": 390000,
    "limit_mw": 400000,
    "energy_mj": 5000,
    "utilization": 55,
}


class Clock:
    """A monotonic clock that only moves when told."""

    def __init__(self) -> None:
        self.at_s = 100.0

    def __call__(self) -> float:
        return self.at_s


def loaded() -> None:
    """Write the file by which the kernel shows that the driver is loaded."""
    version = SYSFS / "proc/driver/nvidia/version"
    version.parent.mkdir(parents=True, exist_ok=True)
    version.write_text("NVRM version: a stand-in\n")


def set_state(*gpus: Mapping[str, object], **machine: object) -> None:
    """Write the stub's state at once."""
    lines = [f"count={len(gpus)}", *(f"{key}={value}" for key, value in machine.items())]
    for index, gpu in enumerate(gpus):
        lines += [f"{index}.{key}={value}" for key, value in gpu.items()]
    fresh = STATE.with_suffix(".new")
    fresh.write_text("\n".join(lines) + "\n")
    fresh.replace(STATE)


def pci(bus: str, *, status: str, control: str = "auto") -> None:
    """Write a GPU's files as the kernel does."""
    folder = SYSFS / "sys/bus/pci/devices" / bus
    (folder / "power").mkdir(parents=True, exist_ok=True)
    (folder / "vendor").write_text("0x10de\n")
    (folder / "class").write_text("0x030200\n")
    (folder / "power/runtime_status").write_text(status + "\n")
    (folder / "power/control").write_text(control + "\n")


def calls(name: str) -> int:
    """Return how often the stub was called by that name."""
    return TRACE.read_text().split().count(name) if TRACE.exists() else 0


def until(holds: object, *, seconds: float = 40.0) -> None:
    """Wait until a condition holds, and fail if it does not in time."""
    assert callable(holds)
    end_s, pause = time.monotonic() + seconds, threading.Event()
    while not holds():
        assert time.monotonic() < end_s, "it did not come about in time"
        pause.wait(0.01)


def fetched(nvml: Nvml) -> dict[str, Gpu]:
    """Return the GPUs by name."""
    return {gpu.name: gpu for gpu in nvml.fetch()}


def refused(nvml: Nvml) -> Obstacle:
    """Return why nothing can be read."""
    try:
        nvml.fetch()
    except SensorError as exc:
        (obstacle,) = (part for part in exc.args if isinstance(part, Obstacle))
        return obstacle
    message = "it could be read"
    raise AssertionError(message)


def library(clock: Clock | None = None) -> Nvml:
    """Return the library with a clock."""
    return Nvml(root=str(SYSFS), monotonic=clock or Clock())


def sensor(*, period_s: float = 0.5, deadline_s: float = 2.0) -> nvidia.NvidiaSensor:
    """Return the sensor as configured."""
    options = nvidia.Options(sysfs=str(SYSFS), period_s=period_s, deadline_s=deadline_s)
    made = nvidia.create(options)
    assert isinstance(made, nvidia.NvidiaSensor)
    return made


def look(reads: nvidia.NvidiaSensor) -> HardwareState:
    """Return what is read once the driver has answered, however busy this machine is."""
    assert reads._background.wait(40)
    return reads.read(HardwareState(taken_at_s=0.0))


def count(counts: nvidia_meter.NvidiaMeter) -> MeterReading:
    """Return a reading; one that came too late on a busy machine is asked for again."""
    found: list[MeterReading] = []

    def read() -> bool:
        reading = counts.read(())
        if reading is not None:
            found.append(reading)
        return reading is not None

    until(read)
    return found[0]


def device(state: HardwareState, name: str = "nvidia0") -> DeviceState:
    """Return one GPU of a state."""
    (found,) = (one for one in state.devices if one.name == name)
    return found


def is_warm(state: HardwareState) -> bool:
    """Say whether any temperature is known."""
    return any(one.temperature_c is not None for one in state.devices)


def value(reading: Reading | None) -> tuple[float, str, str]:
    """Return a reading without its age."""
    assert reading is not None
    return reading.value, reading.origin, reading.source
