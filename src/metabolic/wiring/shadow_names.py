"""Who is who in a shadow: the upstream's deployment, its models, and the cheaper tiers."""

__all__ = ["candidates_of", "reference_of", "shadow_references"]

from collections.abc import Iterable, Mapping

from metabolic.config.shadow import ShadowTable
from metabolic.core.fleet import Deployment
from metabolic.wiring.fleet import UPSTREAM


def reference_of(table: ShadowTable) -> str:
    """Return the upstream's deployment."""
    return UPSTREAM if table.url is not None else table.upstream or UPSTREAM


def candidates_of(table: ShadowTable, fleet: Iterable[Deployment]) -> tuple[str, ...]:
    """Return the cheaper tiers: those named, else all but the upstream."""
    reference = reference_of(table)
    named = table.candidates or tuple(one.name for one in fleet)
    return tuple(name for name in named if name != reference)


def shadow_references(table: ShadowTable, fleet: Iterable[Deployment]) -> Mapping[str, str]:
    """Return the upstream's deployment by the model names clients ask it for."""
    reference = reference_of(table)
    found: dict[str, str] = {}
    for one in fleet:
        if one.name == reference:
            found |= {one.name: one.name, one.model.id: one.name}
    return found
