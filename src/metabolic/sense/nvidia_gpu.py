"""One NVIDIA GPU as any source reads it, and how its figures go into a state.

The library, the tool and the exporter give the same figures under other names; each becomes a
``Gpu`` in SI units, and what they mean is decided here once.

*Headroom.* Newer GPUs do not tell at what temperature they slow down, but a margin, *T.Limit*: the
distance of the sensor that limits (core or memory, each with its own limit) to the highest
operating temperature. It is not that limit minus the core's temperature (H100: 41 + 46 idle, 59 +
26 under load), so it is taken as given. The hardware slows down where the margin has fallen to
``slowdown_margin_c`` (-2 on H100, H200, L40S; 0 on RTX PRO 6000), so headroom is the difference.
Older GPUs, and newer ones with some drivers, give absolute thresholds: core and memory then each
have their own, and the nearer counts.

*Clocks.* Heat and a power brake mean throttling. A power cap does not: a GPU under load keeps its
power limit that way. Source: NVML API reference, nvmlClocksEventReasons; recorded captures.
"""

__all__ = ["Gpu", "held_by", "with_gpus"]

from math import isfinite

from msgspec import Struct

from metabolic.core.hardware import HardwareState, Origin, Reading
from metabolic.sense.merge import with_device

_CLOCK_BITS = (
    (0x20, "thermal"),
    (0x40, "thermal"),
    (0x80, "power_brake"),
    (0x04, "power_cap"),
    (0x200, "board_limit"),
    (0x400, "reliability"),
)
"""Source: nvml.h. The other bits (idle, application and display clocks, sync boost) are wishes."""

_HW_SLOWDOWN_BIT = 0x08
"""Set beside the thermal and the brake bit; alone, the driver does not say which it is."""

_THROTTLES = frozenset({"thermal", "power_brake", "hardware"})
_TEMPERATURES_C = (-40.0, 150.0)
_LIMITS_C = (40.0, 130.0)
_MARGINS_C = (-110.0, 150.0)
_MOST_W = 20_000.0
_MOST_BYTES = 1e14


class Gpu(Struct, frozen=True, kw_only=True):
    """What one source read of one GPU; ``None`` is not told.

    ``slowdown_c`` and ``highest_c`` are where the hardware slows down and the highest operating
    temperature; ``margin_c`` is T.Limit and ``slowdown_margin_c`` the T.Limit at which the
    hardware slows down. ``held`` is ``held_by`` of the clock event reasons. ``power_kind`` says
    what power it is: ``instant``, ``average``, ``usage`` (the driver's choice), with ``module``
    when it covers more than the GPU (Grace's processor too). ``energy_j`` counts since the
    source began and never falls; it was lost in between when ``energy_epoch`` differs.
    """

    name: str
    uuid: str = ""
    model: str = ""
    asleep: bool | None = None
    shared: bool | None = None
    temperature_c: float | None = None
    memory_c: float | None = None
    slowdown_c: float | None = None
    highest_c: float | None = None
    memory_highest_c: float | None = None
    margin_c: float | None = None
    slowdown_margin_c: float | None = None
    held: tuple[str, ...] | None = None
    power_w: float | None = None
    power_kind: str = "usage"
    power_limit_w: float | None = None
    energy_j: float | None = None
    energy_epoch: int = 0
    utilization_ratio: float | None = None
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None


def held_by(bits: int) -> tuple[str, ...]:
    """Return what holds the clocks, from NVML's bits.

    >>> held_by(0x48 | 0x4)
    ('thermal', 'power_cap')
    """
    found = tuple(dict.fromkeys(word for bit, word in _CLOCK_BITS if bits & bit))
    explained = "thermal" in found or "power_brake" in found
    return (*found, "hardware") if bits & _HW_SLOWDOWN_BIT and not explained else found


def with_gpus(
    state: HardwareState, gpus: tuple[Gpu, ...], *, source: str, age_s: float = 0.0
) -> HardwareState:
    """Return the state with what ``source`` read of each GPU, ``age_s`` ago."""
    for gpu in gpus:
        state = _with_gpu(state, gpu, source=source, age_s=age_s)
    return state


def _with_gpu(state: HardwareState, gpu: Gpu, *, source: str, age_s: float) -> HardwareState:
    """Return the state with one GPU; a figure that cannot be is left out."""

    def reading(
        value: float | None,
        bounds: tuple[float, float],
        detail: str = "",
        origin: Origin = "measured",
    ) -> Reading | None:
        if value is None or not isfinite(value) or not bounds[0] <= value <= bounds[1]:
            return None
        named = f"{source}:{detail}" if detail else source
        return Reading(value=value, origin=origin, source=named, age_s=age_s)

    limit = reading(gpu.slowdown_c, _LIMITS_C, "slowdown")
    room, basis = _headroom(gpu)
    total = reading(gpu.memory_total_bytes, (1.0, _MOST_BYTES))
    return with_device(
        state,
        gpu.name,
        kind="gpu",
        asleep=gpu.asleep,
        shared=gpu.shared,
        temperature_c=reading(gpu.temperature_c, _TEMPERATURES_C),
        limit_c=limit or reading(gpu.highest_c, _LIMITS_C, "highest"),
        headroom_c=reading(room, _MARGINS_C, basis, "derived"),
        throttled=None if gpu.held is None else not _THROTTLES.isdisjoint(gpu.held),
        clocks_held_by=None if gpu.held is None else "+".join(gpu.held) or "none",
        power_w=reading(gpu.power_w, (0.0, _MOST_W), gpu.power_kind),
        power_limit_w=reading(gpu.power_limit_w, (1.0, _MOST_W), "enforced"),
        energy_j=reading(gpu.energy_j, (0.0, float("inf")), "counter"),
        utilization_ratio=reading(gpu.utilization_ratio, (0.0, 1.0)),
        memory_used_bytes=reading(
            gpu.memory_used_bytes, (0.0, total.value if total else _MOST_BYTES)
        ),
        memory_total_bytes=total,
    )


def _headroom(gpu: Gpu) -> tuple[float | None, str]:
    """Return the distance to slowing down where the GPU itself tells it, and from what.

    Without a margin and without the memory's figures there is none: limit minus temperature says
    all there is.
    """
    if gpu.margin_c is not None:
        return gpu.margin_c - (gpu.slowdown_margin_c or 0.0), "margin"
    memory = _between(_limit(gpu.memory_highest_c), gpu.memory_c)
    core = _between(_limit(gpu.slowdown_c) or _limit(gpu.highest_c), gpu.temperature_c)
    if memory is None or core is None:
        return memory, "memory"
    return (memory, "memory") if memory < core else (core, "core")


def _limit(celsius: float | None) -> float | None:
    """Return a threshold if it can be one."""
    known = celsius is not None and _LIMITS_C[0] <= celsius <= _LIMITS_C[1]
    return celsius if known else None


def _between(limit: float | None, value: float | None) -> float | None:
    """Return how far a value is below its limit."""
    return None if limit is None or value is None else limit - value
