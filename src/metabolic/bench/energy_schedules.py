"""Do the shares add up? Random schedules through the product's own meters.

Each schedule mixes calls that begin, end, are cancelled or report nothing on two engines of a
processor and two of a GPU, below a node's meter, with counters that wrap, are lost for a while or
begin anew. What every meter read is added up beside it, by whole units of the counter, without
asking the code that is measured.
"""

__all__ = ["Conserved", "conserve"]

from random import Random

from msgspec import Struct

from metabolic.bench.energy_meter import UNIT_J, Clock, Counter, Rig
from metabolic.core.fleet import Deployment, Model
from metabolic.core.request import Usage

_STEPS = 40
_NAMES = ("cpu-a", "cpu-b", "gpu-a", "gpu-b")
_PIDS = {"cpu-a": 11, "cpu-b": 12}
_LONGEST_S, _STEP_S = 14.0, 3.0
_KINDS, _OFTEN = ("call", "end", "pass", "close", "lost", "reset"), (5, 4, 5, 5, 1, 1)


class Conserved(Struct, frozen=True, kw_only=True):
    """What all schedules came to; ``gap_j`` was read but could be charged to nobody."""

    schedules: int
    max_error_j: float
    energy_j: float
    unattributed_j: float
    idle_j: float
    gap_j: float
    calls: int
    gaps: int


class _Truth:
    """What one counter really read: units since the last reading, and in windows and gaps."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.pending = self.read = self.gap = self.gaps = 0
        self.broken = False

    def close(self) -> None:
        """A reading is taken now."""
        if self.counter.lost:
            return
        if self.broken:
            self.gap += self.pending
            self.gaps += 1
        else:
            self.read += self.pending
        self.pending, self.broken = 0, False


def _fleet() -> dict[str, Deployment]:
    """Return two deployments on each device."""
    return {
        name: Deployment(
            name=name,
            model=Model(id=name, tier="small", active_parameters=(1 + i) * 1_000_000_000),
            kind="local" if name in _PIDS else "pool",
            device="cpu" if name in _PIDS else "gpu0",
            prefill_tokens_per_s=90.0,
            decode_tokens_per_s=30.0 if i % 2 else None,
            active_w=4.0,
        )
        for i, name in enumerate(_NAMES)
    }


def conserve(schedules: int, *, seed: int) -> Conserved:
    """Run so many schedules and return the greatest error of any meter in any of them."""
    draw, fleet = Random(seed), _fleet()
    worst = energy_j = left_j = idle_j = gap_j = 0.0
    calls = gaps = 0
    for _ in range(schedules):
        rig, truths, begun = _schedule(draw, fleet)
        calls += begun
        for truth in truths:
            mine = [one for one in rig.windows if one.meter == truth.counter.name]
            shared_j = sum(share.energy_j for one in mine for share in one.shares)
            rest_j = sum(one.unattributed_j for one in mine)
            worst = max(worst, abs(shared_j + rest_j - truth.read * UNIT_J))
            gap_j += truth.gap * UNIT_J
            gaps += truth.gaps
            if truth.counter.domain != "node":
                energy_j += truth.read * UNIT_J
                left_j += rest_j
                idle_j += sum(share.idle_j for one in mine for share in one.shares)
    return Conserved(
        schedules=schedules,
        max_error_j=worst,
        energy_j=energy_j,
        unattributed_j=left_j,
        idle_j=idle_j,
        gap_j=gap_j,
        calls=calls,
        gaps=gaps,
    )


def _schedule(draw: Random, fleet: dict[str, Deployment]) -> tuple[Rig, list[_Truth], int]:
    """Run one schedule to its end."""
    clock = Clock()
    wraps = draw.randrange(1 << 24, 1 << 28)
    counters = (
        Counter("cpu", domain="package", clock=clock, range_units=wraps),
        Counter("gpu0", domain="gpu", clock=clock),
        Counter("node", domain="node", clock=clock),
    )
    rig = Rig(counters, fleet, clock)
    truths = [_Truth(one) for one in counters]
    live: list[str] = []
    begun, since_s = 0, 0.0
    for step in range(_STEPS):
        kind = draw.choices(_KINDS, _OFTEN)[0]
        if kind == "call":
            name = draw.choice(_NAMES)
            live.append(f"{draw.randrange(8)}/{step}-{name}")
            rig.began(live[-1], name, _PIDS.get(name), draw.randrange(2000))
            begun += 1
        elif kind == "end" and live:
            _end(rig, live.pop(draw.randrange(len(live))), draw)
        elif kind == "close":
            since_s = 0.0 if _close(rig, truths) else since_s
        elif kind in {"lost", "reset"}:
            _upset(draw.choice(truths), kind)
        elif since_s < _LONGEST_S - _STEP_S:
            since_s += _STEP_S
            _pass(rig, truths, draw)
    _close(rig, truths)
    _close(rig, truths)
    _pass(rig, truths, draw)
    for truth in truths:
        truth.close()
    rig.meters.close()
    return rig, truths, begun


def _upset(truth: _Truth, kind: str) -> None:
    """Lose a counter, find it again, or have it begin anew."""
    if kind == "lost":
        truth.counter.lost ^= True
    else:
        truth.counter.reset()
        truth.broken = True


def _close(rig: Rig, truths: list[_Truth]) -> bool:
    """Have every meter close its window; return whether all could. Lost ones are found again."""
    all_read = not any(truth.counter.lost for truth in truths)
    for truth in truths:
        truth.close()
    rig.meters.close_windows()
    for truth in truths:
        truth.counter.lost = False
    return all_read


def _end(rig: Rig, call: str, draw: Random) -> None:
    """End a call: with all its tokens, some of them, or none."""
    usage = Usage(
        input_tokens=draw.choice((None, draw.randrange(4000))),
        cached_tokens=draw.choice((None, draw.randrange(2000))),
        output_tokens=draw.choice((None, draw.randrange(2000))),
    )
    first_s = draw.choice((None, rig.clock.at_s - draw.random()))
    rig.ended(call, draw.choice((None, usage)), first_s)
    if draw.random() < 0.5:  # noqa: PLR2004 - the other half lingers
        rig.meters.finished(call.partition("/")[0])


def _pass(rig: Rig, truths: list[_Truth], draw: Random) -> None:
    """Let up to three seconds pass and joules flow."""
    seconds = draw.random() * _STEP_S
    rig.clock.at_s += seconds
    node = 0
    for truth in truths:
        units = draw.randrange(1 << 20)
        idle = int(units * draw.random())
        if truth.counter.domain == "node":
            units = node + draw.randrange(1 << 18)
        cpu_s = {pid: draw.random() * seconds for pid in _PIDS.values()}
        busy_s = sum(cpu_s.values()) + draw.random() * seconds
        truth.counter.spend(units, idle_units=idle, busy_s=busy_s, cpu_s=cpu_s)
        truth.pending += units
        node += units
