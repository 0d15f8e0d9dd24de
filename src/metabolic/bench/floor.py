"""A server that does nothing, for scale: what the HTTP server alone costs on this machine.

The same uvicorn as the gateway's, with an application that reads the body and answers a constant
of the mock's size. Machines differ by far more than gateways do: read the gateway's figures as
multiples of this one.

    python -m metabolic.bench.floor PORT
"""

__all__ = ["main"]

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]

_BODY = b'{"id":"chatcmpl-floor","choices":[]}'.ljust(700)
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY))]


async def _answer(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer anything."""
    if scope["type"] == "http":
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": _BODY})


def main() -> None:
    """Serve until told to stop."""
    import uvicorn  # noqa: PLC0415 - only the process that serves needs it

    uvicorn.run(
        _answer,
        port=int(sys.argv[1]),
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )


if __name__ == "__main__":
    main()
