"""``[actuators]``: whether the machine's power and clocks may be limited, and how far."""

__all__ = ["ActuatorsTable"]

from typing import Annotated

from msgspec import Meta, Struct

from metabolic.decide.actuation import Limits

_Share = Annotated[float, Meta(gt=0, le=1)]


class ActuatorsTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[actuators]``: off unless ``enabled``; what is limited is named by ``[[actuator]]``.

    The ratios are shares of the limit that was in force: always (``steady_ratio``), on battery, at
    *elevated* and at *critical*. ``hold_s`` of calm lift a limit again. ``state_path`` is the file
    that says how everything stood (``None``: beside the user's state).
    """

    enabled: bool = False
    steady_ratio: _Share = 1.0
    battery_ratio: _Share = 0.85
    elevated_ratio: _Share = 0.85
    critical_ratio: _Share = 0.7
    least_ratio: _Share = 0.4
    hold_s: Annotated[float, Meta(ge=0)] = 120.0
    state_path: str | None = None

    def limits(self) -> Limits:
        """Return them as the decision takes them."""
        return Limits(
            steady_ratio=self.steady_ratio,
            battery_ratio=self.battery_ratio,
            elevated_ratio=self.elevated_ratio,
            critical_ratio=self.critical_ratio,
            least_ratio=self.least_ratio,
            hold_s=self.hold_s,
        )
