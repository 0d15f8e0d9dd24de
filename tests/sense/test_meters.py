"""Meters: RAPL, the model, and the fake."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from metabolic.sense import fake_meter, modelled, rapl_meter
from metabolic.sense.cputime import BusyCpu, ProcessCpu
from metabolic.testing.sensors import check_meter

ZONE = "sys/class/powercap/intel-rapl:0"
Write = Callable[[Mapping[str, str]], Path]


def _files(*, energy_j: float, busy_ticks: int, engine_ticks: int = 0) -> dict[str, str]:
    return {
        f"{ZONE}/name": "package-0",
        f"{ZONE}/energy_uj": str(int(energy_j * 1e6)),
        f"{ZONE}/max_energy_range_uj": str(10**12),
        "proc/stat": f"cpu  {busy_ticks} 0 0 0 0 0 0 0 0 0\ncpu0 0\ncpu1 0\n",
        "proc/77/stat": f"77 (a (b) c) S 1 1 1 0 -1 0 0 0 0 0 {engine_ticks} 5 0 0 20 0",
    }


class _Clock:
    def __init__(self) -> None:
        self.at_s = 100.0

    def __call__(self) -> float:
        return self.at_s


def test_rapl_is_measured_with_the_cpu_seconds_of_processes(write: Write) -> None:
    root, clock = write(_files(energy_j=50, busy_ticks=0)), _Clock()
    meter = rapl_meter.RaplMeter(rapl_meter.Options(root=str(root), cpu_idle_w=2.0), clock=clock)
    first = meter.read((77, 78))
    write(_files(energy_j=80, busy_ticks=150, engine_ticks=95))
    clock.at_s += 1.0
    second = meter.read((77, 78))
    assert first is not None
    assert second is not None
    assert (first.origin, first.epoch_id, first.energy_j) == ("measured", 0, 0.0)
    assert second.energy_j == pytest.approx(30.0)
    assert second.idle_j == pytest.approx(2.0)
    assert second.busy_cpu_s == pytest.approx(1.5)
    assert second.cpu_s == ((77, pytest.approx(1.0)),)
    assert (second.low_ratio, second.high_ratio) == (1.0, 1.0)


def test_idle_power_is_unknown_until_an_idle_window_was_seen(write: Write) -> None:
    root, clock = write(_files(energy_j=0, busy_ticks=0)), _Clock()
    meter = rapl_meter.RaplMeter(rapl_meter.Options(root=str(root)), clock=clock)
    meter.read(())
    clock.at_s += 1.0
    write(_files(energy_j=60, busy_ticks=190))
    busy = meter.read(())
    clock.at_s += 1.0
    write(_files(energy_j=65, busy_ticks=192))
    idle = meter.read(())
    clock.at_s += 1.0
    write(_files(energy_j=125, busy_ticks=380))
    later = meter.read(())
    assert busy is not None
    assert (busy.idle_j, busy.low_ratio) == (None, 0.5)
    assert idle is not None
    assert (idle.idle_j, idle.low_ratio) == (pytest.approx(5.0), 1.0)
    assert later is not None
    assert later.idle_j == pytest.approx(10.0)


def test_a_rapl_counter_that_is_lost_reads_none(write: Write) -> None:
    root = write(_files(energy_j=1, busy_ticks=0))
    meter = rapl_meter.RaplMeter(rapl_meter.Options(root=str(root)), clock=_Clock())
    assert meter.read(()) is not None
    (root / ZONE / "energy_uj").unlink()
    assert meter.read(()) is None
    meter.close()


def test_a_reset_begins_a_new_epoch(write: Write) -> None:
    root, clock = write(_files(energy_j=500_000, busy_ticks=0)), _Clock()
    meter = rapl_meter.RaplMeter(rapl_meter.Options(root=str(root), cpu_idle_w=1.0), clock=clock)
    meter.read(())
    clock.at_s += 1.0
    write(_files(energy_j=3, busy_ticks=10))
    reading = meter.read(())
    assert reading is not None
    assert reading.epoch_id == 1


def test_without_rapl_the_model_takes_over_and_says_so(write: Write, tmp_path: Path) -> None:
    write({"proc/stat": "cpu  100 0 0 0 0 0 0\n"})
    reading = rapl_meter.create(rapl_meter.Options(root=str(tmp_path))).read(())
    assert reading is not None
    assert (reading.origin, reading.low_ratio, reading.high_ratio) == ("modelled", 0.5, 2.0)
    alone = rapl_meter.create(rapl_meter.Options(root=str(tmp_path), fallback=False))
    assert alone.read(()) is None


def test_the_model_is_cpu_seconds_times_watts(write: Write) -> None:
    root, clock = write({"proc/stat": "cpu  100 0 0 0 0 0 0\n"}), _Clock()
    options = modelled.Options(root=str(root), cpu_w_per_core=5.0, cpu_idle_w=1.5)
    meter = modelled.ModelledMeter(options, clock=clock)
    first = meter.read(())
    clock.at_s += 2.0
    write({"proc/stat": "cpu  300 0 0 0 0 0 0\n"})
    second = meter.read(())
    assert first is not None
    assert second is not None
    assert first.energy_j == 0.0
    assert second.energy_j == pytest.approx(2.0 * 5.0 + 2.0 * 1.5)
    assert second.idle_j == pytest.approx(3.0)


def test_the_model_without_idle_power_says_that_it_is_unknown(write: Write) -> None:
    root = write({"proc/stat": "cpu  100 0 0 0 0 0 0\n"})
    reading = modelled.create(modelled.Options(root=str(root))).read(())
    assert reading is not None
    assert reading.idle_j is None


def test_the_model_without_cpu_time_is_lost(tmp_path: Path) -> None:
    meter = modelled.create(modelled.Options(root=str(tmp_path)))
    assert meter.read(()) is None
    meter.close()


def test_a_process_of_this_machine_is_read_with_all_its_threads() -> None:
    code = (
        "import threading as t; w = t.Thread(target=sum, args=[range(10**6)]); w.start();"
        " w.join(); print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()  # its work is done
        readings = ProcessCpu("/").read((process.pid, os.getpid()))
        process.stdin.write(b"\n")
        process.stdin.close()
        process.wait()
        gone = ProcessCpu("/").read((process.pid, 0, -1))
    assert {pid for pid, _ in readings} == {process.pid, os.getpid()}
    assert all(seconds > 0 for _, seconds in readings)
    assert gone == ()


def test_off_linux_psutil_counts_cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    ((pid, seconds),) = ProcessCpu("/").read((os.getpid(), 2**22 + 1))
    assert pid == os.getpid()
    assert seconds > 0
    assert (BusyCpu("/").read() or 0) > 0


def test_this_machine_s_busy_time_does_not_go_back() -> None:
    busy = BusyCpu("/")
    first, second = busy.read(), busy.read()
    assert first is not None
    assert second is not None
    assert second >= first > 0
    assert (busy.cores or 0) >= 1
    busy.close()


@pytest.mark.parametrize("content", ["77 (x) S 1 2", "77 (x", "", "77 (x) S" + " a" * 20])
def test_a_process_file_that_is_nonsense_is_no_reading(write: Write, content: str) -> None:
    root = write({"proc/77/stat": content})
    assert ProcessCpu(str(root)).read((77, 88)) == ()


def test_the_fake_moves_as_it_is_told() -> None:
    meter = fake_meter.create(fake_meter.Options(step_j=0.5))
    meter.spend(10.0, idle_j=2.0, other_cpu_s=1.0, p7=3.0)
    meter.gone.add(8)
    reading = meter.read((7, 8))
    assert reading is not None
    assert (reading.energy_j, reading.idle_j, reading.busy_cpu_s) == (10.5, 2.0, 4.0)
    assert reading.cpu_s == ((7, 3.0),)
    meter.lost = True
    assert meter.read(()) is None
    meter.lost = False
    meter.reset()
    after = meter.read(())
    assert after is not None
    assert after.epoch_id == 1
    meter.close()
    assert meter.closed


def test_meters_keep_the_contract(write: Write, tmp_path: Path) -> None:
    check_meter(modelled.create(modelled.Options()), pids=(os.getpid(),))
    check_meter(rapl_meter.create(rapl_meter.Options()), pids=(os.getpid(), 1))
    check_meter(rapl_meter.create(rapl_meter.Options(root=str(tmp_path / "no"), fallback=False)))
    root = write(_files(energy_j=1, busy_ticks=1))
    check_meter(rapl_meter.create(rapl_meter.Options(root=str(root))), pids=(77,))
    check_meter(fake_meter.create(fake_meter.Options(step_j=1.0)))


def test_a_laptop_s_platform_is_a_meter_that_holds_the_packages(write: Write) -> None:
    files = _files(energy_j=5, busy_ticks=0)
    root = write({**files, f"{ZONE}/name": "psys"})
    meter = rapl_meter.create(rapl_meter.Options(root=str(root), zone="psys"))
    assert (meter.name, meter.domain) == ("board", "board")
    assert meter.read(()) is not None
    check_meter(meter)
    write({f"{ZONE}/name": "package-0"})
    none = rapl_meter.create(rapl_meter.Options(root=str(root), zone="psys"))
    assert none.read(()) is None
