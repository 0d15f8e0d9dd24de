"""Power caps and clock locks of NVIDIA GPUs, through the management library.

Setting either needs root or CAP_SYS_ADMIN as a rule; reading them does not, so whether it may be
set shows only when it is. Locked clocks cannot be read back: what was locked before the gateway
came is unknown, and putting back means unlocking, so clocks are touched only when asked for.

Source: NVML API reference, nvmlDeviceSetPowerManagementLimit, nvmlDeviceSetGpuLockedClocks.
"""

__all__ = ["Nvml", "Options", "create"]

import importlib
from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from metabolic.core.actuation import Knob
from metabolic.core.errors import ActuatorError
from metabolic.core.obstacle import Obstacle

_MW = 1000.0
_CLOCK_LEAST = 0.3
_GRAPHICS = 0


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``limit`` says what is set: ``power`` caps, or ``clocks`` that are locked below a bound.

    ``devices`` are those to limit (``nvidia0`` …), ``()`` all.
    """

    limit: Literal["power", "clocks"] = "power"
    devices: tuple[str, ...] = ()


def create(options: Options) -> "Nvml":
    """Return the actuator; the library is opened when it is first asked."""
    return Nvml(options)


class Nvml:
    """GPUs as the library numbers them: ``nvidia0`` and so on."""

    name = "nvml"

    def __init__(self, options: Options, *, library: Any = None) -> None:  # noqa: ANN401 - untyped
        """Take what to limit; ``library`` stands in for ``pynvml``."""
        self._options, self._nvml, self._open = options, library, False
        self._locked: dict[str, float] = {}
        self._notes: tuple[Obstacle, ...] = ()

    def knobs(self) -> tuple[Knob, ...]:
        """Return a knob for each GPU that has one."""
        try:
            nvml = self._library()
            count = self._asked(nvml.nvmlDeviceGetCount)
        except ActuatorError as exc:
            self._notes = (Obstacle(kind="driver" if self._open else "library", what=str(exc)),)
            return ()
        self._notes = ()
        found = (self._knob(nvml, number) for number in range(count))
        return tuple(one for one in found if one is not None)

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return what stood in the way when it was last looked at."""
        return self._notes

    def set(self, knob: str, value: float) -> None:
        """Set a cap in watts, or lock clocks below so many MHz. Raises ``ActuatorError``."""

        def work(nvml: Any, handle: Any) -> None:  # noqa: ANN401 - untyped
            if self._options.limit == "power":
                nvml.nvmlDeviceSetPowerManagementLimit(handle, round(value * _MW))
            else:
                nvml.nvmlDeviceSetGpuLockedClocks(handle, 0, round(value))

        self._do(knob, work)
        self._locked[knob] = value

    def restore(self, knob: str, value: float | None) -> None:
        """Put the cap back, or unlock the clocks. Raises ``ActuatorError``."""

        def work(nvml: Any, handle: Any) -> None:  # noqa: ANN401 - untyped
            if self._options.limit == "clocks":
                nvml.nvmlDeviceResetGpuLockedClocks(handle)
            elif value is not None:
                nvml.nvmlDeviceSetPowerManagementLimit(handle, round(value * _MW))

        self._do(knob, work)
        self._locked.pop(knob, None)

    def close(self) -> None:
        """Shut the library."""
        if self._open:
            self._open = False
            self._nvml.nvmlShutdown()

    def _library(self) -> Any:  # noqa: ANN401 - untyped
        """Return the library, opened. Raises ``ActuatorError``."""
        if self._nvml is None:
            try:
                self._nvml = importlib.import_module("pynvml")
            except ImportError as exc:
                message = "nvml: install nvidia-ml-py to limit NVIDIA GPUs"
                raise ActuatorError(message) from exc
        if not self._open:
            self._asked(self._nvml.nvmlInit)
            self._open = True
        return self._nvml

    def _asked(self, ask: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401 - untyped
        """Return what the library says. Raises ``ActuatorError``."""
        try:
            return ask(*arguments)
        except self._nvml.NVMLError as exc:
            message = f"nvml: {exc}"
            raise ActuatorError(message) from exc

    def _do(self, knob: str, work: Callable[[Any, Any], None]) -> None:
        """Do something to a GPU. Raises ``ActuatorError``."""
        nvml = self._library()
        handle = self._asked(nvml.nvmlDeviceGetHandleByIndex, int(knob.removeprefix("nvidia")))
        self._asked(work, nvml, handle)

    def _knob(self, nvml: Any, number: int) -> Knob | None:  # noqa: ANN401 - untyped
        """Return the knob of a GPU; ``None`` where it has none, with a note."""
        name = f"nvidia{number}"
        if self._options.devices and name not in self._options.devices:
            return None
        try:
            handle = self._asked(nvml.nvmlDeviceGetHandleByIndex, number)
            if self._options.limit == "clocks":
                return self._clock(nvml, name, handle)
            least, most = self._asked(nvml.nvmlDeviceGetPowerManagementLimitConstraints, handle)
            now = self._asked(nvml.nvmlDeviceGetPowerManagementLimit, handle)
        except ActuatorError as exc:
            self._notes = (*self._notes, Obstacle(kind="driver", what=f"{name}: {exc}"))
            return None
        return Knob(
            id=name,
            device=name,
            unit="W",
            now=now / _MW,
            full=now / _MW,
            least=least / _MW,
            most=most / _MW,
        )

    def _clock(self, nvml: Any, name: str, handle: Any) -> Knob:  # noqa: ANN401 - untyped
        """Return the knob of a GPU's clock. Raises ``ActuatorError``."""
        most = float(self._asked(nvml.nvmlDeviceGetMaxClockInfo, handle, _GRAPHICS))
        return Knob(
            id=name,
            device=name,
            unit="MHz",
            now=self._locked.get(name),
            full=most,
            least=_CLOCK_LEAST * most,
            most=most,
        )
