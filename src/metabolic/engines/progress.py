"""How a fetch is shown: bars on a terminal, lines elsewhere, or not at all."""

__all__ = ["Bars", "Lines", "Progress", "Quiet", "progress_on"]

import threading
import time
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import TaskID

_STEP_RATIO = 0.25
_BYTES_PER_MB = 1_000_000


class Progress(Protocol):
    """Is told of fetches, from any thread."""

    def note(self, line: str) -> None:
        """Show a line: which source is used and why, or what went wrong."""
        ...

    def begin(self, name: str, total_bytes: int) -> None:
        """Begin the fetch of model ``name``."""
        ...

    def advance(self, name: str, count_bytes: int) -> None:
        """Tell of bytes that came; negative when some were thrown away."""
        ...

    def end(self, name: str, *, ready: bool) -> None:
        """End the fetch; ``ready`` says whether the model is there."""
        ...


class Quiet:
    """Shows nothing."""

    def note(self, line: str) -> None:
        """Drop the line."""

    def begin(self, name: str, total_bytes: int) -> None:
        """Do nothing."""

    def advance(self, name: str, count_bytes: int) -> None:
        """Do nothing."""

    def end(self, name: str, *, ready: bool) -> None:
        """Do nothing."""


class Lines:
    """Writes a line at the beginning, at each quarter and at the end: for logs and pipes."""

    def __init__(self, out: TextIO) -> None:
        """Write to ``out``."""
        self._out = out
        self._lock = threading.Lock()
        self._fetches: dict[str, _Fetch] = {}

    def note(self, line: str) -> None:
        """Write the line."""
        with self._lock:
            self._write(line)

    def begin(self, name: str, total_bytes: int) -> None:
        """Say what is fetched and how large it is."""
        with self._lock:
            self._fetches[name] = _Fetch(total_bytes)
            self._write(f"{name}: fetching {total_bytes / _BYTES_PER_MB:,.0f} MB")

    def advance(self, name: str, count_bytes: int) -> None:
        """Write a line when another quarter has come."""
        with self._lock:
            fetch = self._fetches[name]
            fetch.come_bytes += count_bytes
            ratio = fetch.come_bytes / max(1, fetch.total_bytes)
            if ratio < fetch.next_ratio or ratio >= 1:
                return
            fetch.next_ratio = (ratio // _STEP_RATIO + 1) * _STEP_RATIO
            self._write(f"{name}: {ratio:.0%}")

    def end(self, name: str, *, ready: bool) -> None:
        """Say how long it took."""
        with self._lock:
            seconds = time.monotonic() - self._fetches.pop(name).began_s
            self._write(f"{name}: {'ready' if ready else 'not fetched'} after {seconds:.1f} s")

    def _write(self, line: str) -> None:
        self._out.write(line + "\n")
        self._out.flush()


class _Fetch:
    """Where one fetch stands."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.come_bytes = 0
        self.next_ratio = _STEP_RATIO
        self.began_s = time.monotonic()


class Bars:
    """Shows a bar per model with speed and time left, on a terminal."""

    def __init__(self, out: TextIO) -> None:
        """Draw on ``out``; nothing is drawn before the first fetch begins."""
        import rich.progress as show  # noqa: PLC0415
        from rich import console  # noqa: PLC0415 (only where there is a terminal)

        self._bars = show.Progress(
            show.TextColumn("{task.description}"),
            show.BarColumn(),
            show.DownloadColumn(),
            show.TransferSpeedColumn(),
            show.TimeRemainingColumn(),
            console=console.Console(file=out),
        )
        self._lock = threading.Lock()
        self._tasks: dict[str, TaskID] = {}

    def note(self, line: str) -> None:
        """Write the line above the bars."""
        self._bars.console.print(line, highlight=False, markup=False)

    def begin(self, name: str, total_bytes: int) -> None:
        """Add a bar."""
        with self._lock:
            if not self._tasks:
                self._bars.start()
            self._tasks[name] = self._bars.add_task(name, total=total_bytes)

    def advance(self, name: str, count_bytes: int) -> None:
        """Move the bar."""
        self._bars.advance(self._tasks[name], count_bytes)

    def end(self, name: str, *, ready: bool) -> None:
        """Fill the bar, or leave it where it stands; with the last one the drawing ends."""
        with self._lock:
            task = self._tasks.pop(name)
            if ready:
                total = next(each.total for each in self._bars.tasks if each.id == task)
                self._bars.update(task, completed=total)
            self._bars.stop_task(task)
            if not self._tasks:
                self._bars.stop()


def progress_on(out: TextIO) -> Progress:
    """Return bars where ``out`` is a terminal, lines where it is not."""
    return Bars(out) if out.isatty() else Lines(out)
