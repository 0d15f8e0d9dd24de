"""Health, readiness, metrics and receipts."""

__all__ = ["Admin", "NoReceipt"]

import asyncio
import re

from metabolic import __version__
from metabolic.core.errors import RequestError
from metabolic.gateway.chat import Inference
from metabolic.gateway.exchange import Exchange
from metabolic.gateway.reply import Response, json_response

_PREFIX = "/v1/receipts/"
_IDENTITY = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


class NoReceipt(RequestError):
    """The ledger has no receipt of that request."""

    status = 404
    code = "receipt_not_found"


class Admin:
    """Answers what operators ask; ``draining`` is set when the gateway is about to stop."""

    def __init__(self, inference: Inference) -> None:
        """Keep whom to ask."""
        self._inference = inference
        self.draining = False

    async def health(self, exchange: Exchange) -> Response:
        """Say that the process lives; needs no key and touches nothing."""
        del exchange
        return json_response(200, {"status": "ok", "version": __version__})

    async def ready(self, exchange: Exchange) -> Response:
        """Say whether a request would be answered: 200 or 503; needs no key."""
        del exchange
        if self.draining:
            return json_response(503, {"status": "draining"})
        if self._inference.runtime.ready():
            return json_response(200, {"status": "ready"})
        return json_response(503, {"status": "starting"})

    async def metrics(self, exchange: Exchange) -> Response:
        """Return the Prometheus exposition; needs a key where keys are configured."""
        self._inference.admit(exchange.headers)
        metrics = self._inference.metrics
        # The first call imports a library, which must not hold up those who are being answered.
        content_type = await asyncio.to_thread(metrics.content_type)
        return Response(status=200, body=metrics.render(), content_type=content_type)

    async def receipt(self, exchange: Exchange) -> Response:
        """Return a request's receipt, settled if it is. Raises ``NoReceipt``, ``LedgerError``.

        Identifiers cannot be guessed: who has one may read its receipt, which holds no text.
        """
        self._inference.admit(exchange.headers)
        identity = exchange.path.removeprefix(_PREFIX)
        found = None
        if _IDENTITY.fullmatch(identity):
            found = await asyncio.to_thread(self._inference.runtime.receipt, identity)
        if found is None:
            message = "There is no receipt of that request (yet, or any more)."
            raise NoReceipt(message)
        return json_response(200, found)
