"""``GET /v1/models``: the virtual models, then the deployments."""

__all__ = ["Details", "Entry", "Listing", "Models"]

import time

from msgspec import UNSET, Struct, UnsetType

from metabolic.core.errors import UnknownModel
from metabolic.core.fleet import Deployment
from metabolic.decide.variants import pinnable
from metabolic.gateway.chat import Inference
from metabolic.gateway.exchange import Exchange
from metabolic.gateway.reply import Response, json_response

_PREFIX = "/v1/models/"


class Details(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What Metabolic adds to a deployment's entry."""

    kind: str
    tier: str
    state: str | None = None
    context_tokens: int | None = None
    total_parameters: int | None = None
    capabilities: tuple[str, ...] = ()
    licence: str | None = None


class Entry(Struct, frozen=True, kw_only=True):
    """OpenAI's model object."""

    id: str
    created: int
    owned_by: str = "metabolic"
    object: str = "model"
    metabolic: Details | UnsetType = UNSET


class Listing(Struct, frozen=True, kw_only=True):
    """OpenAI's list object."""

    data: tuple[Entry, ...]
    object: str = "list"


class Models:
    """Answers the two model endpoints."""

    def __init__(self, inference: Inference) -> None:
        """Keep whose names are listed; ``created`` is when the gateway started."""
        self._inference = inference
        self._created = int(time.time())

    async def listing(self, exchange: Exchange) -> Response:
        """Return every model a client may name."""
        self._inference.admit(exchange.headers)
        return json_response(200, Listing(data=self._entries()))

    async def one(self, exchange: Exchange) -> Response:
        """Return one model. Raises ``UnknownModel``."""
        self._inference.admit(exchange.headers)
        name = exchange.path.removeprefix(_PREFIX)
        for entry in self._entries():
            if entry.id == name:
                return json_response(200, entry)
        message = f"The model '{name[:128]}' does not exist here: see GET /v1/models."
        raise UnknownModel(message, param="model")

    def _entries(self) -> tuple[Entry, ...]:
        """Return virtual models, then deployments."""
        runtime = self._inference.runtime
        states = {load.deployment: load.state for load in runtime.loads()}
        virtual = [Entry(id=name, created=self._created) for name in self._inference.names.virtual]
        real = [
            self._entry(name, item, states.get(item.name))
            for item in runtime.deployments()
            for name in pinnable((item,))
        ]
        return (*virtual, *real)

    def _entry(self, name: str, deployment: Deployment, state: str | None) -> Entry:
        """Return the entry of a deployment, or of a variant of it."""
        model = deployment.model
        details = Details(
            kind=deployment.kind,
            tier=model.tier,
            state=state,
            context_tokens=model.context_tokens,
            total_parameters=model.total_parameters,
            capabilities=deployment.capabilities,
            licence=model.licence,
        )
        return Entry(id=name, created=self._created, metabolic=details)
