"""NVIDIA Jetsons through sysfs: the board's power and limit, and the GPU in the chip."""

__all__ = ["JetsonSensor", "Options", "create"]

from msgspec import Struct

from metabolic.core.hardware import HardwareState
from metabolic.core.obstacle import Obstacle
from metabolic.sense.cadence import aged, due
from metabolic.sense.jetson_board import JetsonBoard
from metabolic.sense.merge import Field, Reading, with_device

_GPU = "tegra0"


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how often to read; the rails are behind a slow bus."""

    root: str = "/"
    every_s: float = 0.5
    rescan_s: float = 60.0


class JetsonSensor:
    """Reads a Jetson; any other machine is left as it is."""

    name = "jetson"

    def __init__(self, options: Options) -> None:
        """Remember the options; the first read looks for rails."""
        self._options = options
        self._board: JetsonBoard | None = None
        self._scanned_s: float | None = None
        self._look_s: float | None = None
        self._looked: tuple[str, dict[str, Field | None], dict[str, Field | None]] | None = None

    def read(self, state: HardwareState) -> HardwareState:
        """Return the state with the board (or its chip) and the GPU."""
        now_s, options = state.taken_at_s, self._options
        rescan = due(self._scanned_s, now_s=now_s, every_s=options.rescan_s)
        if not self._board and rescan:
            self._scanned_s = now_s
            self._board = JetsonBoard(options.root)
        if not self._board:
            return state
        if self._looked is None or due(self._look_s, now_s=now_s, every_s=options.every_s):
            self._look_s, self._looked = now_s, self._board.look()
        name, supplied, gpu = self._looked
        age_s = now_s - (self._look_s or now_s)
        state = with_device(state, name, kind="board", **_older(supplied, age_s))
        return with_device(state, _GPU, kind="gpu", **_older(gpu, age_s))

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why there is nothing."""
        return () if self._board is None else self._board.obstacles()

    def close(self) -> None:
        """Close all files."""
        if self._board is not None:
            self._board.close()
        self._board = self._looked = None


def _older(fields: dict[str, Field | None], age_s: float) -> dict[str, Field | None]:
    """Return fields as old as they now are."""
    return {k: aged(v, age_s) if isinstance(v, Reading) else v for k, v in fields.items()}


def create(options: Options) -> JetsonSensor:
    """Return the sensor."""
    return JetsonSensor(options)
