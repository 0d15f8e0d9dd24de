"""What is tried on the stub, each case in a process of its own: the binding keeps its pointers.

Run as ``nvml_cases.py CASE``; the stub must be on the loader's path. A case raises when it fails.
"""

import os
import sys
import threading
import time

from nvml_machine import (
    A100,
    H100,
    SYSFS,
    Clock,
    calls,
    count,
    device,
    fetched,
    is_warm,
    library,
    loaded,
    look,
    pci,
    refused,
    sensor,
    set_state,
    until,
    value,
)

from metabolic.core.hardware import HardwareState
from metabolic.sense import nvidia_meter, probe
from metabolic.sense.nvidia_gpu import Gpu
from metabolic.sense.nvml import Nvml
from metabolic.testing.sensors import check_meter, check_sensor


def normal() -> None:
    """Every figure of two GPUs, each by the best call, in SI units."""
    set_state(H100, A100)
    reads = sensor()
    state = look(reads)
    new, old = device(state), device(state, "nvidia1")
    assert value(new.temperature_c) == (59.0, "measured", "nvml")
    assert value(new.headroom_c) == (28.0, "derived", "nvml:margin")
    assert new.limit_c is None
    assert value(new.power_w) == (588.39, "measured", "nvml:instant")
    assert value(new.power_limit_w) == (700.0, "measured", "nvml:enforced")
    assert value(new.energy_j) == (0.0, "measured", "nvml:counter")
    assert value(new.memory_used_bytes)[0] == 17179869184
    assert value(new.memory_total_bytes)[0] == 85520809984
    assert value(new.utilization_ratio)[0] == 1.0
    assert (new.throttled, new.clocks_held_by, new.shared) == (False, "none", False)
    assert value(old.limit_c) == (89.0, "measured", "nvml:slowdown")
    assert value(old.headroom_c) == (24.0, "derived", "nvml:memory")
    assert value(old.power_w) == (390.0, "measured", "nvml:usage")
    assert (old.throttled, old.clocks_held_by) == (True, "thermal+power_cap")
    assert reads.obstacles() == ()
    assert calls("nvmlDeviceGetTemperature") == 0, "the old call is for old drivers"
    reads.close()
    until(lambda: calls("nvmlShutdown") == 1)
    check_sensor(sensor())


def not_available() -> None:
    """A GPU that tells nothing but its name has no figures, and no zeros."""
    set_state({"name": "NVIDIA GT 710", "uuid": "GPU-7", "bus": "00000000:01:00.0"})
    nvml = library()
    assert fetched(nvml) == {"nvidia0": Gpu(name="nvidia0", uuid="GPU-7", model="NVIDIA GT 710")}
    before = calls("nvmlDeviceGetPowerUsage")
    nvml.fetch()
    assert calls("nvmlDeviceGetPowerUsage") == before, "what is not supported is not asked again"
    reads = sensor()
    assert look(reads).devices == ()
    check_sensor(reads)


def zeros_are_not_thresholds() -> None:
    """Thresholds and limits of 0 are how some drivers say that there is none."""
    set_state({**A100, "threshold.1": 0, "threshold.3": 0, "threshold.2": 0, "limit_mw": 0})
    gpu = fetched(library())["nvidia0"]
    assert (gpu.slowdown_c, gpu.highest_c, gpu.memory_highest_c) == (None, None, None)
    assert gpu.power_limit_w is None


def hang() -> None:
    """A driver that hangs hangs nobody: figures become unknown, and failed; then it is back."""
    set_state(H100)
    reads = sensor(period_s=0.02, deadline_s=0.2)
    polled = probe.Probe(probe.Options(period_s=0.02, stale_s=0.1), sensors=(reads,))
    polled.start()
    until(lambda: is_warm(polled.latest()))
    threads = threading.active_count()
    set_state(H100, all="hang")
    until(lambda: "nvidia0.temperature_c" in polled.latest().failed)
    assert not is_warm(polled.latest())
    (problem,) = reads.obstacles()
    assert (problem.kind, "dmesg" in problem.remedy) == ("stale", True)
    began_s = time.perf_counter()
    for _ in range(50):
        reads.read(HardwareState(taken_at_s=0.0))
    assert time.perf_counter() - began_s < 10.0, "reading does not wait for the driver"
    assert threading.active_count() == threads, "no second worker"
    set_state(H100)
    until(lambda: polled.latest().failed == () and is_warm(polled.latest()))
    until(lambda: reads.obstacles() == ())
    polled.close()


def exit_while_hung() -> None:
    """The process ends while the driver hangs; the test measures how soon."""
    set_state(H100, all="hang")
    reads = sensor(period_s=0.02, deadline_s=0.2)
    began_s = time.perf_counter()
    assert reads.read(HardwareState(taken_at_s=0.0)).devices == ()
    assert time.perf_counter() - began_s < 10.0
    reads.close()


def driver_lost() -> None:
    """The driver goes and comes back: an obstacle meanwhile, the same names after, no joules."""
    set_state(H100)
    clock = Clock()
    nvml = library(clock)
    fetched(nvml)
    clock.at_s += 1.0
    set_state({**H100, "energy_mj": 1234567890123 + 500_000})
    assert fetched(nvml)["nvidia0"].energy_j == 500.0
    set_state(all="error:9")
    clock.at_s += 1.0
    obstacle = refused(nvml)
    assert (obstacle.kind, "modprobe" in obstacle.remedy) == ("driver", True)
    inits = calls("nvmlInitWithFlags")
    clock.at_s += 0.1
    assert refused(nvml).kind == "driver"
    assert calls("nvmlInitWithFlags") == inits, "not tried again at every poll"
    set_state({**H100, "energy_mj": 7_000})
    clock.at_s += 5.0
    back = fetched(nvml)["nvidia0"]
    assert (back.temperature_c, back.energy_j, back.energy_epoch) == (59.0, 500.0, 1)


def counter_backwards() -> None:
    """A counter that falls or leaps is a gap, not negative or absurd energy."""
    set_state(H100)
    clock = Clock()
    nvml = library(clock)
    seen: list[tuple[float | None, int]] = []
    for millijoules in (1_000, 301_000, 200_000, 400_000, 10**15, 10**15 + 100_000):
        set_state({**H100, "energy_mj": millijoules})
        gpu = fetched(nvml)["nvidia0"]
        seen.append((gpu.energy_j, gpu.energy_epoch))
        clock.at_s += 1.0
    assert seen == [(0.0, 0), (300.0, 0), (300.0, 1), (500.0, 1), (500.0, 2), (600.0, 2)]


def mig() -> None:
    """A GPU cut into parts is shared, and its utilisation unknown; the board's figures stay."""
    set_state({**H100, "mig": 1})
    gpu = fetched(library())["nvidia0"]
    assert (gpu.shared, gpu.utilization_ratio, gpu.power_w) == (True, None, 588.39)
    reads = sensor()
    assert device(look(reads)).shared is True
    reads.close()


def hot_unplug() -> None:
    """A lost GPU costs its own figures; the other keeps its name though its index changes."""
    set_state(H100, A100)
    clock = Clock()
    nvml = library(clock)
    assert set(fetched(nvml)) == {"nvidia0", "nvidia1"}
    set_state(dict.fromkeys(H100, "error:15"), A100)
    clock.at_s += 1.0
    left = fetched(nvml)
    assert set(left) == {"nvidia1"}
    assert [note.kind for note in nvml.notes] == ["driver"]
    assert "nvidia0" in nvml.notes[0].what
    set_state(A100)
    clock.at_s += 40.0
    assert {name: gpu.uuid for name, gpu in fetched(nvml).items()} == {"nvidia1": "GPU-2"}
    set_state(H100, A100)
    nvml.shut()
    assert {name: gpu.uuid for name, gpu in fetched(nvml).items()} == {
        "nvidia0": "GPU-1",
        "nvidia1": "GPU-2",
    }
    set_state(dict.fromkeys(H100, "error:15"), dict.fromkeys(A100, "error:15"))
    assert refused(nvml).kind == "driver"


def one_gpu_denied() -> None:
    """A GPU this process may not open is told, and the other is read."""
    set_state({**H100, "handle": "error:4"}, A100)
    nvml = library()
    assert set(fetched(nvml)) == {"nvidia1"}
    assert [note.kind for note in nvml.notes] == ["permission"]


def old_driver() -> None:
    """A driver without the newer symbols is read by the older ones."""
    set_state({**A100, "memory_total": 100, "memory_used": 60})
    clock = Clock()
    nvml = library(clock)
    gpu = fetched(nvml)["nvidia0"]
    assert gpu.temperature_c == 62.0
    assert (gpu.slowdown_c, gpu.highest_c, gpu.margin_c) == (89.0, 85.0, None)
    assert gpu.held == ("thermal", "power_cap")
    assert (gpu.power_w, gpu.power_kind) == (390.0, "usage")
    assert (gpu.memory_used_bytes, gpu.memory_total_bytes) == (60.0, 100.0)
    assert gpu.energy_j == 0.0


def module_power() -> None:
    """Where only the module's power is told it is marked, with the module's limit."""
    grace = {key: value for key, value in H100.items() if key not in {"power_mw", "field.185.0"}}
    del grace["field.186.0"]
    set_state({**grace, "field.186.1": 812000, "field.190.1": 900000})
    reads = sensor()
    gpu = device(look(reads))
    assert value(gpu.power_w) == (812.0, "measured", "nvml:instant:module")
    assert value(gpu.power_limit_w)[0] == 900.0
    reads.close()


def asleep() -> None:
    """A sleeping GPU is not touched; idle, it is let go; in use, it is read on."""
    set_state({**A100, "utilization": 0, "memory_total": 10**10, "memory_used_v2": 10**6})
    pci("0000:0d:00.0", status="suspended")
    clock = Clock()
    nvml = library(clock)
    assert fetched(nvml) == {"nvidia0": Gpu(name="nvidia0", asleep=True)}
    assert calls("nvmlInitWithFlags") == 0, "opening the library would have woken it"
    assert "asleep" in nvml.notes[0].what
    pci("0000:0d:00.0", status="active")
    assert fetched(nvml)["nvidia0"].temperature_c == 62.0
    clock.at_s += 11.0
    fetched(nvml)
    clock.at_s += 1.0
    assert fetched(nvml)["nvidia0"].asleep is True
    assert calls("nvmlShutdown") == 1, "idle for ten seconds: let go, so that it can sleep"
    assert "may sleep" in nvml.notes[0].what
    clock.at_s += 30.0
    set_state({**A100, "utilization": 0, "memory_total": 10**10, "memory_used_v2": 10**9})
    for _ in range(4):
        assert fetched(nvml)["nvidia0"].temperature_c == 62.0
        clock.at_s += 11.0
    assert calls("nvmlShutdown") == 1, "an engine holds memory on it: it stays in use"
    pci("0000:0d:00.0", status="suspended")
    assert fetched(nvml)["nvidia0"].asleep is True
    assert calls("nvmlShutdown") == 2
    other = Nvml(root=str(SYSFS), device="GPU-9")
    assert other.fetch() == (), "of a GPU one has never seen awake only its place is known"


def asleep_has_not_failed() -> None:
    """A GPU that falls asleep has no figures, none of which has failed."""
    set_state(A100)
    pci("0000:0d:00.0", status="active")
    reads = sensor(period_s=0.02)
    polled = probe.Probe(probe.Options(period_s=0.02, stale_s=0.1), sensors=(reads,))
    polled.start()
    until(lambda: is_warm(polled.latest()))
    pci("0000:0d:00.0", status="suspended")
    until(lambda: any(one.asleep for one in polled.latest().devices))
    state = polled.latest()
    gpu = device(state)
    assert (gpu.temperature_c, gpu.throttled, state.failed) == (None, None, ())
    polled.close()


def meter() -> None:
    """The meter counts one GPU's joules, learns its idle power, and loses what it cannot read."""
    set_state(H100, {**A100, "utilization": 0})
    counts = nvidia_meter.create(
        nvidia_meter.Options(device="nvidia1", sysfs=str(SYSFS), wait_s=0.2)
    )
    first = count(counts)
    assert (first.energy_j, first.idle_j, first.low_ratio) == (0.0, None, 0.5)
    set_state(H100, {**A100, "energy_mj": 5000 + 40_000, "utilization": 0})
    second = count(counts)
    assert (second.energy_j, second.origin, second.epoch_id) == (40.0, "measured", 0)
    set_state(H100, {**A100, "energy_mj": 100})
    assert count(counts).epoch_id == 1
    set_state(all="hang")
    assert counts.read(()) is None
    assert counts.read(()) is None
    set_state(H100, A100)
    count(counts)
    check_meter(counts, pids=(os.getpid(),))


def meter_idle_and_asleep() -> None:
    """Idle power is the least seen with nothing running; a sleeping GPU's counter stands."""
    pci("0000:0d:00.0", status="active", control="on")
    quiet = {**A100, "utilization": 0}
    now = Clock()
    options = nvidia_meter.Options(device="GPU-2", sysfs=str(SYSFS), wait_s=5.0)
    counts = nvidia_meter.NvidiaMeter(options, clock=now)
    readings = []
    for millijoules, gpu in ((0, quiet), (60_000, quiet), (110_000, quiet), (410_000, A100)):
        set_state({**gpu, "energy_mj": millijoules})
        readings.append(count(counts))
        now.at_s += 1.0
    assert [round(one.energy_j) for one in readings] == [0, 60, 110, 410]
    last = readings[-1]
    assert last.idle_j is not None
    assert 110 <= last.idle_j <= 170, "60 W, then 50 W, then still 50 W of 300"
    assert last.low_ratio == 1.0
    pci("0000:0d:00.0", status="suspended")
    still = count(counts)
    assert (still.energy_j, still.epoch_id) == (last.energy_j, last.epoch_id)
    assert still.at_s > last.at_s
    counts.close()


def no_library() -> None:
    """Without a driver there is nothing to read, which the obstacle says; it costs little."""
    clock = Clock()
    nvml = library(clock)
    assert refused(nvml).kind == "absent"
    assert "pynvml" not in sys.modules, "not imported for nothing"
    pci("0000:0c:00.0", status="active", control="on")
    clock.at_s += 60.0
    assert refused(nvml).kind == "driver"
    (SYSFS / ".dockerenv").write_text("")
    clock.at_s += 60.0
    obstacle = refused(nvml)
    assert (obstacle.kind, "--gpus" in obstacle.remedy) == ("container", True)
    check_sensor(sensor())


if __name__ == "__main__":
    if sys.argv[1] != "no_library":
        loaded()
    globals()[sys.argv[1]]()
