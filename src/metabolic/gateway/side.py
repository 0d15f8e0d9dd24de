"""The admin listener: the page, health, metrics and receipts, and no inference."""

__all__ = ["Side", "bind"]

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from metabolic.config.admin import AdminTable
from metabolic.gateway.protocol import Protocol
from metabolic.gateway.seam import Receive, Scope, Send

_IDLE_S = 75
"""How long an idle connection is kept, as on the gateway's own listener."""


class Side:
    """An ASGI application beside the gateway; its lifespan is the gateway's."""

    def __init__(self, answer: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        """``answer`` serves one HTTP request of an operator."""
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})


async def bind(side: Side, table: AdminTable, *, state: ServerState) -> asyncio.Server:
    """Bind the admin listener, which does not listen yet; ``state`` is the gateway's server's.

    Raises:
        OSError: the address cannot be had.
    """
    config = uvicorn.Config(
        side,  # type: ignore[arg-type] - its own spelling of ASGI's types
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE_S,
    )
    config.load()

    def connection() -> asyncio.Protocol:
        made: dict[str, Any] = {}
        return Protocol(config=config, server_state=state, app_state=made)

    loop = asyncio.get_running_loop()
    return await loop.create_server(
        connection, host=table.host, port=table.port or 0, start_serving=False
    )
