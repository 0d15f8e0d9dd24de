"""The switch from shadow to routing: the upstream's model names become names that route."""

__all__ = ["names_of"]

from metabolic.config import Config, VirtualTable
from metabolic.core.fleet import Deployment
from metabolic.decide.variants import pinnable
from metabolic.gateway.ask import Names, Virtual
from metabolic.wiring.shadow_names import candidates_of, reference_of, shadow_references


class _Switched(Names):
    """Names of which those that nobody knows are the upstream's, and route like its own."""

    __slots__ = ("_allowed",)

    _allowed: tuple[str, ...]

    def among(self, allowed: tuple[str, ...]) -> Names:
        """Let other names route among these."""
        self._allowed = allowed
        return self

    def resolve(self, model: str) -> tuple[Virtual, str | None]:
        """Return the virtual model and the pinned deployment (``None`` when it routes)."""
        if model in self.virtual or model in self.deployments:
            return super().resolve(model)
        return Virtual(allowed=self._allowed), None


def names_of(config: Config, fleet: tuple[Deployment, ...]) -> Names:
    """Return the model names clients may use.

    After the switch every name that the upstream was asked for routes among the candidates and
    the upstream; the candidates' own names still pin them.
    """
    names, table, delivery = pinnable(fleet), config.shadow, config.delivery.mode
    if table.upstream is None or table.mode != "route":
        return Names(config.virtuals, names, delivery=delivery)
    allowed = (*candidates_of(table, fleet), reference_of(table))
    routed = [
        VirtualTable(name=name, allowed=allowed)
        for name in shadow_references(table, fleet)
        if name not in {one.name for one in config.virtuals}
    ]
    return _Switched((*config.virtuals, *routed), names, delivery=delivery).among(allowed)
