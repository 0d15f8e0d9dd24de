"""Who can go on with whose answers: the deployment and its replicas, where their engines can."""

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

    def backend(name: str) -> str:
        endpoint = endpoints.get(name)
        return "openai" if endpoint is None else endpoint.backend

    def chats(name: str) -> bool:
        endpoint = endpoints.get(name)
        return plugins.traits(_LOCAL if endpoint is None else endpoint.engine).continues is not None

    def texts(name: str) -> bool:
        return "completions" in fleet[name].capabilities and backend(name) == "openai"

    return Continuation(chat=_able(fleet, chats, backend), text=_able(fleet, texts, backend))


def _able(
    fleet: Mapping[str, Deployment], can: Callable[[str], bool], backend: Callable[[str], str]
) -> dict[str, tuple[str, ...]]:
    """Return, for each deployment, who can go on with its answers: its replicas, then itself.

    A replica that is spoken to by another backend may write its events otherwise.
    """
    able = {name for name in fleet if can(name)}
    replicas = siblings(fleet.values())
    found: dict[str, tuple[str, ...]] = {}
    for name in fleet:
        others = [one for one in replicas.get(name, ()) if one != name]
        names = [*[one for one in others if backend(one) == backend(name)], name]
        if who := tuple([one for one in names if one in able]):
            found[name] = who
    return found
