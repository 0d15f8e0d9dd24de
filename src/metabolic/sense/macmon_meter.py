"""The energy of a Mac's chip, or of the whole machine, as macmon tells it."""

__all__ = ["Options", "create"]

from typing import Literal

from msgspec.structs import asdict

from metabolic.core.ports import Domain
from metabolic.sense import macmon
from metabolic.sense.node_meter import SensedMeter

_DOMAINS: dict[str, Domain] = {"cpu": "package", "apple0": "gpu", "soc": "board", "node": "node"}


class Options(macmon.Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``device``: ``soc`` is processor, GPU and neural engine; ``node`` all, the display too."""

    device: Literal["cpu", "apple0", "soc", "node"] = "soc"


def create(options: Options) -> SensedMeter:
    """Return the meter."""
    names = macmon.Options.__struct_fields__
    given = {key: value for key, value in asdict(options).items() if key in names}
    return SensedMeter(
        macmon.create(macmon.Options(**given)),
        name=options.device,
        device=options.device,
        domain=_DOMAINS[options.device],
        gap_s=options.stale_s + options.every_s,
    )
