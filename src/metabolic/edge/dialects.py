"""Parse a body in the dialect of the path it came by."""

__all__ = ["Dialect", "parse"]

from collections.abc import Mapping
from typing import Literal

from metabolic.core.request import Request
from metabolic.edge.chat import parse_chat
from metabolic.edge.completions import parse_completions
from metabolic.edge.embeddings import parse_embeddings
from metabolic.edge.messages import parse_messages
from metabolic.edge.responses import parse_responses

Dialect = Literal["chat", "completions", "embeddings", "messages", "responses"]


def parse(
    dialect: Dialect, body: bytes, *, request_id: str, headers: Mapping[bytes, bytes] | None = None
) -> Request:
    """Return the request in ``body``, which ``Request.body`` keeps as it is.

    Messages and responses are kept as ``Request.native``, with what of ``headers`` belongs to
    them, and ``Request.body`` says the same in OpenAI's words.

    Fields that are not looked at are not checked either; no address and no key is ever read.

    Raises:
        RequestError: it is malformed; ``param`` names the field and ``code`` is OpenAI's.
    """
    match dialect:
        case "chat":
            return parse_chat(body, request_id=request_id)
        case "completions":
            return parse_completions(body, request_id=request_id)
        case "embeddings":
            return parse_embeddings(body, request_id=request_id)
        case "messages":
            return parse_messages(body, request_id=request_id, headers=headers or {})
        case "responses":
            return parse_responses(body, request_id=request_id)
