"""A thermometer beside the machine that writes degrees Celsius to a file, once a second."""

__all__ = ["Options", "Shelf", "create"]

from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.hardware import DeviceState, HardwareState, Reading


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file, and the temperature at which the machine should be spared."""

    path: str
    limit_c: float = 35.0


class Shelf:
    """Reads the file; what cannot be read stays ``None``."""

    name = "shelf"

    def __init__(self, options: Options) -> None:
        """Keep where to read; nothing is opened yet."""
        self._path = Path(options.path)
        self._limit = Reading(value=options.limit_c, origin="measured", source=self.name)

    def read(self, state: HardwareState) -> HardwareState:
        """Return ``state`` with one more device."""
        try:
            celsius = float(self._path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return state
        air = Reading(value=celsius, origin="measured", source=self.name)
        device = DeviceState(name="shelf", kind="board", temperature_c=air, limit_c=self._limit)
        return replace(state, devices=(*state.devices, device))

    def close(self) -> None:
        """Nothing is held open."""


def create(options: Options) -> Shelf:
    """Return the sensor."""
    return Shelf(options)
