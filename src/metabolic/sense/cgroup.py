"""What the control groups above this process still allow it to use of memory.

Version 2: ``memory.max`` and ``memory.current``; version 1: ``memory.limit_in_bytes`` and
``memory.usage_in_bytes``. A limit may sit on any ancestor, so all are read. The working set is
usage less inactive file pages. Source: the kernel's cgroup documentation; Kubernetes uses the
same working set for its evictions.
"""

__all__ = ["MemoryGroup"]

from msgspec import Struct

from metabolic.sense.files import Folder, KernelFile

_NO_LIMIT = 1 << 60
"""Version 1 writes a limit near 2**63 where there is none."""


class _Level(Struct, frozen=True, kw_only=True):
    """One group that has a limit."""

    limit_bytes: int
    usage: KernelFile
    stat: KernelFile
    inactive_key: bytes


class MemoryGroup:
    """The memory groups of this process that have a limit, found once."""

    def __init__(self, root: str) -> None:
        """Find them."""
        self._levels = _levels(root)

    def read(self) -> tuple[float | None, float | None]:
        """Return the least limit and what is least left, in bytes; ``None`` without a limit.

        Of a group whose usage cannot be read no more than its limit is left.
        """
        limit: float | None = None
        left: float | None = None
        for level in self._levels:
            limit = level.limit_bytes if limit is None else min(limit, level.limit_bytes)
            usage = level.usage.number() or 0
            used = max(0, usage - _stat(level.stat, level.inactive_key))
            free = max(0, level.limit_bytes - used)
            left = free if left is None else min(left, free)
        return limit, left

    def close(self) -> None:
        """Close all files."""
        for level in self._levels:
            level.usage.close()
            level.stat.close()


def _stat(file: KernelFile, key: bytes) -> int:
    """Return one line of ``memory.stat``; 0 if it is not there, which errs to the safe side."""
    for line in (file.raw() or b"").splitlines():
        name, _, value = line.partition(b" ")
        if name == key and value.isdigit():
            return int(value)
    return 0


def _levels(root: str) -> tuple[_Level, ...]:
    """Return every group from ours up to the root that has a limit."""
    paths = _paths(Folder(root, "proc/self").text("cgroup") or "")
    levels: list[_Level] = []
    if "" in paths:
        base = Folder(root, "sys/fs/cgroup")
        levels += _walk(base, paths[""], ("memory.max", "memory.current", b"inactive_file"))
    if "memory" in paths:
        base = Folder(root, "sys/fs/cgroup/memory")
        names = "memory.limit_in_bytes", "memory.usage_in_bytes", b"total_inactive_file"
        levels += _walk(base, paths["memory"], names)
    return tuple(levels)


def _paths(text: str) -> dict[str, str]:
    """Return controller → path of ``/proc/self/cgroup``; version 2 is the controller ``""``."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        for controller in controllers.split(",") if colon else ():
            found[controller] = path
    return found


def _walk(base: Folder, path: str, names: tuple[str, str, bytes]) -> list[_Level]:
    """Return the limited groups of one hierarchy.

    In a container our own path may not exist below the mount; its root then is our group.
    """
    steps = [step for step in path.split("/") if step and step != ".."]
    levels: list[_Level] = []
    for count in range(len(steps), -1, -1):
        group = base.sub("/".join(steps[:count])) if count else base
        limit = group.number(names[0])
        if limit is not None and 0 < limit < _NO_LIMIT:
            usage, stat = group.file(names[1]), group.file("memory.stat")
            levels.append(_Level(limit_bytes=limit, usage=usage, stat=stat, inactive_key=names[2]))
    return levels
