"""CPU seconds: of the whole machine, and of one process with all its threads.

On Linux a process's CPU clock can be read by its id with one system call (0.5 µs, nanoseconds,
ended threads included); its ``stat`` file counts the same in ticks of 10 ms. Elsewhere psutil.
Source: clock_getcpuclockid(3); the clock's id is ``~pid << 3 | 2``.
"""

__all__ = ["BusyCpu", "ProcessCpu"]

import os
import sys
import time

from metabolic.sense.files import Folder

_TICKS_PER_S = 100
"""USER_HZ, the unit of /proc on every Linux; recordings of other machines use it too."""

_SCHEDULER_CLOCK = 2


class BusyCpu:
    """CPU seconds the whole machine has worked so far (idle, I/O wait and steal left out)."""

    def __init__(self, root: str) -> None:
        """Remember where; nothing is read yet."""
        self._portable = root == "/" and not sys.platform.startswith("linux")
        self._file = Folder(root, "proc").file("stat")
        self.cores: int | None = os.cpu_count() if os.path.normpath(root) == "/" else None

    def read(self) -> float | None:
        """Return the seconds so far; ``None`` if they cannot be read."""
        if self._portable:
            return _portable_busy_s()
        data = self._file.raw()
        if data is None or not data.startswith(b"cpu "):
            return None
        if self.cores is None:
            self.cores = sum(1 for line in data.splitlines()[1:] if line.startswith(b"cpu"))
        try:
            words = data.partition(b"\n")[0].split()[1:8]
            user, nice, system, _idle, _wait, irq, softirq = map(int, words)
        except ValueError:
            return None
        return (user + nice + system + irq + softirq) / _TICKS_PER_S

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ProcessCpu:
    """CPU seconds of processes, by id."""

    def __init__(self, root: str) -> None:
        """Remember where; nothing is read yet."""
        linux = sys.platform.startswith("linux")
        real = os.path.normpath(root) == "/"
        self._clock = linux and real
        self._portable = real and not linux
        self._proc = Folder(root, "proc")

    def read(self, pids: tuple[int, ...]) -> tuple[tuple[int, float], ...]:
        """Return (pid, seconds so far); a process that is gone is absent."""
        one = self._by_clock if self._clock else self._by_file
        if self._portable:
            one = _portable_s
        return tuple((pid, seconds) for pid in pids if (seconds := one(pid)) is not None)

    def _by_clock(self, pid: int) -> float | None:
        """Ask the kernel for the process's clock; 0 would be our own."""
        if pid <= 0:
            return None
        try:
            return time.clock_gettime(~pid << 3 | _SCHEDULER_CLOCK)
        except OSError:
            return None

    def _by_file(self, pid: int) -> float | None:
        """Read ``utime`` and ``stime``; the name before them may hold spaces and brackets."""
        words = (self._proc.text(f"{pid}/stat") or "").rpartition(")")[2].split()
        try:
            return (int(words[11]) + int(words[12])) / _TICKS_PER_S
        except (IndexError, ValueError):
            return None


def _portable_busy_s() -> float | None:
    """Return the machine's busy seconds where there is no ``/proc``."""
    import psutil  # noqa: PLC0415 - only needed off Linux

    try:
        times = psutil.cpu_times()
    except (OSError, psutil.Error):
        return None
    return times.user + times.system + getattr(times, "nice", 0.0)


def _portable_s(pid: int) -> float | None:
    """Return a process's seconds where there is no ``/proc``."""
    import psutil  # noqa: PLC0415 - only needed off Linux

    try:
        times = psutil.Process(pid).cpu_times()
    except (OSError, psutil.Error):
        return None
    return times.user + times.system
