"""What a vendor's program says: run with a deadline in a thread of its own, or read from a file."""

__all__ = ["Tool"]

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from metabolic.core.errors import SensorError
from metabolic.core.obstacle import Obstacle
from metabolic.sense.background import Background, Fetched

T = TypeVar("T")
_FIRST_WAIT_S = 1.0
_MOST_BYTES = 16 * 1024**2


class Tool(Generic[T]):
    """Runs the first of ``commands`` that is installed, every ``period_s``.

    ``file`` is read instead of running anything, at once, so that recordings can be played. A
    program that writes without end is killed at ``deadline_s``, and the lines it wrote by then
    count if ``endless``. ``parse`` may return ``None`` for what says nothing.
    """

    def __init__(  # noqa: PLR0913 - keyword-only
        self,
        parse: Callable[[str], T | None],
        *,
        name: str,
        commands: tuple[tuple[str, ...], ...],
        file: str | None,
        period_s: float,
        deadline_s: float,
        endless: bool = False,
    ) -> None:
        """Run nothing yet; the first ``latest`` does."""
        self._parse = parse
        self._name = name
        self._commands = commands
        self._file = file
        self._deadline_s = deadline_s
        self._endless = endless
        self._problem: Obstacle | None = None
        self._background = Background(
            self._fetch, name=name, every_s=period_s, stale_s=period_s + deadline_s
        )
        self._waited = False

    def installed(self) -> bool:
        """Say whether there is anything to run or to read."""
        return self._file is not None or any(shutil.which(one[0]) for one in self._commands)

    def latest(self) -> Fetched[T] | None:
        """Return what was said last, and how old it is; ``None`` when that is too old."""
        if self._file is not None:
            return self._read()
        if not self._waited:
            self._waited = True
            self._background.wait(_FIRST_WAIT_S)
        return self._background.latest()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the first run to end; say whether it has."""
        return self._background.wait(timeout_s)

    def problem(self) -> Obstacle | None:
        """Return why it says nothing."""
        return self._problem if self._file is not None else self._background.problem()

    def close(self) -> None:
        """Run it no more."""
        self._background.close()

    def _read(self) -> Fetched[T] | None:
        """Read the file."""
        path = Path(self._file or "")
        try:
            with path.open("rb") as file:
                age_s = max(0.0, time.time() - os.fstat(file.fileno()).st_mtime)
                text = file.read(_MOST_BYTES).decode("utf-8", "replace")
        except OSError as exc:
            self._problem = Obstacle(kind="unreachable", what=f"{path}: {exc.strerror or exc}")
            return None
        try:
            found = Fetched(self._said(text), 0.0)
        except SensorError as exc:
            self._problem = Obstacle(kind="configuration", what=f"{path}: {exc} ({age_s:.0f} s)")
            return None
        self._problem = None
        return found

    def _fetch(self) -> T:
        """Run the program."""
        command = next((one for one in self._commands if shutil.which(one[0])), None)
        if command is None:
            names = " or ".join(one[0] for one in self._commands)
            what = f"{names} is not installed"
            raise SensorError(what, Obstacle(kind="library", what=what))
        return self._said(self._run(command))

    def _run(self, command: tuple[str, ...]) -> str:
        """Return what a program writes until it ends or its time is over."""
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=self._deadline_s,
            )
        except subprocess.TimeoutExpired as exc:
            if self._endless and exc.stdout:
                return exc.stdout.rpartition(b"\n")[0].decode("utf-8", "replace")
            what = f"{command[0]} took longer than {self._deadline_s:g} s"
            raise SensorError(what, Obstacle(kind="driver", what=what)) from exc
        except OSError as exc:
            what = f"{command[0]} cannot be run: {exc.strerror or exc}"
            raise SensorError(what, Obstacle(kind="permission", what=what)) from exc
        if done.returncode:
            said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().split("\n", 1)[0]
            what = f"{command[0]} failed ({done.returncode}): {said[:200]}"
            raise SensorError(what, Obstacle(kind="driver", what=what))
        return done.stdout.decode("utf-8", "replace")

    def _said(self, text: str) -> T:
        """Return what a text says."""
        found = self._parse(text)
        if found is None:
            what = f"{self._name} wrote nothing that can be read"
            raise SensorError(what, Obstacle(kind="driver", what=what))
        return found
