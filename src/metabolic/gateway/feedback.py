"""``POST /v1/feedback``: what a client thinks of an answer it got."""

__all__ = ["NoSuchAnswer", "NotKept", "feedback"]

import asyncio
import re

import msgspec

from metabolic.core.errors import MetabolicError, RequestError
from metabolic.execute.lane_state import Feedback
from metabolic.gateway.body import ClientLeft, read_body
from metabolic.gateway.chat import Inference
from metabolic.gateway.exchange import Exchange
from metabolic.gateway.reply import Response, json_response

_LIMIT_BYTES = 16_384
_IDENTITY = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_PREFERENCES = frozenset({"draft", "reference", "tie"})

_decode = msgspec.json.Decoder(Feedback).decode


class NoSuchAnswer(RequestError):
    """The ledger has no such request of this key's."""

    status = 404
    code = "receipt_not_found"


class NotKept(MetabolicError):
    """The label could not be written."""

    status = 503
    code = "feedback_not_kept"
    retry_after_s = 5.0


async def feedback(inference: Inference, exchange: Exchange) -> Response:
    """Take one label: 202 when it is kept, 200 when the answer had one already.

    Raises:
        RequestError: it is no label.
        NoSuchAnswer: no such request, or another key's: nobody learns which.
        NotKept: the file of labels cannot be written.
    """
    tenant = inference.admit(exchange.headers)
    try:
        body = await read_body(exchange.receive, exchange.headers, limit=_LIMIT_BYTES)
    except ClientLeft:
        return Response(status=499, body=b"")
    given = _parsed(body)
    try:
        kept = await asyncio.to_thread(inference.runtime.feedback, given, tenant)
    except OSError as exc:
        message = "The label could not be written; try again soon."
        raise NotKept(message) from exc
    if kept is None:
        message = "There is no answer of yours with that id (yet, or any more)."
        raise NoSuchAnswer(message, param="id")
    return json_response(202 if kept else 200, {"id": given.id, "kept": kept})


def _parsed(body: bytes) -> Feedback:
    """Return the label. Raises ``RequestError``."""
    try:
        given = _decode(body)
    except msgspec.MsgspecError as exc:
        message = f"The body is not feedback: {exc}"
        raise RequestError(message) from exc
    if not _IDENTITY.fullmatch(given.id):
        message = "id must be that of a request."
        raise RequestError(message, param="id")
    said = [one for one in (given.correct, given.score, given.preferred) if one is not None]
    if len(said) != 1:
        message = "Give exactly one of correct, score and preferred."
        raise RequestError(message)
    if given.score is not None and not 0 <= given.score <= 1:
        message = "score must be from 0 to 1."
        raise RequestError(message, param="score")
    if given.preferred is not None and given.preferred not in _PREFERENCES:
        message = "preferred must be draft, reference or tie."
        raise RequestError(message, param="preferred")
    return given
