"""Keeps local models warm while they are used: does what ``provision`` says.

Once a second, and whenever somebody waits or an engine changes, the keeper looks at its engines,
asks ``provision`` and starts or puts to sleep what it is told. Sleeps come first: a start that
needed their memory is asked for again once that memory is seen to be free.
"""

__all__ = ["Keeper"]

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Self

import msgspec

from metabolic.core.errors import EngineError
from metabolic.core.fleet import Deployment, Endpoint, Situation, State
from metabolic.core.ports import Clock, Engine
from metabolic.decide.herds import leaving
from metabolic.decide.provision import (
    Action,
    Demand,
    Inventory,
    Rules,
    Sleep,
    Start,
    Traits,
    obstacle,
    provision,
)
from metabolic.execute.track import Hint, Track
from metabolic.execute.waking import Wake, WakeMeter, Wakes

_PERIOD_S = 1.0
_ENSURE_S = 180.0
_LOOK_S = 5.0
"""How often engines that others may wake or stop are looked at."""
_LOG = logging.getLogger("metabolic.execute")


class Keeper:
    """Starts engines on demand and puts idle ones to sleep.

    ``engines`` maps deployment names to engines, ``deployments`` says what each takes (others are
    ignored). ``situation`` returns the machine now; ``free_bytes`` the free memory, ``None`` or
    absent: as the situation has it; ``rooms`` that of GPUs. ``hints`` say what is configured of
    those that may sleep, ``ability`` how many answers a second one gives in time; ``wakes`` keeps
    what waking takes, ``energy`` measures its joules. Use it as an async context manager, or
    ``open`` and ``aclose``; it stops no engine, whoever made them does.
    """

    def __init__(  # noqa: PLR0913 - the shell is where everything meets
        self,
        engines: Mapping[str, Engine],
        deployments: tuple[Deployment, ...],
        *,
        clock: Clock,
        situation: Callable[[], Situation],
        free_bytes: Callable[[], int | None] | None = None,
        rules: Rules | None = None,
        rooms: Callable[[], tuple[tuple[str, int], ...]] | None = None,
        hints: Mapping[str, Hint] | None = None,
        wakes: Wakes | None = None,
        energy: WakeMeter | None = None,
    ) -> None:
        """Take over ``engines``; nothing starts before ``open``."""
        self.ability: Callable[[str], float | None] = _unknown
        self.known, self._energy, self._rooms = wakes or Wakes(), energy, rooms
        self._leaving: frozenset[str] = frozenset()
        self.moves: dict[str, int] = {}
        hinted = hints or {}
        self._clock = clock
        self._situation = situation
        self._free_bytes = free_bytes
        self._rules = rules or Rules()
        ours = sorted((one for one in deployments if one.name in engines), key=_size)
        tracks = (
            Track(
                engines[one.name], one, order=order, at_s=clock.now_s(), hint=hinted.get(one.name)
            )
            for order, one in enumerate(ours)
        )
        self._tracks = {one.name: one for one in sorted(tracks, key=lambda one: one.name)}
        self._changed = asyncio.Event()
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        """Open it."""
        self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.aclose()

    def open(self) -> None:
        """Begin to keep: warm up, and look once a second. Needs a running event loop."""
        if self._loop is None:
            self._closed = False
            self._loop = asyncio.create_task(self._run(), name="keeper")

    async def aclose(self) -> None:
        """Stop keeping; who still waits in ``ensure`` is refused. Engines stay as they are."""
        self._closed = True
        tasks = [
            task
            for track in self._tracks.values()
            for task in (track.task, track.looking)
            if task is not None
        ]
        if self._loop is not None:
            tasks.append(self._loop)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._loop = None
        self._notify()

    def states(self) -> tuple[tuple[str, State], ...]:
        """Return where each local deployment stands now, by name."""
        return tuple((name, track.now()) for name, track in self._tracks.items())

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return where the warm engines listen."""
        found = (track.endpoint() for track in self._tracks.values())
        return tuple(one for one in found if one is not None)

    def wakes(self) -> Mapping[str, Wake]:
        """Return what starts take, of every engine that was started."""
        return self.known.known()

    def leaving(self) -> frozenset[str]:
        """Return the replicas that are to sleep soon and get no further work."""
        return self._leaving

    def traits(self) -> dict[str, Traits]:
        """Return what is known of each as one that may sleep."""
        return {name: self._traits(track) for name, track in self._tracks.items()}

    def error(self, deployment: str) -> str | None:
        """Return why the last start of ``deployment`` failed; ``None``: it did not."""
        track = self._tracks.get(deployment)
        return track.error if track is not None else None

    def note_use(self, deployment: str) -> None:
        """Remember that it is used now; a deployment that is not local is ignored."""
        track = self._tracks.get(deployment)
        if track is not None:
            track.last_used_s = self._clock.now_s()

    @contextmanager
    def using(self, deployment: str) -> Generator[None]:
        """Hold it awake: while a call is in flight it is never put to sleep."""
        track = self._tracks.get(deployment)
        if track is None:
            yield
            return
        track.in_flight += 1
        track.asked += 1
        try:
            yield
        finally:
            track.in_flight -= 1
            track.last_used_s = self._clock.now_s()

    def retire(self, deployment: str) -> None:
        """Stop it for good once its calls are done; it left the fleet."""
        track = self._tracks.get(deployment)
        if track is not None:
            track.retired = True
            self.poke()

    def poke(self, *_: object) -> None:
        """Look again now: an engine has changed. Takes and ignores any callback's arguments."""
        self._notify()
        self._wake.set()

    async def ensure(self, deployment: str, *, timeout_s: float | None = None) -> Endpoint:
        """Return where ``deployment`` listens, starting or waking it if need be.

        Raises:
            EngineError: it is not local, its start failed, it cannot fit, or it took longer than
                ``timeout_s`` (``None``: three minutes, or as its hand has it); the message says
                which.
        """
        track = self._tracks.get(deployment)
        if track is None:
            message = f"{deployment} is not a local deployment"
            raise EngineError(message)
        endpoint = track.endpoint()
        if endpoint is None:
            if timeout_s is None:
                timeout_s = max(_ENSURE_S, getattr(track.engine, "start_timeout_s", 0.0))
            endpoint = await self._wait_for(track, self._clock.monotonic_s() + timeout_s)
        track.last_used_s = self._clock.now_s()
        return endpoint

    async def _wait_for(self, track: Track, deadline_s: float) -> Endpoint:
        """Say that somebody waits, and wait until it is warm or hopeless."""
        failures = track.failures
        track.waiting += 1
        if track.wanted_since_s is None:
            track.wanted_since_s = self._clock.now_s()
        try:
            while True:
                self._check_open(track)
                self.tick()
                endpoint = track.endpoint()
                if endpoint is not None:
                    return endpoint
                if track.failures != failures:
                    raise EngineError(track.error or f"{track.name} did not start")
                self._check_hope(track, deadline_s)
                await self._changed.wait()
        finally:
            track.waiting -= 1
            if not track.waiting:
                track.wanted_since_s = None

    def _check_open(self, track: Track) -> None:
        """Raise ``EngineError`` when nobody would start it."""
        if self._closed or self._loop is None:
            message = f"{track.name} is not started: the keeper is closed"
            raise EngineError(message)

    def _check_hope(self, track: Track, deadline_s: float) -> None:
        """Raise ``EngineError`` when waiting on is in vain."""
        late = self._clock.monotonic_s() >= deadline_s
        inventory, situation = self._inventory(), self._now()
        block = obstacle(inventory, track.name, situation, self._rules)
        if block is not None and (late or block.final):
            cause = f" ({track.error})" if track.error else ""
            message = f"{track.name} cannot start: {block.why}{cause}"
            raise EngineError(message)
        if late:
            message = f"{track.name} was not ready in time; it is {track.now()}"
            raise EngineError(message)

    async def _run(self) -> None:
        """Look once a second, or when poked."""
        while True:
            self._wake.clear()
            self._look()
            self.tick()
            self._notify()
            sleep = asyncio.ensure_future(self._clock.sleep(_PERIOD_S))
            wake = asyncio.ensure_future(self._wake.wait())
            try:
                await asyncio.wait({sleep, wake}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleep.cancel()
                wake.cancel()

    def tick(self) -> tuple[Action, ...]:
        """Look, ask ``provision`` and begin what it says; return what was begun."""
        at_s = self._clock.now_s()
        for track in self._tracks.values():
            track.observe(at_s)
            track.count(at_s)
        moving = any(one.task is not None and not one.starting for one in self._tracks.values())
        if moving or self._closed or not self._tracks:
            return ()
        demand = Demand(uses=tuple(track.use() for track in self._tracks.values()))
        inventory, now = self._inventory(), self._now()
        self._leaving = leaving(inventory, demand, now)
        actions = provision(inventory, demand, now, self._rules)
        if any(not isinstance(action, Start) for action in actions):
            actions = tuple(action for action in actions if not isinstance(action, Start))
        return tuple(action for action in actions if self._begin(action))

    def _inventory(self) -> Inventory:
        """Return all engines and the free memory."""
        free = self._free_bytes() if self._free_bytes is not None else None
        return Inventory(
            items=tuple(track.item(self._traits(track)) for track in self._tracks.values()),
            free_bytes=free,
            rooms=self._rooms() if self._rooms is not None else (),
        )

    def _traits(self, track: Track) -> Traits:
        """Return what is known of one as of now."""
        name = track.name
        return track.traits(self.known.of(name), self.known.standing(name), self.ability(name))

    def _look(self) -> None:
        """Look at engines that others may have woken or stopped, side by side, now and then."""
        at_s = self._clock.now_s()
        for track in self._tracks.values():
            look = getattr(track.engine, "look", None)
            busy = track.task is not None or (track.looking and not track.looking.done())
            if look is None or busy or at_s < track.look_due_s:
                continue
            track.look_due_s = at_s + _LOOK_S
            looking = track.looking = asyncio.ensure_future(look())
            looking.add_done_callback(partial(self._looked, track))

    def _looked(self, track: Track, _: object) -> None:
        """Look again at everything where one look has changed something."""
        if track.now() != track.state:
            self.poke()

    def _now(self) -> Situation:
        """Return the situation as of this moment."""
        return msgspec.structs.replace(self._situation(), at_s=self._clock.now_s())

    def _begin(self, action: Action) -> bool:
        """Begin one action; an engine that is being acted on is left alone."""
        track = self._tracks[action.deployment]
        if track.task is not None:
            return False
        kind = type(action).__name__.lower()
        self.moves[f"{track.name}.{kind}"] = self.moves.get(f"{track.name}.{kind}", 0) + 1
        _LOG.info(
            "engine %s: %s",
            track.name,
            kind,
            extra={"deployment": track.name, "why": action.why},
        )
        track.task = asyncio.ensure_future(self._work(track, action))
        track.observe(self._clock.now_s())
        track.task.add_done_callback(lambda task: self._done(track, task))
        return True

    def _work(self, track: Track, action: Action) -> Coroutine[object, object, object]:
        """Return what an action does."""
        match action:
            case Start():
                track.starting, track.started_s = True, self._clock.now_s()
                if self._energy is not None:
                    self._energy.began(track.name)
                return track.engine.start()
            case Sleep():
                return track.engine.sleep()
            case _:
                return track.engine.stop()

    def _done(self, track: Track, task: asyncio.Task[object]) -> None:
        """Note how an action ended, and look again."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            track.error = str(error) or type(error).__name__
            track.failures += 1
            _LOG.warning("engine %s: %s", track.name, track.error, extra={"deployment": track.name})
            if track.starting:
                track.failed_start_s = self._clock.now_s()
            else:
                track.failed_sleep_s = self._clock.now_s()
        elif track.starting and not task.cancelled():
            track.error = None
            self._woke(track)
        track.task, track.starting = None, False
        track.observe(self._clock.now_s())
        self.poke()

    def _woke(self, track: Track) -> None:
        """Note what a start took, if it was one."""
        seconds, joules = track.took_s(self._clock.now_s()), None
        if self._energy is not None:
            endpoint, traits = track.engine.endpoint, track.hint.traits
            pid = None if endpoint is None else endpoint.pid
            joules = self._energy.ended(track.name, pid=pid, asleep_w=traits.asleep_w)
        if seconds is not None:
            self.known.woke(track.name, seconds, joules)

    def _notify(self) -> None:
        """Wake everybody who waits in ``ensure``."""
        self._changed.set()
        self._changed = asyncio.Event()


def _size(deployment: Deployment) -> tuple[int, str]:
    """Return what deployments are warmed up by: memory, else file, else parameters."""
    model = deployment.model
    size = deployment.memory_bytes or model.file_bytes or model.total_parameters
    return (size or 0, deployment.name)


def _unknown(_: str) -> float | None:
    """Return ``None``: nobody knows yet what it can do."""
    return None
