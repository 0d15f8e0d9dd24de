"""Small kernel files, read cheaply and without ever raising."""

__all__ = ["Folder", "KernelFile"]

import os

_SIZE = 8192
"""Enough for every file read here; ``/proc/stat`` is only read to its first line."""


class KernelFile:
    """One file of ``/sys`` or ``/proc``; unreadable is ``None``.

    With ``keep`` its descriptor stays open and is read with ``pread`` at 0, which makes the
    kernel produce the value anew.
    """

    __slots__ = ("_fd", "_keep", "path")

    def __init__(self, path: str, *, keep: bool) -> None:
        """Remember the path; nothing is opened yet."""
        self.path = path
        self._keep = keep
        self._fd: int | None = None

    def binary(self) -> bytes | None:
        """Return the content as it is; ``None`` if it cannot be read."""
        try:
            if self._fd is None:
                self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            data = os.pread(self._fd, _SIZE, 0)
        except OSError:
            self.close()
            return None
        if not self._keep:
            self.close()
        return data

    def raw(self) -> bytes | None:
        """Return the content without padding (recordings may end in NULs); ``None`` if empty."""
        data = self.binary()
        return None if data is None else data.strip(b"\0 \t\r\n") or None

    def text(self) -> str | None:
        """Return the content as text; ``None`` if it cannot be read or is empty."""
        data = self.raw()
        return None if data is None else data.decode("utf-8", "replace")

    def number(self) -> int | None:
        """Return the whole number the file begins with; ``None`` for ``N/A`` and the like."""
        data = self.raw()
        if data is None:
            return None
        try:
            return int(data.split(None, 1)[0])
        except ValueError:
            return None

    def close(self) -> None:
        """Give up the descriptor; a later read opens it again."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


class Folder:
    """A directory below a configurable root, where kernel files are found."""

    __slots__ = ("_keep", "_path")

    def __init__(self, path: str, inner: str = "", *, keep: bool | None = None) -> None:
        """Remember where; ``inner`` is relative to ``path``, which is the root unless ``keep``.

        ``keep``: whether files of it stay open; ``None`` keeps those of the real machine.
        """
        self._keep = os.path.normpath(path) == "/" if keep is None else keep
        self._path = f"{path.rstrip('/')}/{inner}" if inner else path

    def file(self, name: str) -> KernelFile:
        """Return a file of it, which may not exist."""
        return KernelFile(f"{self._path}/{name}", keep=self._keep)

    def number(self, name: str) -> int | None:
        """Read a number once."""
        return KernelFile(f"{self._path}/{name}", keep=False).number()

    def text(self, name: str) -> str | None:
        """Read a text once."""
        return KernelFile(f"{self._path}/{name}", keep=False).text()

    def exists(self, name: str) -> bool:
        """Say whether a file can be read at all."""
        return os.access(f"{self._path}/{name}", os.R_OK)

    def denied(self, name: str) -> bool:
        """Say whether a file is there and may not be read."""
        path = f"{self._path}/{name}"
        return os.path.exists(path) and not os.access(path, os.R_OK)  # noqa: PTH110 - as above

    def names(self) -> tuple[str, ...]:
        """Return what is in it, sorted; empty when it cannot be listed."""
        try:
            with os.scandir(self._path) as entries:
                return tuple(sorted(entry.name for entry in entries))
        except OSError:
            return ()

    def sub(self, name: str) -> "Folder":
        """Return a directory in it."""
        return Folder(self._path, name, keep=self._keep)
