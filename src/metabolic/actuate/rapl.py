"""Power limits of processor packages, through the kernel's powercap files.

Only the long-term limit of each package is touched, never the short one, ``core`` or ``dram``.
The file belongs to root on most systems: where it cannot be written the knob is left out.

Source: Linux, Documentation/power/powercap/powercap.rst (constraint_N_power_limit_uw).
"""

__all__ = ["Options", "Rapl", "create"]

import os
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from metabolic.core.actuation import Knob
from metabolic.core.errors import ActuatorError
from metabolic.core.obstacle import Obstacle

_LONG = "long_term"
_UW = 1_000_000.0
_LEAST = 0.3
"""Packages name no least limit: below a third of their own nothing useful runs."""

_CONSTRAINTS = range(4)
_REMEDY = (
    "let the gateway's user write {file}: a udev rule, or a systemd service with CAP_DAC_OVERRIDE"
)


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``root`` is where ``sys`` lies."""

    root: str = "/"


def create(options: Options) -> "Rapl":
    """Return the actuator; nothing is read yet."""
    return Rapl(options)


class Rapl:
    """The packages' long-term power limits."""

    name = "rapl"

    def __init__(self, options: Options) -> None:
        """Take the root."""
        self._folder = Path(options.root) / "sys/class/powercap"
        self._notes: tuple[Obstacle, ...] = ()

    def knobs(self) -> tuple[Knob, ...]:
        """Return the limits that may be written."""
        notes: list[Obstacle] = []
        found: list[Knob] = []
        for file in self._files():
            if not os.access(file, os.W_OK):
                what = f"{file} may not be written"
                remedy = _REMEDY.format(file=file.name)
                notes.append(Obstacle(kind="permission", what=what, remedy=remedy))
                continue
            knob = self._knob(file)
            if knob is not None:
                found.append(knob)
        if not notes and not found:
            what = "no RAPL (powercap) limits here; usual in virtual machines and containers"
            notes.append(Obstacle(kind="platform", what=what))
        self._notes = tuple(notes)
        return tuple(found)

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return what stood in the way when it was last looked at."""
        return self._notes

    def set(self, knob: str, value: float) -> None:
        """Write a limit in watts. Raises ``ActuatorError``."""
        self._write(knob, value)

    def restore(self, knob: str, value: float | None) -> None:
        """Write back what was there. Raises ``ActuatorError``."""
        if value is not None:
            self._write(knob, value)

    def close(self) -> None:
        """Do nothing: no file is held."""

    def _files(self) -> Iterator[Path]:
        """Yield the file of each package's long-term limit."""
        try:
            zones = sorted(self._folder.glob("intel-rapl:*"))
        except OSError:
            return
        for zone in zones:
            if zone.name.count(":") != 1 or not (_text(zone / "name") or "").startswith("package"):
                continue
            for number in _CONSTRAINTS:
                if _text(zone / f"constraint_{number}_name") == _LONG:
                    yield zone / f"constraint_{number}_power_limit_uw"

    def _knob(self, file: Path) -> Knob | None:
        """Return the knob of a file; ``None`` when it says nothing."""
        now_w = _watts(file)
        if now_w is None or now_w <= 0.0:
            return None
        most_w = _watts(file.with_name(file.name.replace("power_limit", "max_power")))
        return Knob(
            id=f"{file.parent.name}/{file.name}",
            device="cpu",
            unit="W",
            now=now_w,
            full=now_w,
            least=_LEAST * now_w,
            most=max(now_w, most_w or now_w),
        )

    def _write(self, knob: str, watts: float) -> None:
        """Write one file, of those that are limits."""
        files = {f"{one.parent.name}/{one.name}": one for one in self._files()}
        file = files.get(knob)
        if file is None:
            message = f"rapl: there is no limit {knob}"
            raise ActuatorError(message)
        try:
            file.write_text(f"{round(watts * _UW)}\n", encoding="ascii")
        except OSError as exc:
            message = f"rapl: {file} cannot be written: {exc.strerror or exc}"
            raise ActuatorError(message) from exc


def _text(file: Path) -> str | None:
    """Return a file's text; ``None`` when it cannot be read."""
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _watts(file: Path) -> float | None:
    """Return a file of microwatts in watts; ``None`` when it is none."""
    text = _text(file)
    try:
        return None if text is None else int(text) / _UW
    except ValueError:
        return None
