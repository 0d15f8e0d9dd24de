"""Runs the gateway: uvicorn, its signals, its log."""

__all__ = ["Server", "serve"]

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Generator

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from metabolic.config import Config
from metabolic.core.errors import MetabolicError
from metabolic.gateway import log
from metabolic.gateway.app import App
from metabolic.gateway.protocol import Protocol
from metabolic.gateway.seam import Serving
from metabolic.gateway.side import bind

_log = logging.getLogger("metabolic.gateway")

_IDLE_S = 75
"""How long an idle client connection is kept. Longer than common load balancers' 60 s, so that
they close first. Source: AWS, "Application Load Balancers", idle timeout."""

_YOUNG = 50_000
"""So many new containers more than freed ones, before cycles among them are looked for."""

_BACKLOG = 2048

_DOORS = 16
"""How often the socket is listened to; libuv accepts one connection a turn for each."""


class Server(uvicorn.Server):
    """One gateway on one socket: SIGTERM and SIGINT drain, a second one stops, SIGHUP reloads."""

    def __init__(
        self,
        app: App,
        *,
        load: Callable[[], Config] | None = None,
        lines: log.BatchHandler | None = None,
    ) -> None:
        """``load`` reads the configuration again on SIGHUP; ``lines`` is flushed now and then."""
        table = app.runtime.config.server
        super().__init__(
            uvicorn.Config(
                app,
                host=table.host,
                port=table.port,
                http=Protocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_IDLE_S,
                timeout_graceful_shutdown=max(1, round(table.drain_s)),
            )
        )
        self.app = app
        self._load = load
        self._lines = lines
        self._reload: asyncio.Task[None] | None = None
        self._beside: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Return the port it listens on; useful when the configuration says 0."""
        return int(self.servers[0].sockets[0].getsockname()[1])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say where it listens; addresses that cannot be had are found out first."""
        self._beside = await self._bind_beside()
        await super().startup(sockets)
        if not self.started:
            return
        _log.info("listening", extra={"host": self.config.host, "port": self.port})
        await self._open_doors()
        if self._beside is not None:
            await self._beside.start_serving()
            self.servers.append(self._beside)
            host = self.app.runtime.config.admin.host
            _log.info("admin listening", extra={"host": host, "port": self.admin_port})

    async def _open_doors(self) -> None:
        """Listen to the same socket several times: the loop lets in one client a turn for each.

        With one alone, the last of many clients that come to a busy gateway at once waits for
        seconds (docs/lab-log.md).
        """
        loop = asyncio.get_running_loop()
        listening = self.servers[0].sockets[0]

        def connection() -> asyncio.Protocol:
            return Protocol(
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )

        for _ in range(_DOORS - 1):
            door = socket.socket(fileno=os.dup(listening.fileno()))
            self.servers.append(await loop.create_server(connection, sock=door, backlog=_BACKLOG))

    async def _bind_beside(self) -> asyncio.Server | None:
        """Bind the admin listener, if one is configured; without its address there is no start."""
        table = self.app.runtime.config.admin
        if table.port is None:
            return None
        try:
            return await bind(self.app.side, table, state=self.server_state)
        except OSError as exc:
            _log.error("no admin listener", extra={"reason": str(exc)})
            sys.exit(STARTUP_FAILURE)

    @property
    def admin_port(self) -> int | None:
        """Return the admin listener's port; ``None`` without one."""
        return None if self._beside is None else int(self._beside.sockets[0].getsockname()[1])

    async def on_tick(self, counter: int) -> bool:
        """Write the log; uvicorn calls this ten times a second."""
        if self._lines is not None:
            self._lines.flush()
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Handle signals inside the loop while it runs."""
        loop = asyncio.get_running_loop()
        handlers = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._hang_up,
        }
        with contextlib.suppress(ValueError, RuntimeError):  # not in the main thread: tests
            for number, handler in handlers.items():
                loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            with contextlib.suppress(ValueError, RuntimeError):
                for number in handlers:
                    loop.remove_signal_handler(number)

    def _stop(self) -> None:
        """Drain; when asked again, stop at once."""
        _log.info("stopping", extra={"in_flight": self.app.inference.in_flight})
        self.force_exit = self.should_exit
        self.should_exit = True
        self.app.admin.draining = True

    def _hang_up(self) -> None:
        """Begin to reload, unless a reload is under way."""
        if self._reload is None or self._reload.done():
            self._reload = asyncio.get_running_loop().create_task(self.reload())

    async def reload(self) -> None:
        """Take over the configuration if it is valid; otherwise say why not and keep the old."""
        if self._load is None:
            _log.warning("no configuration file to reload")
            return
        try:
            config = await asyncio.to_thread(self._load)
            await self.app.runtime.reload(config)
        except MetabolicError as error:
            _log.error("configuration refused", extra={"reason": str(error)})
            return
        self.app.configure()
        _log.info("configuration reloaded", extra={"source": config.source})


def _rest_collector() -> None:
    """Have the collector of cycles look seldom, and never at what is there from the start.

    A request makes hundreds of values and hardly a cycle; looked at as often as by default, they
    cost 6 % of the gateway's time and pauses of 40 ms (docs/lab-log.md).
    """
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 50)


def serve(runtime: Serving, *, load: Callable[[], Config] | None = None) -> int:
    """Serve until told to stop; return the process's exit status.

    ``load`` reads the configuration again, for SIGHUP.
    """
    lines = log.configure(runtime.config)
    app = App(runtime)
    app.inference.line = log.RequestLines(lines, app.inference.redact)
    server = Server(app, load=load, lines=lines)
    _rest_collector()
    try:
        server.run()
    except SystemExit as stop:  # uvicorn's way to say that start-up failed
        return int(stop.code or 0)
    finally:
        lines.flush()
    return 0
