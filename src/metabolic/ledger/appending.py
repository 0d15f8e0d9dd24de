"""Adding whole lines to a file, or nothing."""

__all__ = ["append_lines"]

import os
from pathlib import Path


def append_lines(path: Path, data: bytes) -> int:
    """Write whole lines at the end of a file, for this user only; return its size then.

    A line that an earlier process left torn is ended first, so that it spoils only itself.

    Raises:
        OSError: the file cannot be written; it is then as it was before.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        before = os.fstat(descriptor).st_size
        if before and os.pread(descriptor, 1, before - 1) != b"\n":
            data = b"\n" + data
        _write_all(descriptor, data, before)
    finally:
        os.close(descriptor)
    return before + len(data)


def _write_all(descriptor: int, data: bytes, before: int) -> None:
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        os.ftruncate(descriptor, before)
        raise
