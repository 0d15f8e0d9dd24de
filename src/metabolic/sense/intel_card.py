"""One Intel GPU through sysfs: the hwmon of ``xe`` and ``i915``, and what throttles it.

The energy counters are a card's and its package's; the card's is preferred, as it holds the
other, but on some kernels it stays 0 and then counts for nothing. Power is what the counter
says. Only newer kernels tell at which temperature the card throttles (``crit``); ``max`` is no
such limit (a B580 says 60 C). How much memory is used no file tells.
Source: the kernel's ABI documentation of the hwmon of xe and i915, and of xe's GT throttling.
"""

__all__ = ["ANY_LIMIT_W", "IntelCard", "intel_cards"]

from msgspec import Struct

from metabolic.core.hardware import Reading
from metabolic.core.obstacle import Obstacle
from metabolic.core.units import j_from_microjoules, w_from_microwatts
from metabolic.sense.cards import Fields
from metabolic.sense.counter import MeanPower, Unwrapped
from metabolic.sense.drm import Card, cards
from metabolic.sense.files import Folder, KernelFile
from metabolic.sense.supply import Supply
from metabolic.sense.thermometer import nearest, of_chip

VENDOR = "0x8086"
ANY_LIMIT_W = 1_500.0
"""More than any Intel accelerator of 2026 draws."""

_COUNTERS = ("card", "pkg", "")
"""Labels of energy counters, best first; i915's has none."""

_LIMITS = ("power1_cap", "power1_max", "power2_cap", "power2_max")
_HEAT = ("thermal", "prochot", "ratl", "vr_thermalert")
_POWER = ("pl1", "pl2", "pl4", "psys", "iccmax", "vr_tdc", "pwrbrk")


class _Counter(Struct, frozen=True):
    """One energy counter."""

    label: str
    file: KernelFile


class _Reason(Struct, frozen=True):
    """One reason why the clocks are held, and what kind of reason it is."""

    kind: str
    file: KernelFile


class IntelCard:
    """Reads one card."""

    integrated: bool

    def __init__(self, card: Card, *, index: int) -> None:
        """Find the card's files."""
        self.name = f"intel{index}"
        self._card = card
        self.integrated = card.on_chip
        chip = next(iter(card.chips("xe", "i915")), None)
        driver = "" if chip is None else chip.text("name") or ""
        self._driver = driver
        found = () if chip is None else of_chip(driver, chip, limits=("crit",))
        self._thermometers = tuple(one for label, one in found if not label.startswith("vram_ch"))
        self._counters = () if chip is None else _counters(chip)
        self._limits = () if chip is None else tuple((n, chip.file(n)) for n in _LIMITS)
        self._reasons = (*_i915_reasons(card.folder), *_xe_reasons(card.device))
        self._counter = Unwrapped(range_j=None, limit_w=ANY_LIMIT_W)
        self._label: str | None = None
        self._power = MeanPower(f"hwmon:{driver}/energy")

    def __bool__(self) -> bool:
        """Say whether the card tells anything."""
        return bool(self._thermometers or self._counters or self._reasons)

    def asleep(self) -> bool | None:
        """Return whether it is powered down; nothing else of it may be read then."""
        return self._card.asleep()

    def dozes(self) -> bool:
        """Say whether it would fall asleep if left alone."""
        return self._card.dozes()

    def look(self, now_s: float) -> tuple[Fields, Fields]:
        """Return the fields of the card; its package is not told apart."""
        temperature, limit = nearest(self._thermometers)
        counted = self._shown()
        energy = power = None
        if counted is not None:
            source, shown_j = counted
            self._counter.advance(shown_j, now_s)
            total_j = self._counter.total_j
            energy = Reading(value=total_j, origin="measured", source=source)
            power = self._power.advance(now_s, total_j, epoch=self._counter.epoch)
        fields: Fields = {
            "temperature_c": temperature,
            "limit_c": limit,
            "power_w": power,
            "power_limit_w": self._limit(),
            "energy_j": energy,
            "integrated": True if self.integrated else None,
            **self._held(),
        }
        return fields, {}

    def supply(self, now_s: float) -> Supply | None:
        """Return the counter for a meter; ``None`` without one."""
        del now_s
        if self.asleep():
            return Supply(asleep=True)
        counted = self._shown()
        return None if counted is None else Supply(counter_j=counted[1])

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return what of the card cannot be read."""
        if self._counters and all((file.file.number() or 0) <= 0 for file in self._counters):
            what = f"{self.name}: the energy counters stand at 0"
            return (Obstacle(kind="driver", what=what, remedy="a newer kernel may count"),)
        return ()

    def close(self) -> None:
        """Close all files."""
        files = [one.file for one in (*self._thermometers, *self._counters, *self._reasons)]
        for file in (*files, *(file for _, file in self._limits)):
            file.close()

    def _shown(self) -> tuple[str, float] | None:
        """Return the source and joules of the best counter that counts; that one is kept to."""
        for counter in self._counters:
            if self._label is not None and counter.label != self._label:
                continue
            microjoules = counter.file.number()
            if microjoules is not None and microjoules > 0:
                self._label = counter.label
                source = f"hwmon:{self._driver}/{counter.label or 'energy1'}"
                return source, j_from_microjoules(microjoules)
        return None

    def _limit(self) -> Reading | None:
        """Return the power limit that is set."""
        for name, file in self._limits:
            microwatts = file.number()
            if microwatts is not None and 0 < w_from_microwatts(microwatts) <= ANY_LIMIT_W:
                watts = w_from_microwatts(microwatts)
                source = f"hwmon:{self._driver}/{name}"
                return Reading(value=watts, origin="measured", source=source)
        return None

    def _held(self) -> Fields:
        """Return whether heat slows the card, and what holds its clocks."""
        known = [(one.kind, one.file.number()) for one in self._reasons]
        if all(value is None for _, value in known):
            return {}
        held = sorted({kind for kind, value in known if value}, reverse=True)
        return {"throttled": "thermal" in held, "clocks_held_by": "+".join(held) or "none"}


def intel_cards(root: str) -> tuple[IntelCard, ...]:
    """Return every Intel card that tells anything, in the order of the PCI bus."""
    found: list[IntelCard] = []
    for card in cards(root, vendor=VENDOR):
        one = IntelCard(card, index=len(found))
        if one:
            found.append(one)
    return tuple(found)


def _counters(chip: Folder) -> tuple[_Counter, ...]:
    """Return the energy counters of a chip, best first."""
    found: list[_Counter] = []
    for name in chip.names():
        if name.startswith("energy") and name.endswith("_input"):
            label = chip.text(name.replace("_input", "_label")) or ""
            if label in _COUNTERS:
                found.append(_Counter(label, chip.file(name)))
    return tuple(sorted(found, key=lambda one: _COUNTERS.index(one.label)))


def _i915_reasons(card: Folder) -> list[_Reason]:
    """Return i915's reasons: ``gt/gt0/throttle_reason_*``."""
    found: list[_Reason] = []
    gts = card.sub("gt")
    for gt in gts.names():
        found += _reasons(gts.sub(gt), prefix="throttle_reason_")
    return found


def _xe_reasons(device: Folder) -> list[_Reason]:
    """Return xe's reasons: ``tile0/gt0/freq0/throttle/reason_*``, older ones without the tile."""
    found: list[_Reason] = []
    tiles = [device.sub(name) for name in device.names() if name.startswith("tile")]
    for tile in (device, *tiles):
        for gt in tile.names():
            if gt.startswith("gt") and gt[2:].isdigit():
                found += _reasons(tile.sub(gt).sub("freq0").sub("throttle"), prefix="reason_")
    return found


def _reasons(folder: Folder, *, prefix: str) -> list[_Reason]:
    """Return a folder's reasons, but for ``status``, which is all of them."""
    names = [name for name in folder.names() if name.startswith(prefix)]
    return [
        _Reason(_kind(name.removeprefix(prefix)), folder.file(name))
        for name in names
        if not name.endswith("status")
    ]


def _kind(reason: str) -> str:
    """Return the kind of a reason, by what it is called."""
    if "therm" in reason or reason in _HEAT:
        return "thermal"
    return "power_cap" if reason.startswith(_POWER) else "other"
