"""An actuator in memory."""

__all__ = ["Fake", "Options", "create"]

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.actuation import Knob
from metabolic.core.errors import ActuatorError


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One knob in watts; ``refuses`` fails every setting."""

    now_w: float = 300.0
    least_w: float = 100.0
    device: str = "fake0"
    refuses: bool = False


def create(options: Options) -> "Fake":
    """Return the actuator."""
    return Fake(options)


class Fake:
    """Remembers what was set."""

    name = "fake"

    def __init__(self, options: Options) -> None:
        """Stand as told."""
        self.sets: list[float | None] = []
        self._refuses = options.refuses
        self._knob = Knob(
            id=options.device,
            device=options.device,
            unit="W",
            now=options.now_w,
            full=options.now_w,
            least=options.least_w,
            most=options.now_w,
        )

    def knobs(self) -> tuple[Knob, ...]:
        """Return the one knob."""
        return (self._knob,)

    def set(self, knob: str, value: float) -> None:
        """Set it, or refuse."""
        self._check(knob)
        self.sets.append(value)
        self._knob = replace(self._knob, now=value)

    def restore(self, knob: str, value: float | None) -> None:
        """Put it back."""
        self._check(knob)
        self.sets.append(value)
        self._knob = replace(self._knob, now=value)

    def close(self) -> None:
        """Do nothing: there are no handles."""

    def _check(self, knob: str) -> None:
        """Raise ``ActuatorError`` when told to, or for a knob that is not there."""
        if self._refuses or knob != self._knob.id:
            message = f"{knob}: permission denied, as told"
            raise ActuatorError(message)
