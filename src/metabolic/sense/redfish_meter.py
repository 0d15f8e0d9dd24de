"""The node's energy as its management controller tells it; see ``redfish`` for the options."""

__all__ = ["Options", "create"]

from metabolic.sense import redfish
from metabolic.sense.node_meter import SensedMeter

Options = redfish.Options


def create(options: redfish.Options) -> SensedMeter:
    """Return the meter."""
    return SensedMeter(
        redfish.create(options),
        name=options.device,
        device=options.device,
        domain="node",
        gap_s=options.stale_s + options.every_s,
    )
