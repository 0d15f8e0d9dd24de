"""Why a sensor or meter cannot read, and how to get it to."""

__all__ = ["Obstacle"]

from typing import Literal

from msgspec import Struct

ObstacleKind = Literal[
    "absent",
    "library",
    "permission",
    "driver",
    "container",
    "platform",
    "configuration",
    "unreachable",
    "stale",
    "asleep",
]
"""``absent``: no such hardware; ``platform``: another system, or a virtual machine without it;
``driver``: missing, too old, hung or lost; ``stale``: it read, and has not for too long;
``asleep``: it is powered down, and left so."""


class Obstacle(Struct, frozen=True, kw_only=True, gc=False):
    """One thing that stands between a sensor and its figures.

    ``what`` says in plain words what was found (with names: the file, the symbol, the host), and
    ``remedy`` what to do about it; empty when nothing can be done.
    """

    kind: ObstacleKind
    what: str
    remedy: str = ""
