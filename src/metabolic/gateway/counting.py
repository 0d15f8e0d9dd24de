"""``/v1/messages/count_tokens``: an estimate, without asking anybody."""

__all__ = ["count"]

from metabolic.core.errors import MetabolicError
from metabolic.edge import estimate_tokens
from metabolic.edge.messages import parse_messages
from metabolic.edge.messages_answer import tokens_json
from metabolic.gateway import foreign
from metabolic.gateway.body import ClientLeft, read_body
from metabolic.gateway.chat import Inference
from metabolic.gateway.exchange import Exchange
from metabolic.gateway.reply import Response, error_response


async def count(inference: Inference, exchange: Exchange) -> Response:
    """Return about how many tokens a request would be, by the gateway's own rule.

    Which deployment would answer, and so whose tokenizer counts, is not known beforehand.
    """
    try:
        inference.admit(exchange.headers)
        body = await read_body(exchange.receive, exchange.headers, limit=inference.limit_bytes)
        request = parse_messages(
            body, request_id=exchange.id, headers=exchange.headers, counting=True
        )
        inference.names.resolve(request.model)
    except ClientLeft:
        return Response(status=499)
    except MetabolicError as error:
        refused = error_response(error, inference.redact)
        return foreign.error_of(refused, "messages", exchange.id)
    return Response(status=200, body=tokens_json(estimate_tokens(request)))
