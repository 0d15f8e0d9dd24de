"""Actuators set what they may, and say what they may not."""

import os
import stat
from types import SimpleNamespace
from typing import Any

import pytest

from metabolic import plugins
from metabolic.actuate.nvml import Nvml, Options
from metabolic.core.errors import ActuatorError
from metabolic.core.obstacle import Obstacle


def obstacles(made: Any) -> tuple[Obstacle, ...]:
    return made.obstacles()


def powercap(root, limit_uw=65_000_000):
    zone = root / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0\n")
    (zone / "constraint_0_name").write_text("long_term\n")
    (zone / "constraint_0_power_limit_uw").write_text(f"{limit_uw}\n")
    (zone / "constraint_0_max_power_uw").write_text("65000000\n")
    (zone / "constraint_1_name").write_text("short_term\n")
    (zone / "constraint_1_power_limit_uw").write_text("90000000\n")
    core = zone / "intel-rapl:0:0"
    core.mkdir()
    (core / "name").write_text("core\n")
    return zone / "constraint_0_power_limit_uw"


def test_a_package_limit_is_set_and_put_back_and_nothing_else_is_touched(tmp_path):
    file = powercap(tmp_path)
    rapl = plugins.actuator("rapl", {"root": str(tmp_path)})
    (knob,) = rapl.knobs()
    assert (knob.now, knob.unit, knob.device) == (65.0, "W", "cpu")
    rapl.set(knob.id, 45.5)
    assert file.read_text() == "45500000\n"
    rapl.restore(knob.id, 65.0)
    assert file.read_text() == "65000000\n"
    assert file.with_name("constraint_1_power_limit_uw").read_text() == "90000000\n"


def test_a_limit_that_may_not_be_written_is_left_out_and_said(tmp_path, monkeypatch):
    file = powercap(tmp_path)
    file.chmod(stat.S_IRUSR)
    if os.geteuid() == 0:  # root may write everything: let the system say what it says to others
        monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    rapl = plugins.actuator("rapl", {"root": str(tmp_path)})
    assert rapl.knobs() == ()
    assert obstacles(rapl)[0].kind == "permission"


def test_a_machine_without_limits_says_so(tmp_path):
    rapl = plugins.actuator("rapl", {"root": str(tmp_path)})
    assert rapl.knobs() == ()
    assert obstacles(rapl)[0].kind == "platform"
    with pytest.raises(ActuatorError, match="no limit"):
        rapl.set("intel-rapl:0/constraint_0_power_limit_uw", 1.0)


def test_no_knob_is_a_path_out_of_the_folder(tmp_path):
    powercap(tmp_path)
    victim = tmp_path / "victim"
    victim.write_text("x")
    rapl = plugins.actuator("rapl", {"root": str(tmp_path)})
    with pytest.raises(ActuatorError):
        rapl.set("../../../victim", 1.0)
    assert victim.read_text() == "x"


class NVMLError(Exception):
    """As the library's."""


def library(*, denied=False):
    """Return a stand-in for pynvml with two GPUs, the second without a limit."""
    state = SimpleNamespace(mw=400_000, clocks=None, shut=0)

    def handle(number):
        return number

    def limit(number):
        if number:
            message = "Not Supported"
            raise NVMLError(message)
        return state.mw

    def set_limit(number, mw):
        if denied:
            message = "Insufficient Permissions"
            raise NVMLError(message)
        state.mw = mw

    def lock(number, low, high):
        state.clocks = (low, high)

    def unlock(number):
        state.clocks = None

    def shut():
        state.shut += 1

    made = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlShutdown=shut,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=handle,
        nvmlDeviceGetPowerManagementLimitConstraints=lambda number: (100_000, 500_000),
        nvmlDeviceGetPowerManagementLimit=limit,
        nvmlDeviceSetPowerManagementLimit=set_limit,
        nvmlDeviceGetMaxClockInfo=lambda number, kind: 1980,
        nvmlDeviceSetGpuLockedClocks=lock,
        nvmlDeviceResetGpuLockedClocks=unlock,
    )
    return made, state


def test_a_gpu_is_capped_and_one_without_a_limit_is_left_out():
    made, state = library()
    nvml = Nvml(Options(), library=made)
    (knob,) = nvml.knobs()
    assert (knob.id, knob.now, knob.least, knob.most) == ("nvidia0", 400.0, 100.0, 500.0)
    assert "nvidia1" in nvml.obstacles()[0].what
    nvml.set("nvidia0", 280.0)
    assert state.mw == 280_000
    nvml.restore("nvidia0", 400.0)
    assert state.mw == 400_000
    nvml.close()
    assert state.shut == 1


def test_a_cap_that_is_not_permitted_is_an_error_of_ours():
    nvml = Nvml(Options(), library=library(denied=True)[0])
    with pytest.raises(ActuatorError, match="Insufficient Permissions"):
        nvml.set("nvidia0", 280.0)


def test_clocks_are_locked_below_a_bound_and_unlocked():
    made, state = library()
    nvml = Nvml(Options(limit="clocks", devices=("nvidia1",)), library=made)
    (knob,) = nvml.knobs()
    assert (knob.id, knob.unit, knob.now, knob.full) == ("nvidia1", "MHz", None, 1980.0)
    nvml.set("nvidia1", 1380.0)
    assert state.clocks == (0, 1380)
    assert nvml.knobs()[0].now == 1380.0
    nvml.restore("nvidia1", None)
    assert state.clocks is None


SMI = """#!/bin/sh
case "$*" in
  *--query-gpu*) echo "0, $(cat {state}), 100.00, 500.00, 1980"
    echo "1, [N/A], [N/A], [N/A], 900";;
  "-i 0 -pl "*) echo "$4" > {state};;
  "-i 0 -lgc 0,1380"|"-i 0 -rgc") ;;
  *) echo "Insufficient permissions: $*" >&2; exit 4;;
esac
"""


def smi(tmp_path, **options):
    state, tool = tmp_path / "state", tmp_path / "nvidia-smi"
    state.write_text("400.00\n")
    tool.write_text(SMI.format(state=state))
    tool.chmod(0o755)
    return plugins.actuator("nvidia_smi", {"command": [str(tool)], **options}), state


def test_the_program_sets_caps_and_puts_them_back(tmp_path):
    made, state = smi(tmp_path)
    (knob,) = made.knobs()
    assert (knob.id, knob.now, knob.least) == ("nvidia0", 400.0, 100.0)
    made.set("nvidia0", 280.0)
    assert state.read_text() == "280\n"
    made.restore("nvidia0", 400.0)
    assert state.read_text() == "400.00\n"


def test_the_program_locks_clocks_and_says_what_is_forbidden(tmp_path):
    made, _ = smi(tmp_path, limit="clocks")
    made.set("nvidia0", 1380.0)
    made.restore("nvidia0", None)
    with pytest.raises(ActuatorError, match="Insufficient permissions"):
        made.set("nvidia7", 1380.0)


def test_no_program_is_said():
    made = plugins.actuator("nvidia_smi", {"command": ["/no/such/nvidia-smi"]})
    assert made.knobs() == ()
    assert "cannot be run" in obstacles(made)[0].what
