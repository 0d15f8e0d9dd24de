"""A Jetson's power rails: which is the total, and which must not be added to it.

Where one rail feeds the module (``VDD_IN`` on Nano and NX, ``VIN`` on Thor, ``POM_5V_IN`` on the
first ones) it is the total, and all others lie behind it. The AGX ones have no such rail. There
the processor's own rails are added up, for the chip alone: whether the 5 V rail feeds some of
them is not documented, so it is left out, and the module draws more than is told. The rails of a
name that is not known are never added to anything.
Source: NVIDIA's Jetson Linux developer guide (software-based power measurement).
"""

__all__ = ["Supplier", "Total", "total_of"]

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

_TOTALS = ("VDD_IN", "VIN", "POM_5V_IN", "5V_IN", "VDD_IN_5V0")
_CHIPS = (
    frozenset({"VDD_GPU_SOC", "VDD_CPU_CV"}),
    frozenset({"VDD_GPU", "VDD_CPU_SOC_MSS"}),
    frozenset({"GPU", "CPU", "SOC", "CV"}),
)
"""Rails of AGX Orin, Thor and AGX Xavier that feed the chip beside one another."""

Supplier = Literal["board", "soc"]


class Total(Struct, frozen=True, kw_only=True):
    """The power of the board (measured), or of its chip (a sum), and the rails it is made of."""

    of: Supplier
    watts: float
    rails: tuple[str, ...]

    @property
    def source(self) -> str:
        """The rails, as they are shown."""
        return "rails:" + "+".join(self.rails)


def total_of(watts: Mapping[str, float]) -> Total | None:
    """Return the total of rails by name; ``None`` when it cannot be said.

    >>> total_of({"VDD_IN": 7.28, "VDD_SOC": 1.5}).watts
    7.28
    """
    for name in _TOTALS:
        if name in watts:
            return Total(of="board", watts=watts[name], rails=(name,))
    for chip in _CHIPS:
        if chip <= watts.keys():
            rails = tuple(sorted(chip))
            return Total(of="soc", watts=sum(watts[name] for name in rails), rails=rails)
    return None
