"""Power caps and clock locks of NVIDIA GPUs, through ``nvidia-smi``.

For where the program may set limits and the library may not: ``command`` can begin with ``sudo -n``
and a rule that allows nothing else. Locked clocks cannot be read back; they are unlocked.

Source: nvidia-smi manual: ``-pl``, ``-lgc MIN,MAX``, ``-rgc``, ``--query-gpu``.
"""

__all__ = ["NvidiaSmi", "Options", "create"]

import subprocess
from typing import Annotated, Literal

from msgspec import Meta, Struct

from metabolic.core.actuation import Knob
from metabolic.core.errors import ActuatorError
from metabolic.core.obstacle import Obstacle

_FIELDS = "index,power.limit,power.min_limit,power.max_limit,clocks.max.graphics"
_COLUMNS = 5
_CLOCK_LEAST = 0.3


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``command`` is what is run, an argument list; ``limit`` and ``devices`` as for ``nvml``."""

    command: Annotated[tuple[str, ...], Meta(min_length=1)] = ("nvidia-smi",)
    limit: Literal["power", "clocks"] = "power"
    devices: tuple[str, ...] = ()
    timeout_s: Annotated[float, Meta(gt=0)] = 10.0


def create(options: Options) -> "NvidiaSmi":
    """Return the actuator; nothing is run yet."""
    return NvidiaSmi(options)


class NvidiaSmi:
    """GPUs as the program numbers them: ``nvidia0`` and so on."""

    name = "nvidia_smi"

    def __init__(self, options: Options) -> None:
        """Take the command."""
        self._options = options
        self._locked: dict[str, float] = {}
        self._notes: tuple[Obstacle, ...] = ()

    def knobs(self) -> tuple[Knob, ...]:
        """Return a knob for each GPU that has one."""
        self._notes = ()
        try:
            said = self._run(f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits")
        except ActuatorError as exc:
            self._notes = (Obstacle(kind="driver", what=str(exc)),)
            return ()
        found = (self._knob(line) for line in said.splitlines())
        return tuple(one for one in found if one is not None)

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return what stood in the way when it was last looked at."""
        return self._notes

    def set(self, knob: str, value: float) -> None:
        """Set a cap in watts, or lock clocks below so many MHz. Raises ``ActuatorError``."""
        power = self._options.limit == "power"
        wanted = ("-pl", f"{value:.0f}") if power else ("-lgc", f"0,{value:.0f}")
        self._run("-i", knob.removeprefix("nvidia"), *wanted)
        self._locked[knob] = value

    def restore(self, knob: str, value: float | None) -> None:
        """Put the cap back, or unlock the clocks. Raises ``ActuatorError``."""
        number = knob.removeprefix("nvidia")
        if self._options.limit == "clocks":
            self._run("-i", number, "-rgc")
        elif value is not None:
            self._run("-i", number, "-pl", f"{value:.2f}")
        self._locked.pop(knob, None)

    def close(self) -> None:
        """Do nothing: no program is left running."""

    def _knob(self, line: str) -> Knob | None:
        """Return the knob of a line; ``None`` where the GPU has none."""
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != _COLUMNS:
            return None
        name = f"nvidia{cells[0]}"
        if self._options.devices and name not in self._options.devices:
            return None
        try:
            now, least, most, clock = (float(cell) for cell in cells[1:])
        except ValueError:  # "[N/A]": it has no limit to set
            self._notes = (*self._notes, Obstacle(kind="absent", what=f"{name} has no limits"))
            return None
        if self._options.limit == "clocks":
            locked, low = self._locked.get(name), _CLOCK_LEAST * clock
            return Knob(
                id=name, device=name, unit="MHz", now=locked, full=clock, least=low, most=clock
            )
        return Knob(id=name, device=name, unit="W", now=now, full=now, least=least, most=most)

    def _run(self, *arguments: str) -> str:
        """Run it; return what it said. Raises ``ActuatorError``."""
        argv = [*self._options.command, *arguments]
        try:
            done = subprocess.run(
                argv,
                capture_output=True,
                text=True,
                timeout=self._options.timeout_s,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            message = f"{argv[0]} cannot be run: {exc}"
            raise ActuatorError(message) from exc
        if done.returncode:
            message = f"{argv[0]}: {(done.stderr or done.stdout).strip()[:300]}"
            raise ActuatorError(message)
        return done.stdout
