"""Which local models wake and which sleep, for the demand there is.

A local model is worth its memory while it is used. ``provision`` is asked about once a second and
whenever somebody waits for a model, and answers with what to do now:

1. *Wanted* first: a model somebody waits for starts, if it fits; if it does not, those idle
   longest sleep to make room, but only when that is enough.
2. *Warm-up*: models that never ran start one at a time, smallest first, so that the first answer
   comes early; they never push another one out, and nothing is warmed up while heat is critical.
3. *Idle*: a model unused for ``idle_s`` sleeps, longest idle first; one always stays warm. What
   has gone to sleep wakes only on demand, so nothing flaps. On battery, with the power budget
   used up or memory short, nothing is warmed up and a quarter of that idleness is enough.

Memory is what is free, less a reserve, less what engines that are starting have yet to take.
"""

__all__ = [
    "Action",
    "Demand",
    "Inventory",
    "Item",
    "Obstacle",
    "Rules",
    "Sleep",
    "Start",
    "Stop",
    "Use",
    "obstacle",
    "provision",
]

from collections.abc import Iterable

from msgspec import Struct

from metabolic.core.fleet import Situation, State
from metabolic.decide.impacts import Keeping, keeping

_UP: frozenset[State] = frozenset({"warm", "starting"})
_DOWN: frozenset[State] = frozenset({"absent", "stopped"})
_COLD: frozenset[State] = frozenset({"stopped", "asleep", "failed"})


class Start(Struct, frozen=True, kw_only=True, tag=True):
    """Start it, or wake it."""

    deployment: str
    why: str


class Sleep(Struct, frozen=True, kw_only=True, tag=True):
    """Free its memory; it may be woken."""

    deployment: str
    why: str


class Stop(Struct, frozen=True, kw_only=True, tag=True):
    """Stop it for good."""

    deployment: str
    why: str


Action = Start | Sleep | Stop


class Item(Struct, frozen=True, kw_only=True):
    """One local model: where it stands since ``since_s`` and what it takes.

    ``memory_bytes``: ``None`` is unknown (it may start), 0 is nothing (it never need sleep).
    ``failed_start_s`` is when a start last failed, ``None`` once it was warm again. ``order`` is
    its place in the warm-up, smallest first. ``retired``: it left the fleet.
    """

    deployment: str
    state: State
    since_s: float
    failed_start_s: float | None = None
    memory_bytes: int | None = None
    order: int = 0
    retired: bool = False


class Inventory(Struct, frozen=True, kw_only=True):
    """All local models and the free memory; ``free_bytes`` ``None`` is unknown."""

    items: tuple[Item, ...]
    free_bytes: int | None = None


class Use(Struct, frozen=True, kw_only=True):
    """How one model is used: last use, calls in flight, and since when somebody waits for it."""

    deployment: str
    last_used_s: float | None = None
    in_flight: int = 0
    wanted_since_s: float | None = None


class Demand(Struct, frozen=True, kw_only=True):
    """How all models are used; one without an entry is not."""

    uses: tuple[Use, ...] = ()


class Rules(Struct, frozen=True, kw_only=True):
    """The keeper's policy.

    ``idle_s``: unused this long, it sleeps. ``dwell_s``: used or woken more recently than this,
    it is not pushed out for another. ``retry_s``: after a failed start it is left alone this long.
    ``reserve_bytes``: memory that stays free for everybody else. ``warm_up``: start models before
    anybody asks for them.
    """

    idle_s: float = 900.0
    dwell_s: float = 10.0
    retry_s: float = 30.0
    reserve_bytes: int = 512 * 1024 * 1024
    warm_up: bool = True


class Obstacle(Struct, frozen=True, kw_only=True):
    """Why a model cannot start now; ``final``: waiting will not help."""

    why: str
    final: bool = False


class _Row(Struct, frozen=True, kw_only=True):
    """An item with its use, as of now."""

    item: Item
    idle_s: float
    busy: bool
    wanted_since_s: float | None

    @property
    def name(self) -> str:
        return self.item.deployment

    @property
    def bytes(self) -> int:
        return self.item.memory_bytes or 0


def provision(
    inventory: Inventory, demand: Demand, situation: Situation, policy: Rules
) -> tuple[Action, ...]:
    """Return what to do now, sleeps before the starts they make room for."""
    rows = _rows(inventory, demand, situation)
    retired = _retire(rows)
    rows = tuple(row for row in rows if not row.item.retired)
    room = _room(inventory, situation, policy)
    wanted = _serve(rows, room, situation.at_s, policy)
    if wanted:
        return (*retired, *wanted)
    keep = keeping(situation.metabolic)
    if any(row.item.state == "starting" for row in rows):
        return (*retired, *_rest(rows, room, policy, keep))
    start = _warm_up(rows, room, situation, policy, keep)
    return (*retired, *start, *_rest(rows, room, policy, keep))


def obstacle(
    inventory: Inventory, deployment: str, situation: Situation, policy: Rules
) -> Obstacle | None:
    """Return why ``deployment`` cannot start now; ``None``: nothing stands in its way."""
    item = next((item for item in inventory.items if item.deployment == deployment), None)
    if item is None or item.retired:
        return Obstacle(why="it is not a local model of this fleet", final=True)
    if item.state == "absent":
        return Obstacle(why="its model file is not there", final=True)
    if item.state in _UP:
        return None
    if _resting(item, situation.at_s, policy):
        return Obstacle(why="its last start failed a moment ago", final=True)
    room = _room(inventory, situation, policy)
    need = item.memory_bytes or 0
    if room is None or need <= room:
        return None
    most = room + sum(other.memory_bytes or 0 for other in inventory.items if other.state in _UP)
    why = (
        f"it needs {need / 1e6:.0f} MB, {max(room, 0) / 1e6:.0f} MB are free"
        f" above a reserve of {policy.reserve_bytes / 1e6:.0f} MB"
    )
    return Obstacle(why=why, final=need > most)


def _rows(inventory: Inventory, demand: Demand, situation: Situation) -> tuple[_Row, ...]:
    """Join items, uses and load, in an order that does not depend on theirs."""
    uses = {use.deployment: use for use in demand.uses}
    calls = {load.deployment: load.running + load.waiting for load in situation.load}
    ordered = sorted(inventory.items, key=lambda item: (item.order, item.deployment))
    return tuple(
        _row(item, uses.get(item.deployment), calls.get(item.deployment, 0), situation.at_s)
        for item in ordered
    )


def _row(item: Item, use: Use | None, calls: int, at_s: float) -> _Row:
    """Return one item as of now; it counts as used when it came into its state."""
    last_s = item.since_s
    if use is not None and use.last_used_s is not None:
        last_s = max(last_s, use.last_used_s)
    return _Row(
        item=item,
        idle_s=max(0.0, at_s - last_s),
        busy=calls > 0 or (use is not None and use.in_flight > 0),
        wanted_since_s=use.wanted_since_s if use is not None else None,
    )


def _room(inventory: Inventory, situation: Situation, policy: Rules) -> int | None:
    """Return the bytes a start may take; ``None`` when memory cannot be read."""
    free = inventory.free_bytes
    if free is None:
        read = situation.metabolic.memory_available_bytes
        if read is None:
            return None
        free = int(read)
    pending = sum(item.memory_bytes or 0 for item in inventory.items if item.state == "starting")
    return free - pending - policy.reserve_bytes


def _retire(rows: Iterable[_Row]) -> tuple[Stop, ...]:
    """Stop what left the fleet, once nobody is being answered by it."""
    return tuple(
        Stop(deployment=row.name, why="it left the fleet")
        for row in rows
        if row.item.retired and not row.busy and row.item.state not in _DOWN
    )


def _serve(
    rows: tuple[_Row, ...], room: int | None, at_s: float, policy: Rules
) -> tuple[Action, ...]:
    """Start what is waited for, first come first served, making room where that is enough."""
    waiting = sorted(
        (row for row in rows if row.wanted_since_s is not None and _startable(row, at_s, policy)),
        key=lambda row: (row.wanted_since_s or 0.0, row.item.order, row.name),
    )
    spare = tuple(_spare(rows, policy))
    actions: list[Action] = []
    for row in waiting:
        start = Start(deployment=row.name, why="somebody waits for it")
        if room is None:
            actions.append(start)
            continue
        out = _victims(spare, row.bytes - room)
        if out is None:
            continue
        spare = tuple(other for other in spare if other not in out)
        room += sum(other.bytes for other in out) - row.bytes
        actions += (Sleep(deployment=other.name, why=f"{row.name} needs room") for other in out)
        actions.append(start)
    return tuple(actions)


def _startable(row: _Row, at_s: float, policy: Rules) -> bool:
    """Say whether it could be started now, memory aside."""
    return row.item.state in _COLD and not _resting(row.item, at_s, policy)


def _resting(item: Item, at_s: float, policy: Rules) -> bool:
    """Say whether a start failed so recently that another would be in vain."""
    return item.failed_start_s is not None and at_s - item.failed_start_s < policy.retry_s


def _spare(rows: Iterable[_Row], policy: Rules) -> list[_Row]:
    """Return the warm models that may be pushed out, longest idle first, then largest."""
    spare = [
        row
        for row in rows
        if row.item.state == "warm"
        and not row.busy
        and row.wanted_since_s is None
        and row.bytes > 0
        and row.idle_s >= policy.dwell_s
    ]
    return sorted(spare, key=lambda row: (-row.idle_s, -row.bytes, row.name))


def _victims(spare: tuple[_Row, ...], missing_bytes: int) -> tuple[_Row, ...] | None:
    """Return who must sleep for ``missing_bytes``, nobody in vain; ``None``: it is not enough."""
    chosen: list[_Row] = []
    missing = missing_bytes
    for row in spare:
        if missing <= 0:
            break
        chosen.append(row)
        missing -= row.bytes
    if missing > 0:
        return None
    for row in tuple(chosen):
        if missing + row.bytes <= 0:
            chosen.remove(row)
            missing += row.bytes
    return tuple(chosen)


def _warm_up(
    rows: tuple[_Row, ...],
    room: int | None,
    situation: Situation,
    policy: Rules,
    keep: Keeping,
) -> tuple[Start, ...]:
    """Start the next model that never ran, or, when nothing is warm, any that fits."""
    if not policy.warm_up:
        return ()
    startable = [
        row
        for row in rows
        if _startable(row, situation.at_s, policy) and (room is None or row.bytes <= room)
    ]
    if not any(row.item.state == "warm" for row in rows) and startable:
        return (Start(deployment=startable[0].name, why="nothing is warm"),)
    if not keep.warm_up:
        return ()
    fresh = [row for row in startable if row.item.state != "asleep"]
    return tuple(Start(deployment=row.name, why="warm-up") for row in fresh[:1])


def _rest(
    rows: tuple[_Row, ...], room: int | None, policy: Rules, keep: Keeping
) -> tuple[Sleep, ...]:
    """Put to sleep what is idle too long, or what memory cannot hold; one stays warm."""
    short = room is not None and room < -policy.reserve_bytes // 2
    spare = _spare(rows, policy)
    idle_s = policy.idle_s * keep.idle_share
    due = [row for row in spare if row.idle_s >= idle_s]
    why = f"idle for {idle_s:.0f} s" + (f", and {keep.why}" if keep.why else "")
    if short and not due:
        due, why = spare[:1], "memory is short"
    warm = sum(row.item.state == "warm" for row in rows)
    return tuple(Sleep(deployment=row.name, why=why) for row in due[: max(0, warm - 1)])
