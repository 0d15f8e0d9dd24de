"""All local engines of a fleet: sized, started, watched, stopped.

The supervisor sizes each server by the memory that is free when it starts, gives it its threads,
brings it back when it dies and stops them all at the end. When a model runs is not its business:
``execute.keeper`` asks it to start and sleep as ``decide.provision`` says.
"""

__all__ = ["EngineInfo", "Launch", "Options", "Supervisor", "create", "free_bytes"]

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import msgspec
import psutil
from msgspec import Struct

from metabolic.core.errors import EngineError
from metabolic.core.fleet import Deployment, LaunchSpec, State
from metabolic.core.ports import Clock, Engine
from metabolic.core.speculation import Launch as Drafting
from metabolic.engines.sizing import Wish, least_bytes, needed_bytes, size, threads_for
from metabolic.engines.supervised import Backoff, OnChange, Supervised

_SHARE = 0.5
"""Of the free memory, the part one server may take for context it could do without."""

_SLOTS = 2


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How engines are sized and brought back; ``None`` leaves it to the supervisor.

    ``reserve_bytes`` stays free for everybody else. ``context_tokens`` is per slot.
    """

    reserve_bytes: int = 512 * 1024 * 1024
    threads: int | None = None
    slots: int | None = None
    context_tokens: int | None = None
    start_timeout_s: float = 120.0
    backoff: Backoff = Backoff()


class Launch(Struct, frozen=True, kw_only=True):
    """One local deployment: its model file and who makes its engine.

    ``model_path`` ``None``: the file is yet to come; until ``Supervisor.arrived`` the engine is
    ``absent``. ``slots`` and ``context_tokens`` override the supervisor's; ``context_tokens`` is
    per slot. ``speculation`` is how it drafts, ``extra_bytes`` the memory of that.
    """

    deployment: Deployment
    model_path: str | None
    make: Callable[[LaunchSpec], Engine]
    embeddings: bool = False
    slots: int | None = None
    context_tokens: int | None = None
    speculation: Drafting | None = None
    extra_bytes: int = 0


class EngineInfo(Struct, frozen=True, kw_only=True):
    """One engine as it stands; ``None`` is unknown or does not apply now.

    ``rss_bytes`` is resident memory, mapped model file included. ``restarts`` counts the times it
    came back from the dead. ``load_s`` is how long its last start took.
    """

    deployment: str
    state: State
    pid: int | None = None
    port: int | None = None
    rss_bytes: int | None = None
    context_tokens: int | None = None
    slots: int | None = None
    threads: int | None = None
    restarts: int = 0
    load_s: float | None = None
    reason: str | None = None


def create(
    options: Options,
    *,
    launches: tuple[Launch, ...],
    clock: Clock,
    on_change: OnChange | None = None,
) -> "Supervisor":
    """Return a supervisor of ``launches``; nothing is started."""
    return Supervisor(options, launches, clock=clock, on_change=on_change)


class Supervisor:
    """Owns the engines of a fleet. ``on_change`` hears of every change of state."""

    def __init__(
        self,
        options: Options,
        launches: tuple[Launch, ...],
        *,
        clock: Clock,
        on_change: OnChange | None = None,
        free: Callable[[], int | None] | None = None,
    ) -> None:
        """Take over ``launches``; ``free`` reads free memory in bytes, ``None`` is unknown."""
        self._options = options
        self._free = free or free_bytes
        self._launches = {launch.deployment.name: launch for launch in launches}
        self._engines = {
            name: Supervised(
                name,
                make=launch.make,
                launch=lambda name=name: self._size(name),
                clock=clock,
                backoff=options.backoff,
                on_change=on_change or _ignore,
                present=launch.model_path is not None,
            )
            for name, launch in self._launches.items()
        }

    @property
    def engines(self) -> Mapping[str, Engine]:
        """Return the engines by deployment, each of which comes back when it dies."""
        return MappingProxyType(self._engines)

    def arrived(self, deployment: str, model_path: str) -> None:
        """Note that the model file of ``deployment`` is there; it may start from now on."""
        launch = self._launches[deployment]
        self._launches[deployment] = msgspec.structs.replace(launch, model_path=model_path)
        self._engines[deployment].arrive()

    def least_bytes(self, deployment: str) -> int | None:
        """Return the least memory ``deployment`` can start in; ``None`` is unknown."""
        launch = self._launches[deployment]
        least = least_bytes(launch.deployment.model, self._wish(launch))
        return None if least is None else least + launch.extra_bytes

    async def start_all(self) -> tuple[tuple[str, str], ...]:
        """Start all, smallest first, one after the other; return those that failed, and why."""
        failed: list[tuple[str, str]] = []
        for name in sorted(self._engines, key=lambda name: (self.least_bytes(name) or 0, name)):
            try:
                await self._engines[name].start()
            except EngineError as exc:
                failed.append((name, str(exc)))
        return tuple(failed)

    async def stop_all(self) -> None:
        """Stop all at once, also those that are starting or coming back.

        Raises:
            EngineError: some could not be stopped; the others were.
        """
        engines = self._engines.values()
        results = await asyncio.gather(*(one.stop() for one in engines), return_exceptions=True)
        faults = [
            f"{one.deployment}: {result}"
            for one, result in zip(engines, results, strict=True)
            if isinstance(result, BaseException)
        ]
        if faults:
            message = f"not stopped: {'; '.join(faults)}"
            raise EngineError(message)

    def info(self) -> tuple[EngineInfo, ...]:
        """Return every engine as it stands, by name. Reads the process table."""
        return tuple(_info(self._engines[name]) for name in sorted(self._engines))

    def _wish(self, launch: Launch) -> Wish:
        """Return what a server should have if memory allows."""
        options = self._options
        context = launch.context_tokens or options.context_tokens
        slots = launch.slots or options.slots or _SLOTS
        return Wish(slots=slots) if context is None else Wish(slots=slots, context_tokens=context)

    def _size(self, name: str) -> LaunchSpec:
        """Return what to start ``name`` with now.

        Raises:
            EngineError: it does not fit into free memory.
        """
        launch, options = self._launches[name], self._options
        model, wish = launch.deployment.model, self._wish(launch)
        spec = LaunchSpec(
            deployment=name,
            model_path=launch.model_path or "",
            threads=options.threads or threads_for(hot=len(self._launches), cores=_cores()),
            embeddings=launch.embeddings,
            start_timeout_s=options.start_timeout_s,
            speculation=launch.speculation,
        )
        room = self._room(name)
        modest = None if room is None else int(room * _SHARE)
        sized = size(spec, model, room_bytes=modest, wish=wish)
        sized = sized or size(spec, model, room_bytes=room, wish=wish)
        if sized is None:
            need, free = (self.least_bytes(name) or 0) / 1e6, max(0, room or 0) / 1e6
            message = (
                f"{name} does not fit: it needs {need:.0f} MB, {free:.0f} MB are free"
                f" above a reserve of {options.reserve_bytes / 1e6:.0f} MB"
            )
            raise EngineError(message)
        return sized

    def _room(self, name: str) -> int | None:
        """Return the memory ``name`` may take: free, less the reserve, less others' due.

        Servers that are starting have yet to take theirs. Those that never ran are left the
        least they need, unless nothing would then be left for this one.
        """
        free = self._free()
        if free is None:
            return None
        others = [other for other in self._engines if other != name]
        pending = sum(self._pending(other) for other in others)
        room = free - self._options.reserve_bytes - pending
        due = sum(
            self.least_bytes(other) or 0
            for other in others
            if self._engines[other].state in {"stopped", "absent"}
        )
        room = max(room - due, min(room, self.least_bytes(name) or 0))
        return room - self._launches[name].extra_bytes

    def _pending(self, name: str) -> int:
        """Return what ``name`` is about to take: nothing unless it is starting."""
        engine = self._engines[name]
        if engine.state != "starting" or engine.spec is None:
            return 0
        spec, model = engine.spec, self._launches[name].deployment.model
        return needed_bytes(model, context_tokens=spec.context_tokens, slots=spec.slots) or 0


def free_bytes(*, cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return the memory that can be had without swapping, in bytes; ``None``: unreadable.

    In a container with a limit it is what the limit leaves: page cache counts as free there too.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst, memory.max, memory.current.
    """
    try:
        available = int(psutil.virtual_memory().available)
    except OSError:
        return None
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
        rows = dict(row.split() for row in (cgroup / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no limit ("max"), or no such files
        return available
    return max(0, min(available, limit - used + int(rows.get("inactive_file", "0"))))


def _cores() -> int:
    """Return the physical cores this process may use, one at least."""
    physical = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        physical = min(physical, len(os.sched_getaffinity(0)))
    return max(1, physical)


def _info(engine: Supervised) -> EngineInfo:
    """Return one engine as it stands."""
    endpoint, spec = engine.endpoint, engine.spec
    pid = endpoint.pid if endpoint is not None else None
    return EngineInfo(
        deployment=engine.deployment,
        state=engine.state,
        pid=pid,
        port=urlsplit(endpoint.base_url).port if endpoint is not None else None,
        rss_bytes=_rss_bytes(pid),
        context_tokens=spec.context_tokens if spec is not None else None,
        slots=spec.slots if spec is not None else None,
        threads=spec.threads if spec is not None else None,
        restarts=engine.restarts,
        load_s=engine.load_s,
        reason=engine.reason,
    )


def _rss_bytes(pid: int | None) -> int | None:
    """Return the resident memory of a process; ``None`` when there is none."""
    if pid is None:
        return None
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def _ignore(deployment: str, state: State, reason: str | None) -> None:
    """Let a change pass."""
