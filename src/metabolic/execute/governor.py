"""Limits the machine as ``decide.actuation`` says, and puts everything back.

Before a limit is touched, how it stood is in a file: a gateway that was killed leaves it, and the
next start (or ``metabolic doctor --restore``) puts back what it says. A limit that somebody else
has set since is left alone. What cannot be set is said once and tried again after a while; no
request ever waits for any of this, or fails by it.
"""

__all__ = ["Governor", "Journal", "put_back"]

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.actuation import Knob, Saved
from metabolic.core.errors import ActuatorError
from metabolic.core.metabolic import MetabolicState
from metabolic.core.ports import Actuator, Clock
from metabolic.decide.actuation import Governed, Limits, govern, setpoint

_PERIOD_S = 1.0
_RETRY_S = 60.0
_SAME = 0.02
"""Limits that differ by less than this share are the same: devices round."""

_LOG = logging.getLogger("metabolic.execute")


class _File(Struct, frozen=True, kw_only=True):
    """What the file holds: whose it is, and how every limit stood."""

    pid: int
    born_s: float
    saved: tuple[Saved, ...] = ()


class Journal:
    """The file that says what to put back."""

    def __init__(self, path: Path, *, pid: int, born_s: float) -> None:
        """Take where it lies, and who writes it (``born_s``: when its process began)."""
        self.path, self._pid, self._born_s = path, pid, born_s

    def read(self) -> tuple[Saved, ...]:
        """Return what is to be put back; nothing without a file, or when it is no journal."""
        found = self._file()
        return () if found is None else found.saved

    def owner(self) -> tuple[int, float] | None:
        """Return process and birth of who wrote it; ``None`` without a file."""
        found = self._file()
        return None if found is None else (found.pid, found.born_s)

    def write(self, saved: Sequence[Saved]) -> None:
        """Replace it, on disk before this returns. Raises ``ActuatorError``."""
        new = self.path.with_suffix(".new")
        content = _File(pid=self._pid, born_s=self._born_s, saved=tuple(saved))
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with new.open("wb") as file:
                file.write(msgspec.json.encode(content))
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
        except OSError as exc:
            message = f"{self.path} cannot be written, so nothing is limited: {exc}"
            raise ActuatorError(message) from exc

    def clear(self) -> None:
        """Remove it: everything was put back. Raises ``ActuatorError``."""
        if not self.path.exists():
            return
        try:
            self.path.unlink()
        except OSError as exc:
            message = f"{self.path} cannot be removed: {exc}"
            raise ActuatorError(message) from exc

    def _file(self) -> _File | None:
        """Return what it holds."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=_File)
        except (OSError, msgspec.MsgspecError):
            return None


def put_back(
    saved: Sequence[Saved], make: Callable[[str, Mapping[str, object]], Actuator]
) -> tuple[list[str], list[Saved]]:
    """Put limits back; return what was done, in words, and those that could not be.

    Blocks. ``make`` returns the actuator of a kind and its options.
    """
    said: list[str] = []
    left: list[Saved] = []
    for one in saved:
        actuator = make(one.kind, one.options)
        try:
            said.append(_put_back(actuator, one))
        except ActuatorError as exc:
            said.append(f"{one.knob}: not put back: {exc}")
            left.append(one)
        finally:
            actuator.close()
    return said, left


def _put_back(actuator: Actuator, one: Saved) -> str:
    """Put one limit back, unless it is not ours any more. Raises ``ActuatorError``."""
    knob = next((each for each in actuator.knobs() if each.id == one.knob), None)
    if knob is None:
        message = "it cannot be found, or may not be set"
        raise ActuatorError(message)
    if one.set_to is None:
        return f"{one.knob}: was never changed"
    if knob.now is not None and not _same(knob.now, one.set_to):
        return f"{one.knob}: {knob.now:g} {knob.unit} was set by somebody else, and stays"
    actuator.restore(one.knob, one.value)
    was = "unlocked" if one.value is None else f"{one.value:g} {knob.unit}"
    return f"{one.knob}: put back to {was}"


def _same(one: float, other: float) -> bool:
    """Say whether two limits are the same, as devices round them."""
    return abs(one - other) <= _SAME * max(abs(one), abs(other), 1e-9)


class Governor:
    """Keeps the limits of a machine; a task that runs once a second."""

    def __init__(
        self,
        actuators: Sequence[tuple[str, Mapping[str, object], Actuator]],
        limits: Limits,
        journal: Journal,
        *,
        clock: Clock,
        state: Callable[[], MetabolicState],
    ) -> None:
        """Take actuators by kind and options; nothing is touched before the first ``step``."""
        self._actuators, self._limits, self._journal = tuple(actuators), limits, journal
        self._clock, self._state = clock, state
        self._saved: dict[tuple[int, str], Saved] = {}
        self._silent_until_s: dict[tuple[int, str], float] = {}
        self.governed = Governed()
        self.set_count = self.refused = 0

    async def run(self) -> None:
        """Follow the machine's state, until cancelled."""
        while True:
            await self.step()
            await self._clock.sleep(_PERIOD_S)

    async def step(self) -> None:
        """Look at the state once, and set what it asks for."""
        at_s = self._clock.monotonic_s()
        before = self.governed
        self.governed = govern(before, self._state(), self._limits, at_s=at_s)
        if self.governed.ratio != before.ratio:
            self._silent_until_s.clear()
            _LOG.info(
                "limits", extra={"ratio": self.governed.ratio, "why": self.governed.why or "calm"}
            )
        if self.governed.ratio != before.ratio or self._silent_until_s:
            await asyncio.to_thread(self._apply, self.governed.ratio, at_s)

    def _apply(self, ratio: float, at_s: float) -> None:
        """Set every knob, in a thread."""
        for number, (kind, options, actuator) in enumerate(self._actuators):
            for knob in actuator.knobs():
                key = (number, knob.id)
                if at_s < self._silent_until_s.get(key, 0.0):
                    continue
                try:
                    self._set(key, kind, options, actuator, knob, ratio)
                    self._silent_until_s.pop(key, None)
                except ActuatorError as exc:
                    self.refused += 1
                    self._silent_until_s[key] = at_s + _RETRY_S
                    _LOG.warning("limit not set", extra={"knob": knob.id, "reason": str(exc)})

    def _set(
        self,
        key: tuple[int, str],
        kind: str,
        options: Mapping[str, object],
        actuator: Actuator,
        knob: Knob,
        ratio: float,
    ) -> None:
        """Set one knob; how it stood is on disk first. Raises ``ActuatorError``."""
        saved = self._saved.get(key)
        before = knob.now if saved is None else saved.value
        wanted = setpoint(knob, ratio, before=before)
        if wanted is None:
            if saved is not None:
                actuator.restore(knob.id, saved.value)
                self.set_count += 1
                del self._saved[key]
                self._write()
            return
        self._saved[key] = replace(
            saved or Saved(kind=kind, options=options, knob=knob.id, value=before), set_to=wanted
        )
        try:
            self._write()
            actuator.set(knob.id, wanted)
        except ActuatorError:
            if saved is None:  # nothing was changed, so there is nothing to put back
                del self._saved[key]
                self._write_quietly()
            raise
        self.set_count += 1

    def _write(self) -> None:
        """Keep how everything stood; nothing to put back needs no file."""
        if self._saved:
            self._journal.write(tuple(self._saved.values()))
        else:
            self._journal.clear()

    async def aclose(self) -> None:
        """Put everything back."""
        await asyncio.to_thread(self._restore)

    def _restore(self) -> None:
        """Put everything back, in a thread; what cannot be stays in the file."""
        for (number, name), saved in tuple(self._saved.items()):
            try:
                self._actuators[number][2].restore(name, saved.value)
                del self._saved[number, name]
            except ActuatorError as exc:
                _LOG.error("limit not put back", extra={"knob": name, "reason": str(exc)})
        self.governed = Governed()
        self._write_quietly()
        for _, _, actuator in self._actuators:
            actuator.close()

    def _write_quietly(self) -> None:
        """Keep what is left to put back; a disk that is full is said."""
        try:
            self._write()
        except ActuatorError as exc:
            _LOG.error("limits", extra={"reason": str(exc)})
