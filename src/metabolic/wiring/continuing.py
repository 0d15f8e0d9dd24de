"""Who can go on with whose answers: the deployment itself and its replicas, as their engines can."""

__all__ = ["continuation_of"]

from collections.abc import Callable, Mapping

from metabolic import plugins
from metabolic.config import Config
from metabolic.core.fleet import Deployment, Endpoint
from metabolic.decide.replicas import siblings
from metabolic.execute.continuing import Continuation

_LOCAL = "llamacpp"


def continuation_of(
    config: Config, fleet: Mapping[str, Deployment], endpoints: Mapping[str, Endpoint]
) -> Continuation | None:
    """Return who goes on with whose answers; ``None``: it is switched off.

    A text completion is gone on with by any engine: its prompt only becomes longer.
    """
    if not config.routing.continuation:
        return None

    def chats(name: str) -> bool:
        endpoint = endpoints.get(name)
        return plugins.traits(_LOCAL if endpoint is None else endpoint.engine).continues is not None

    return Continuation(
        chat=_able(fleet, chats),
        text=_able(fleet, lambda name: "completions" in fleet[name].capabilities),
    )


def _able(
    fleet: Mapping[str, Deployment], can: Callable[[str], bool]
) -> dict[str, tuple[str, ...]]:
    """Return, for each deployment, those of its replicas and itself that can, replicas first."""
    able = {name for name in fleet if can(name)}
    replicas = siblings(fleet.values())
    found = {
        name: tuple([one for one in (*replicas.get(name, ()), name) if one in able])
        for name in fleet
    }
    return {
        name: tuple(dict.fromkeys(_last(names, name))) for name, names in found.items() if names
    }


def _last(names: tuple[str, ...], own: str) -> list[str]:
    """Return the names with one's own at the end."""
    return sorted(names, key=lambda one: one == own)
