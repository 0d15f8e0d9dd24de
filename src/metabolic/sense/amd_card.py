"""One AMD GPU through sysfs: hwmon, ``gpu_metrics``, memory and load.

The thermometer nearest to its limit speaks for the card: edge, junction (hotspot) or memory, each
with its own ``crit``, where the firmware begins to throttle (``emergency`` is where it powers
off). An APU has no limit of its own, and its power (PPT) is that of the whole package, processor
included: it goes to the device ``cpu``, which many may not read through RAPL. The second die of
an MI250 says 0 W of 0 W, which is no reading.
Source: the kernel's amdgpu documentation (hwmon, ``gpu_busy_percent``, ``mem_info_*``).
"""

__all__ = ["ANY_LIMIT_W", "VENDOR", "AmdCard", "amd_cards"]

from metabolic.core.hardware import Reading
from metabolic.core.obstacle import Obstacle
from metabolic.core.units import j_from_microjoules, ratio_from_percent, w_from_microwatts
from metabolic.sense.amd_metrics import Metrics, parse, version_of
from metabolic.sense.cards import Fields
from metabolic.sense.counter import Unwrapped
from metabolic.sense.drm import Card, cards
from metabolic.sense.files import Folder
from metabolic.sense.supply import Supply
from metabolic.sense.thermometer import nearest, of_chip

VENDOR = "0x1002"
ANY_LIMIT_W = 2_500.0
"""More than any AMD accelerator of 2026 draws (the MI355X: 1,400 W)."""

_ASKS_ELSEWHERE = "the figures of hwmon are used, without throttling and energy"


class AmdCard:
    """Reads one card; every read opens its files anew only below another root."""

    def __init__(self, card: Card, *, index: int) -> None:
        """Find the card's files."""
        self.name = f"amd{index}"
        self._card = card
        device = card.device
        chip = next(iter(card.chips("amdgpu", "radeon")), None) or next(iter(card.chips()), None)
        self._chip: Folder | None = chip
        found = () if chip is None else of_chip("amdgpu", chip, limits=("crit",))
        self._thermometers = tuple(one for _, one in found)
        self._busy = device.file("gpu_busy_percent")
        self._vram = device.file("mem_info_vram_used"), device.file("mem_info_vram_total")
        self._metrics = device.file("gpu_metrics")
        names = "power1_average", "power1_input", "power1_cap", "energy1_input"
        self._power = tuple((name, chip.file(name)) for name in names) if chip else ()
        self.integrated = _is_integrated(chip, card)
        self._counter = Unwrapped(range_j=None, limit_w=ANY_LIMIT_W)
        self._counts: tuple[int | None, int | None] = None, None
        self._refused: str | None = None

    def asleep(self) -> bool | None:
        """Return whether it is powered down; nothing else of it may be read then."""
        return self._card.asleep()

    def dozes(self) -> bool:
        """Say whether it would fall asleep if left alone."""
        return self._card.dozes()

    def look(self, now_s: float) -> tuple[Fields, Fields]:
        """Return the fields of the card, and those of the package it is in (APUs only)."""
        metrics = self._table()
        temperature, limit = nearest(self._thermometers)
        if temperature is None and metrics is not None:
            temperature = _hottest(metrics)
        power, cap = self._watts(metrics)
        supplied: Fields = {"power_w": power, "power_limit_w": cap}
        used, total = (file.number() for file in self._vram)
        known = used is not None and total is not None and 0 <= used <= total and total > 0
        fields: Fields = {
            "temperature_c": temperature,
            "limit_c": limit,
            "utilization_ratio": self._load(metrics),
            "memory_used_bytes": _reading(used, "mem_info_vram") if known else None,
            "memory_total_bytes": _reading(total, "mem_info_vram") if known else None,
            "integrated": True if self.integrated else None,
            **self._held(metrics),
        }
        if self.integrated:
            return fields, supplied
        return {**fields, **supplied, "energy_j": self._energy(metrics, now_s)}, {}

    def supply(self, now_s: float) -> Supply | None:
        """Return power and counter for a meter; ``None`` when there is neither."""
        del now_s
        if self.asleep():
            return Supply(asleep=True)
        metrics = self._table()
        power, _ = self._watts(metrics)
        load = self._load(metrics)
        counter_j = self._counter_j(metrics)
        if power is None and counter_j is None:
            return None
        return Supply(
            counter_j=counter_j,
            power_w=None if power is None else power.value,
            busy_ratio=None if load is None else load.value,
        )

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return what of the card cannot be read."""
        found: list[Obstacle] = []
        if self._refused is not None:
            what = f"{self.name}: gpu_metrics {self._refused} is not known"
            found.append(Obstacle(kind="driver", what=what, remedy=_ASKS_ELSEWHERE))
        if self._card.device.denied("gpu_metrics"):
            what = f"{self.name}: gpu_metrics may not be read"
            remedy = "add the gateway's user to the groups video and render"
            found.append(Obstacle(kind="permission", what=what, remedy=remedy))
        return tuple(found)

    def close(self) -> None:
        """Close all files."""
        files = *self._vram, self._busy, self._metrics, *(file for _, file in self._power)
        for file in (*files, *(one.file for one in self._thermometers)):
            file.close()

    def _table(self) -> Metrics | None:
        """Return the binary table; what is not known in full is refused."""
        data = self._metrics.binary()
        metrics = None if data is None else parse(data)
        self._refused = None
        if data and metrics is None:
            version = version_of(data)
            told = f"of {len(data)} bytes" if version is None else f"v{version[0]}.{version[1]}"
            self._refused = told
        return metrics

    def _watts(self, metrics: Metrics | None) -> tuple[Reading | None, Reading | None]:
        """Return power and its limit."""
        shown = {name: file.number() for name, file in self._power}
        cap_uw = shown.get("power1_cap")
        cap = None
        if cap_uw is not None and 0 < w_from_microwatts(cap_uw) <= ANY_LIMIT_W:
            cap = _reading(w_from_microwatts(cap_uw), "hwmon:amdgpu/power1_cap")
        for name in ("power1_average", "power1_input"):
            microwatts = shown.get(name)
            if microwatts is None or (microwatts == 0 and cap_uw == 0):
                continue
            if 0 <= w_from_microwatts(microwatts) <= ANY_LIMIT_W:
                return _reading(w_from_microwatts(microwatts), f"hwmon:amdgpu/{name}"), cap
        if metrics is None or metrics.power_w is None or cap_uw == 0:
            return None, cap
        return _reading(metrics.power_w, "gpu_metrics"), cap

    def _load(self, metrics: Metrics | None) -> Reading | None:
        """Return how busy the card is."""
        percent = self._busy.number()
        if percent is not None and 0 <= percent <= 100:  # noqa: PLR2004 - percent
            return _reading(ratio_from_percent(percent), "gpu_busy_percent")
        if metrics is None or metrics.activity_ratio is None:
            return None
        return _reading(metrics.activity_ratio, "gpu_metrics")

    def _counter_j(self, metrics: Metrics | None) -> float | None:
        """Return what the card's energy counter shows."""
        if self.integrated:
            return None
        if metrics is not None and metrics.energy_j is not None:
            return metrics.energy_j
        microjoules = next((f.number() for name, f in self._power if name == "energy1_input"), None)
        return j_from_microjoules(microjoules) if microjoules else None

    def _energy(self, metrics: Metrics | None, now_s: float) -> Reading | None:
        """Return the joules counted since the first reading."""
        shown_j = self._counter_j(metrics)
        if shown_j is None:
            return None
        self._counter.advance(shown_j, now_s)
        return _reading(self._counter.total_j, "gpu_metrics")

    def _held(self, metrics: Metrics | None) -> Fields:
        """Return whether heat slows the card, and what holds its clocks."""
        if metrics is None:
            return {}
        held = metrics.held_by
        if held is None and metrics.thermal_count is not None:
            last, self._counts = self._counts, (metrics.thermal_count, metrics.power_count)
            both = zip(("thermal", "power_cap"), last, self._counts, strict=True)
            held = tuple(name for name, was, now in both if _grew(was, now))
        if held is None:
            return {}
        return {"throttled": "thermal" in held, "clocks_held_by": "+".join(held) or "none"}


def amd_cards(root: str) -> tuple[AmdCard, ...]:
    """Return every AMD card that tells anything, in the order of the PCI bus."""
    found = [card for card in cards(root, vendor=VENDOR) if card.chips() or _tells(card)]
    return tuple(AmdCard(card, index=index) for index, card in enumerate(found))


def _tells(card: Card) -> bool:
    """Say whether a card without hwmon tells anything."""
    return card.device.exists("gpu_busy_percent") or card.device.exists("gpu_metrics")


def _is_integrated(chip: Folder | None, card: Card) -> bool:
    """Say whether a card is an APU's: only those have a northbridge, or tables of format 2 or 3."""
    if chip is not None and chip.text("in1_label") == "vddnb":
        return True
    data = card.device.file("gpu_metrics").binary() if not card.asleep() else None
    version = None if data is None else version_of(data)
    return version is not None and version[0] in {2, 3}


def _grew(was: int | None, now: int | None) -> bool:
    """Say whether a counter has grown."""
    return was is not None and now is not None and now > was


def _hottest(metrics: Metrics) -> Reading | None:
    """Return the highest temperature of a table."""
    if not metrics.temperatures_c:
        return None
    name, celsius = max(metrics.temperatures_c.items(), key=lambda item: item[1])
    return _reading(celsius, f"gpu_metrics:{name}")


def _reading(value: float | None, source: str) -> Reading | None:
    """Return a figure that was read."""
    return None if value is None else Reading(value=value, origin="measured", source=source)
