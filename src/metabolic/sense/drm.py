"""Graphics cards in ``/sys/class/drm``: which there are, and whether one sleeps.

A card that is powered down is left so: reading almost any file of it would wake it (5 to 7 W in a
laptop), but ``runtime_status`` may be read. Source: the kernel's runtime power management.
"""

__all__ = ["Card", "cards"]

import re

from msgspec import Struct

from metabolic.sense.files import Folder

_CARD = re.compile(r"card\d+")
_ON_CHIP = "0000:00:"
"""PCI bus 0 hangs on the processor itself: a GPU there is part of it."""

_ASLEEP = frozenset({"suspended", "suspending"})


class Card(Struct, frozen=True, kw_only=True):
    """One card: its folder, its device's folder, and its PCI slot (``None``: not told)."""

    folder: Folder
    device: Folder
    slot: str | None = None

    @property
    def on_chip(self) -> bool:
        """Whether it sits on the processor's own PCI bus."""
        return self.slot is not None and self.slot.startswith(_ON_CHIP)

    def asleep(self) -> bool | None:
        """Return whether the card is powered down; ``None`` if nothing says so."""
        status = self.device.text("power/runtime_status")
        return None if status is None else status in _ASLEEP

    def dozes(self) -> bool:
        """Say whether the kernel would let it fall asleep."""
        return self.device.text("power/control") == "auto"

    def chips(self, *names: str) -> tuple[Folder, ...]:
        """Return its hwmon chips of these names; without names, all."""
        hwmon = self.device.sub("hwmon")
        found = (hwmon.sub(name) for name in hwmon.names())
        return tuple(chip for chip in found if not names or chip.text("name") in names)


def cards(root: str, *, vendor: str) -> tuple[Card, ...]:
    """Return the cards of a PCI vendor (``0x1002``), in the order of their slots."""
    drm = Folder(root, "sys/class/drm")
    found: list[Card] = []
    for name in drm.names():
        if _CARD.fullmatch(name) is None:
            continue
        device = drm.sub(name).sub("device")
        if device.text("vendor") == vendor:
            found.append(Card(folder=drm.sub(name), device=device, slot=_slot(device)))
    return tuple(sorted(found, key=lambda card: card.slot or ""))


def _slot(device: Folder) -> str | None:
    """Return where the card is on the PCI bus."""
    for line in (device.text("uevent") or "").splitlines():
        key, _, value = line.partition("=")
        if key == "PCI_SLOT_NAME":
            return value
    return None
