"""Which local models wake and which sleep, for the demand there is.

A local model is worth its memory while it is used. ``provision`` is asked about once a second and
whenever somebody waits for a model, and answers with what to do now:

1. *Wanted* first: a model somebody waits for starts, if it fits; if it does not, those idle
   longest sleep to make room, but only when that is enough.
2. *Warm-up*: models that never ran start one at a time, smallest first, so that the first answer
   comes early; they never push another one out, and nothing is warmed up while heat is critical.
3. *Replicas*: as many of a model stay up as its rate of calls needs (``decide.herds``); one that
   is missing wakes before anybody waits for it, one that is not needed gets no more work and
   sleeps once the joules of waking it again are less than those of staying up.
4. *Idle*: a model unused for ``idle_s`` sleeps, longest idle first; one always stays warm. What
   has gone to sleep wakes only on demand, so nothing flaps. On battery, with the power budget
   used up or memory short, nothing is warmed up and a quarter of that idleness is enough. Where
   it is known what waking costs and sleeping saves, nothing sleeps before that pays.

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
    "Traits",
    "Use",
    "obstacle",
    "provision",
]

from collections.abc import Iterable
from math import isfinite

from metabolic.core.fleet import Situation, State
from metabolic.decide.herds import Herd, herds
from metabolic.decide.impacts import Keeping, keeping
from metabolic.decide.inventory import (
    Action,
    Demand,
    Inventory,
    Item,
    Obstacle,
    Row,
    Rules,
    Sleep,
    Start,
    Stop,
    Traits,
    Use,
    room_of,
    rows_of,
)

_UP: frozenset[State] = frozenset({"warm", "starting"})
_DOWN: frozenset[State] = frozenset({"absent", "stopped"})
_COLD: frozenset[State] = frozenset({"stopped", "asleep", "failed"})
_SLEEP_RETRY = 10.0
"""A model that could not be put to sleep is left alone for so many times ``retry_s``."""

_Rooms = dict[str, int | None]


def provision(
    inventory: Inventory, demand: Demand, situation: Situation, policy: Rules
) -> tuple[Action, ...]:
    """Return what to do now, sleeps before the starts they make room for."""
    rows = rows_of(inventory, demand, situation)
    retired = _retire(rows)
    rows = tuple(row for row in rows if not row.item.retired)
    rooms = {
        name: room_of(inventory, situation, policy, name)
        for name in {row.item.room for row in rows}
    }
    at_s = situation.at_s
    wanted = _serve(rows, rooms, at_s, policy)
    if wanted:
        return (*retired, *wanted)
    keep, found = keeping(situation.metabolic), herds(rows)
    rest = _rest(rows, rooms, policy, keep, found, at_s)
    wake = _wake(rows, rooms, at_s, policy, found)
    if wake or any(row.item.state == "starting" for row in rows):
        return (*retired, *wake, *rest)
    return (*retired, *_warm_up(rows, rooms, situation, policy, keep), *rest)


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
    room = room_of(inventory, situation, policy, item.room)
    need = item.memory_bytes or 0
    if room is None or need <= room:
        return None
    most = room + sum(
        other.memory_bytes or 0
        for other in inventory.items
        if other.state in _UP and other.room == item.room
    )
    why = (
        f"it needs {need / 1e6:.0f} MB, {max(room, 0) / 1e6:.0f} MB are free"
        f" above a reserve of {policy.reserve_bytes / 1e6:.0f} MB"
    )
    return Obstacle(why=why, final=need > most)


def _retire(rows: Iterable[Row]) -> tuple[Stop, ...]:
    """Stop what left the fleet, once nobody is being answered by it."""
    return tuple(
        Stop(deployment=row.name, why="it left the fleet")
        for row in rows
        if row.item.retired and not row.busy and row.item.state not in _DOWN
    )


def _serve(rows: tuple[Row, ...], rooms: _Rooms, at_s: float, policy: Rules) -> tuple[Action, ...]:
    """Start what is waited for, first come first served, making room where that is enough."""
    waiting = sorted(
        (row for row in rows if row.wanted_since_s is not None and _startable(row, at_s, policy)),
        key=lambda row: (row.wanted_since_s or 0.0, row.item.order, row.name),
    )
    left = dict(rooms)
    spare = tuple(_spare(rows, policy, at_s))
    actions: list[Action] = []
    for row in waiting:
        start, room = Start(deployment=row.name, why="somebody waits for it"), left[row.item.room]
        if room is None:
            actions.append(start)
            continue
        near = tuple(other for other in spare if other.item.room == row.item.room)
        out = _victims(near, row.bytes - room)
        if out is None:
            continue
        spare = tuple(other for other in spare if other not in out)
        left[row.item.room] = room + sum(other.bytes for other in out) - row.bytes
        actions += (Sleep(deployment=other.name, why=f"{row.name} needs room") for other in out)
        actions.append(start)
    return tuple(actions)


def _startable(row: Row, at_s: float, policy: Rules) -> bool:
    """Say whether it could be started now, memory aside."""
    return row.item.state in _COLD and not _resting(row.item, at_s, policy)


def _resting(item: Item, at_s: float, policy: Rules) -> bool:
    """Say whether a start failed so recently that another would be in vain."""
    return item.failed_start_s is not None and at_s - item.failed_start_s < policy.retry_s


def _refused(item: Item, at_s: float, policy: Rules) -> bool:
    """Say whether it could not be put to sleep a while ago."""
    failed_s = item.failed_sleep_s
    return failed_s is not None and at_s - failed_s < _SLEEP_RETRY * policy.retry_s


def _spare(rows: Iterable[Row], policy: Rules, at_s: float) -> list[Row]:
    """Return the warm models that may be pushed out, longest idle first, then largest."""
    spare = [
        row
        for row in rows
        if row.item.state == "warm"
        and not row.busy
        and row.wanted_since_s is None
        and row.item.memory_bytes != 0
        and row.idle_s >= policy.dwell_s
        and not _refused(row.item, at_s, policy)
    ]
    return sorted(spare, key=lambda row: (-row.idle_s, -row.bytes, row.name))


def _victims(spare: tuple[Row, ...], missing_bytes: int) -> tuple[Row, ...] | None:
    """Return who must sleep for ``missing_bytes``, nobody in vain; ``None``: it is not enough."""
    chosen: list[Row] = []
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


def _fits(row: Row, rooms: _Rooms) -> bool:
    """Say whether it fits into what is free; unknown memory holds it."""
    room = rooms[row.item.room]
    return room is None or row.bytes <= room


def _wake(
    rows: tuple[Row, ...], rooms: _Rooms, at_s: float, policy: Rules, found: tuple[Herd, ...]
) -> tuple[Start, ...]:
    """Wake replicas that the rate of calls needs, where they fit beside what is up."""
    by_name, left = {row.name: row for row in rows}, dict(rooms)
    starts: list[Start] = []
    for herd in found:
        for row in (by_name[name] for name in herd.moves.wake):
            if not (_startable(row, at_s, policy) and _fits(row, left)):
                continue
            room = left[row.item.room]
            left[row.item.room] = None if room is None else room - row.bytes
            why = f"{herd.per_s:.2g} calls/s need {herd.wanted} awake"
            starts.append(Start(deployment=row.name, why=why))
    return tuple(starts)


def _warm_up(
    rows: tuple[Row, ...],
    rooms: _Rooms,
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
        if row.item.warm_up and _startable(row, situation.at_s, policy) and _fits(row, rooms)
    ]
    if not any(row.item.state == "warm" for row in rows) and startable:
        return (Start(deployment=startable[0].name, why="nothing is warm"),)
    if not keep.warm_up:
        return ()
    fresh = [row for row in startable if row.item.state != "asleep"]
    return tuple(Start(deployment=row.name, why="warm-up") for row in fresh[:1])


def _rest(
    rows: tuple[Row, ...],
    rooms: _Rooms,
    policy: Rules,
    keep: Keeping,
    found: tuple[Herd, ...],
    at_s: float,
) -> tuple[Sleep, ...]:
    """Put to sleep what is idle too long, or what memory cannot hold; one stays warm."""
    spare = _spare(rows, policy, at_s)
    reasons = ((row, _why_sleep(row, policy, keep, found)) for row in spare)
    due = [(row, why) for row, why in reasons if why is not None]
    short = {name for name, room in rooms.items() if _short(room, policy)}
    if short and not any(row.item.room in short for row, _ in due):
        due += [(row, "memory is short") for row in spare if row.item.room in short][:1]
    warm = sum(row.item.state == "warm" for row in rows)
    return tuple(Sleep(deployment=row.name, why=why) for row, why in due[: max(0, warm - 1)])


def _short(room: int | None, policy: Rules) -> bool:
    """Say whether a room is overdrawn by half of the reserve."""
    return room is not None and room < -policy.reserve_bytes // 2


def _why_sleep(row: Row, policy: Rules, keep: Keeping, found: tuple[Herd, ...]) -> str | None:
    """Return why a spare model should sleep; ``None``: it should stay up.

    A replica beyond those needed sleeps as soon as that pays. Any other is left up for its idle
    time, and never sleeps before it pays.
    """
    herd = next((one for one in found if row.name in one.members), None)
    pays_s = row.item.traits.pays_after_s()
    if pays_s is not None and not isfinite(pays_s) and not keep.why:
        return None
    if herd is not None and herd.wanted > 0 and row.name not in herd.moves.leave:
        return None
    if herd is not None and row.name in herd.moves.sleep and pays_s is not None:
        return f"{herd.wanted} of {herd.awake} are enough, and sleep pays after {pays_s:.0f} s"
    bound_s = (row.item.idle_s or policy.idle_s) * keep.idle_share
    if pays_s is not None and isfinite(pays_s):
        bound_s = max(bound_s, pays_s)
    if row.idle_s < bound_s:
        return None
    return f"idle for {bound_s:.0f} s" + (f", and {keep.why}" if keep.why else "")
