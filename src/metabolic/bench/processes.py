"""The processes of the gateway's benchmark: pinned to cores, and what they used."""

__all__ = ["Child", "free_port", "pin", "spread"]

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil


class Child:
    """A Python module in a process of its own; killed when the ``with`` ends."""

    def __init__(self, *arguments: str, core: int | None, log: Path) -> None:
        """Start ``python -m`` with ``arguments``, pinned to ``core`` if that is possible."""
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments], stdout=subprocess.PIPE, stderr=errors
            )
        self.pid = self._process.pid
        self._log = log
        pin(self.pid, core)

    def line(self) -> str:
        """Return the next line of its standard output."""
        out = self._process.stdout
        return out.readline().decode().strip() if out else ""

    def alive(self) -> bool:
        """Say whether it still runs."""
        return self._process.poll() is None

    def last_words(self) -> str:
        """Return the end of what it wrote to standard error."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-2000:]

    def cpu_s(self) -> float:
        """Return its CPU seconds so far, all threads, to the nanosecond where that is known."""
        total_ns = 0
        try:
            for task in Path(f"/proc/{self.pid}/task").iterdir():
                total_ns += int((task / "schedstat").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            times = psutil.Process(self.pid).cpu_times()
            return times.user + times.system
        return total_ns / 1e9

    def rss_bytes(self) -> int:
        """Return its resident memory."""
        return psutil.Process(self.pid).memory_info().rss

    def stop(self) -> None:
        """Ask it to stop, and kill it when it does not."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()


def spread() -> tuple[int | None, int | None]:
    """Return the cores for what is measured and for the rest; ``None`` where there are too few."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    cores: Sequence[int] = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[-1]) if len(cores) > 1 else (None, None)


def pin(pid: int, core: int | None) -> None:
    """Let a process run on one core only; ``pid`` 0 is this process."""
    if core is not None:
        os.sched_setaffinity(pid, {core})


def free_port() -> int:
    """Return a port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
