"""What ``provision`` is told of local models, and what it answers.

An *item* is a model and where it stands, a *use* how it is used; a *row* is both as of now.
Memory comes in rooms: this machine's, and those of GPUs.
"""

__all__ = [
    "Action",
    "Demand",
    "Inventory",
    "Item",
    "Obstacle",
    "Row",
    "Rules",
    "Sleep",
    "Start",
    "Stop",
    "Traits",
    "Use",
    "room_of",
    "rows_of",
]

from math import inf

from msgspec import Struct

from metabolic.core.fleet import Situation, State


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


class Traits(Struct, frozen=True, kw_only=True):
    """What is known of a model as one that may sleep; ``None`` is unknown.

    ``group`` is shared by replicas of one model; at least ``least`` of a group stay awake. Each
    answers ``rate_per_s`` in time. ``idle_w`` and ``asleep_w`` are drawn awake with nothing to do
    and asleep; ``wake_s`` and ``wake_j`` is what waking takes, above what it draws asleep.
    """

    group: str = ""
    least: int = 0
    rate_per_s: float | None = None
    idle_w: float | None = None
    asleep_w: float | None = None
    wake_s: float | None = None
    wake_j: float | None = None

    def pays_after_s(self) -> float | None:
        """Return the idle time from which sleeping draws less than staying up; else ``None``.

        Infinite where sleep saves nothing.
        """
        if self.idle_w is None or self.asleep_w is None or self.wake_j is None:
            return None
        saved_w = self.idle_w - self.asleep_w
        return self.wake_j / saved_w if saved_w > 0 else inf


class Item(Struct, frozen=True, kw_only=True):
    """One local model: where it stands since ``since_s`` and what it takes.

    ``memory_bytes``: ``None`` is unknown (it may start), 0 is nothing (it never need sleep).
    ``failed_start_s`` is when a start last failed, ``None`` once it was warm again;
    ``failed_sleep_s`` likewise. ``order`` is its place in the warm-up, smallest first.
    ``retired``: it left the fleet.

    ``room`` names the memory it takes from, ``""`` this machine's. ``warm_up``: it may be started
    before anybody asks for it. ``idle_s`` takes the place of the rules' own. ``traits`` is what is
    known of it as one that may sleep.
    """

    deployment: str
    state: State
    since_s: float
    failed_start_s: float | None = None
    memory_bytes: int | None = None
    failed_sleep_s: float | None = None
    order: int = 0
    retired: bool = False
    room: str = ""
    warm_up: bool = True
    idle_s: float | None = None
    traits: Traits = Traits()


class Inventory(Struct, frozen=True, kw_only=True):
    """All local models and the free memory; ``None`` is unknown.

    ``rooms`` are free bytes of other memories by name: those of GPUs.
    """

    items: tuple[Item, ...]
    free_bytes: int | None = None
    rooms: tuple[tuple[str, int], ...] = ()


class Use(Struct, frozen=True, kw_only=True):
    """How one model is used: last use, calls in flight, and since when somebody waits for it.

    ``per_s`` is the rate of calls it gets; ``None`` is unknown.
    """

    deployment: str
    last_used_s: float | None = None
    in_flight: int = 0
    wanted_since_s: float | None = None
    per_s: float | None = None


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


class Row(Struct, frozen=True, kw_only=True):
    """An item with its use, as of now."""

    item: Item
    idle_s: float
    busy: bool
    wanted_since_s: float | None
    per_s: float | None = None

    @property
    def name(self) -> str:
        """Return its name."""
        return self.item.deployment

    @property
    def bytes(self) -> int:
        """Return what it takes; unknown is nothing."""
        return self.item.memory_bytes or 0


def rows_of(inventory: Inventory, demand: Demand, situation: Situation) -> tuple[Row, ...]:
    """Join items, uses and load, in an order that does not depend on theirs."""
    uses = {use.deployment: use for use in demand.uses}
    calls = {load.deployment: load.running + load.waiting for load in situation.load}
    ordered = sorted(inventory.items, key=lambda item: (item.order, item.deployment))
    return tuple(
        _row(item, uses.get(item.deployment), calls.get(item.deployment, 0), situation.at_s)
        for item in ordered
    )


def _row(item: Item, use: Use | None, calls: int, at_s: float) -> Row:
    """Return one item as of now; it counts as used when it came into its state."""
    last_s = item.since_s
    if use is not None and use.last_used_s is not None:
        last_s = max(last_s, use.last_used_s)
    return Row(
        item=item,
        idle_s=max(0.0, at_s - last_s),
        busy=calls > 0 or (use is not None and use.in_flight > 0),
        wanted_since_s=use.wanted_since_s if use is not None else None,
        per_s=use.per_s if use is not None else None,
    )


def room_of(inventory: Inventory, situation: Situation, policy: Rules, room: str) -> int | None:
    """Return the bytes a start may take from a room; ``None`` when it cannot be read."""
    free = inventory.free_bytes if not room else dict(inventory.rooms).get(room)
    if free is None:
        read = situation.metabolic.memory_available_bytes
        if room or read is None:
            return None
        free = int(read)
    pending = sum(
        item.memory_bytes or 0
        for item in inventory.items
        if item.state == "starting" and item.room == room
    )
    return free - pending - policy.reserve_bytes
