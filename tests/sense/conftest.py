"""Trees of kernel files: made here, and recorded ones where they lie beside the checkout."""

from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pytest

from metabolic.core.hardware import DeviceState, HardwareState, Reading

PSUTIL = psutil.__name__
"""Imported before a test says that the platform is another one."""

Write = Callable[[Mapping[str, str]], Path]
Recorded = Callable[[str], Path]
RECORDINGS = Path(__file__).parents[3] / "shared" / "telemetry"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes files below a root and returns the root."""

    def _write(files: Mapping[str, str]) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path

    return _write


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    """Return a function that rebuilds a recorded machine; its links were stored as text."""

    def _recorded(name: str) -> Path:
        source = RECORDINGS / name
        if not source.is_dir():
            pytest.skip(f"no recording {name} beside the checkout")
        for path in sorted(source.rglob("*")):
            inner = tmp_path / path.relative_to(source)
            if not path.is_file():
                continue
            inner.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes()
            if content.startswith(b"../") and b"\n" not in content.strip():
                inner.symlink_to(content.decode().strip("\0\n "))
            else:
                inner.write_bytes(content)
        return tmp_path

    return _recorded


@pytest.fixture
def lact(tmp_path: Path) -> Recorded:
    """Return a function that puts a recorded graphics card where the kernel shows it."""

    def _lact(name: str) -> Path:
        source = RECORDINGS / "sysfs" / "lact" / name
        if not source.is_dir():
            pytest.skip(f"no recording {name} beside the checkout")
        (tmp_path / "sys" / "class").mkdir(parents=True)
        (tmp_path / "sys" / "class" / "drm").symlink_to(source, target_is_directory=True)
        return tmp_path

    return _lact


@pytest.fixture
def cpu() -> Callable[[HardwareState], DeviceState]:
    """Return a function that picks the processor out of a state."""

    def _cpu(state: HardwareState) -> DeviceState:
        (found,) = (device for device in state.devices if device.name == "cpu")
        return found

    return _cpu


@pytest.fixture
def value() -> Callable[[Reading | None], float | None]:
    """Return a function that gives a reading's figure."""
    return lambda reading: None if reading is None else reading.value
