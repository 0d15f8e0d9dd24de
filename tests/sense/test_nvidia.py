"""The NVIDIA sensor where there is no GPU: it says why, costs nothing, and falls back."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from metabolic.core.hardware import HardwareState
from metabolic.core.ports import Explains
from metabolic.sense import nvidia, nvidia_meter
from metabolic.sense.nvidia_obstacles import no_driver, no_library
from metabolic.sense.nvidia_smi import NvidiaSmiSensor
from metabolic.testing.sensors import check_meter, check_sensor

Write = Callable[[Mapping[str, str]], Path]
EMPTY = HardwareState(taken_at_s=0.0)


def test_below_another_root_no_driver_is_asked(tmp_path: Path) -> None:
    sensor = nvidia.create(nvidia.Options(root=str(tmp_path)))
    assert sensor.read(EMPTY) == EMPTY
    assert isinstance(sensor, Explains)
    assert [one.kind for one in sensor.obstacles()] == ["configuration"]
    check_sensor(sensor)
    meter = nvidia_meter.create(nvidia_meter.Options(root=str(tmp_path)))
    assert meter.read(()) is None
    assert [one.kind for one in meter.obstacles()] == ["configuration"]
    check_meter(meter)


def test_without_the_binding_the_obstacle_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    root = write({"proc/driver/nvidia/version": "NVRM version: 590\n"})
    sensor = nvidia.create(nvidia.Options(sysfs=str(root), fallback=False))
    assert isinstance(sensor, nvidia.NvidiaSensor)
    assert sensor._background.wait(10)
    assert sensor.read(EMPTY) == EMPTY
    (obstacle,) = sensor.obstacles()
    assert obstacle.kind == "library"
    assert "metabolic[nvidia]" in obstacle.remedy
    sensor.close()
    assert sensor.read(EMPTY) == EMPTY


def test_without_the_binding_the_tool_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert isinstance(nvidia.create(nvidia.Options()), nvidia.NvidiaSensor)
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert isinstance(nvidia.create(nvidia.Options()), NvidiaSmiSensor)
    assert isinstance(nvidia.create(nvidia.Options(fallback=False)), nvidia.NvidiaSensor)


@pytest.mark.parametrize(
    ("code", "gpus", "kind", "remedy"),
    [
        (12, 0, "absent", ""),
        (12, 1, "driver", "install"),
        (9, 1, "driver", "modprobe"),
        (18, 1, "driver", "restart"),
        (4, 1, "permission", "/dev/nvidiactl"),
        (28, 1, "absent", ""),
        (999, 1, "driver", ""),
    ],
)
def test_every_refusal_has_its_remedy(
    tmp_path: Path, code: int, gpus: int, kind: str, remedy: str
) -> None:
    obstacle = no_driver(str(tmp_path), code=code, what="nvmlInit", gpus=gpus)
    assert obstacle.kind == kind
    assert remedy in obstacle.remedy


def test_a_container_without_its_gpus_is_told_so(write: Write) -> None:
    root = write({"run/.containerenv": ""})
    obstacle = no_driver(str(root), code=12, what="nvmlInit", gpus=1)
    assert obstacle.kind == "container"
    assert "--gpus all" in obstacle.remedy


def test_without_a_gpu_a_missing_binding_matters_to_nobody(tmp_path: Path) -> None:
    assert no_library(str(tmp_path), gpus=0).kind == "absent"
    assert no_library(str(tmp_path), gpus=1).kind == "library"
