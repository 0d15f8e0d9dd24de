"""The energy of one device of an exporter; see ``prometheus`` for the options of the scrape."""

__all__ = ["Options", "create"]

from msgspec.structs import asdict

from metabolic.core.ports import Domain
from metabolic.sense import prometheus
from metabolic.sense.node_meter import SensedMeter


class Options(prometheus.Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``device`` is the one to meter, ``domain`` what its joules cover."""

    device: str = "node"
    domain: Domain = "node"


def create(options: Options) -> SensedMeter:
    """Return the meter."""
    names = prometheus.Options.__struct_fields__
    given = {key: value for key, value in asdict(options).items() if key in names}
    return SensedMeter(
        prometheus.create(prometheus.Options(**given)),
        name=options.device,
        device=options.device,
        domain=options.domain,
        gap_s=options.stale_s + options.every_s,
    )
