"""A child process that writes one sample after another, read sample by sample."""

__all__ = ["SampleStream"]

import contextlib
import os
import subprocess
import threading
from collections.abc import Sequence

from metabolic.core.errors import SensorError
from metabolic.core.obstacle import Obstacle

_CHUNK = 65_536
_LONGEST = 16 * 1024 * 1024
"""No sample is longer; powermetrics with all tasks writes about 1 MB."""

_PATIENCE_S = 2.0


class SampleStream:
    """Starts ``command`` at the first sample, and again after it has ended.

    A sample ends with ``end``. Reading blocks until there is one: call from a thread of its own.
    """

    def __init__(self, command: Sequence[str], *, end: bytes, remedy: str) -> None:
        """Start nothing yet; ``remedy`` says how to get the program."""
        self._command = tuple(command)
        self._end = end
        self._remedy = remedy
        self._child: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self._reading = threading.Lock()

    def next(self) -> bytes:
        """Return the next sample, with its end.

        Raises:
            SensorError: the program cannot be started, or has ended.
        """
        with self._reading:
            child = self._child or self._start()
            while self._end not in self._rest:
                chunk = b"" if child.stdout is None else os.read(child.stdout.fileno(), _CHUNK)
                if not chunk or len(self._rest) > _LONGEST:
                    self._child = None
                    raise self._ended(child)
                self._rest += chunk
            sample, _, self._rest = self._rest.partition(self._end)
            return sample + self._end

    def close(self) -> None:
        """End the program; a read under way returns. Call it once nothing more is read."""
        child, self._child = self._child, None
        if child is None:
            return
        _kill(child)
        if self._reading.acquire(timeout=_PATIENCE_S):
            _reap(child)
            self._reading.release()

    def _start(self) -> subprocess.Popen[bytes]:
        """Start the program."""
        try:
            child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as exc:
            what = f"{self._command[0]} cannot be started: {exc.strerror}"
            raise SensorError(
                what, Obstacle(kind="library", what=what, remedy=self._remedy)
            ) from exc
        self._rest = b""
        self._child = child
        return child

    def _ended(self, child: subprocess.Popen[bytes]) -> SensorError:
        """Reap the program and say how it ended."""
        _kill(child)
        code = _reap(child)
        what = f"{' '.join(self._command)} ended with {code}"
        return SensorError(what, Obstacle(kind="permission", what=what, remedy=self._remedy))


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End a program; one that runs as root under sudo ends itself when its pipe is closed."""
    with contextlib.suppress(PermissionError):
        child.kill()


def _reap(child: subprocess.Popen[bytes]) -> int | None:
    """Close the pipe and return the exit code; ``None`` if it takes its time to end."""
    if child.stdout is not None:
        child.stdout.close()
    try:
        return child.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        return None
