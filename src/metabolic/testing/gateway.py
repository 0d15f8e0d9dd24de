"""A real gateway on a real socket, in a thread or in a process of its own, for end-to-end tests."""

__all__ = ["GatewayProcess", "Running", "config_for", "free_port", "gateway_in_thread"]

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from metabolic import wiring
from metabolic.config import parse
from metabolic.gateway.app import App
from metabolic.gateway.server import Server

_START_S = 15.0
_HEAD = "[server]\nport = {port}\ndrain_s = {drain_s}\nkeep_alive_s = {keep_alive_s}\n"
_REST = '[sense]\nenabled = false\n[models]\nfleet = "none"\n[ledger]\nkind = "{ledger}"\n'
_CAPABILITIES = (
    "chat",
    "completions",
    "embeddings",
    "json",
    "json_schema",
    "logprobs",
    "reasoning",
    "tools",
    "vision",
)


def config_for(
    upstreams: Mapping[str, tuple[str, str]],
    *,
    port: int = 0,
    drain_s: float = 5.0,
    keep_alive_s: float = 5.0,
    ledger: str = "memory",
    more: str = "",
) -> str:
    """Return a configuration over remote deployments: name → (base URL, upstream's model).

    ``more`` is TOML to add.
    """
    head = _HEAD.format(port=port, drain_s=drain_s, keep_alive_s=keep_alive_s)
    text = head + _REST.format(ledger=ledger)
    capabilities = ", ".join(f'"{name}"' for name in _CAPABILITIES)
    for name, (base_url, model) in upstreams.items():
        text += (
            f'[[deployment]]\nname = "{name}"\nbase_url = "{base_url}"\n'
            f'upstream_model = "{model}"\ncapabilities = [{capabilities}]\n'
        )
    return text + more


def free_port() -> int:
    """Return a port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    """A gateway that answers at ``base_url``; ``server.app.runtime`` is its runtime."""

    def __init__(self, server: Server) -> None:
        """Keep the server; its port is known once it listens."""
        self.server = server
        self.port = 0

    @property
    def base_url(self) -> str:
        """Return what clients take as OpenAI's ``base_url``."""
        return f"http://127.0.0.1:{self.port}/v1"


@contextlib.contextmanager
def gateway_in_thread(text: str) -> Generator[Running]:
    """Run a gateway with the configuration ``text`` in a thread and loop of its own."""
    running = Running(Server(App(wiring.build(parse(text, source="test.toml")))))
    thread = threading.Thread(target=running.server.run, daemon=True)
    thread.start()
    end_s = time.monotonic() + _START_S
    while not running.server.started and thread.is_alive() and time.monotonic() < end_s:
        time.sleep(0.005)
    running.port = running.server.port
    try:
        yield running
    finally:
        running.server.should_exit = True
        thread.join(_START_S)


class GatewayProcess:
    """``metabolic serve`` in a process of its own, killed when the ``with`` ends."""

    def __init__(
        self, config: Path, *, port: int, environ: Mapping[str, str] | None = None
    ) -> None:
        """Start it; ``port`` is the one in ``config``. Its log goes beside ``config``."""
        self.port = port
        self.log_path = config.with_suffix(".log")
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "metabolic", "serve", "--config", str(config)],
                stdout=log,
                stderr=log,
                env=dict(os.environ) | dict(environ or {}),
            )

    def limit_files(self, most_bytes: int) -> None:
        """Let it write no file beyond this size, as if the disk were full. Linux only."""
        import resource  # noqa: PLC0415 - not on every system

        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    @property
    def base_url(self) -> str:
        """Return what clients take as OpenAI's ``base_url``."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def log(self) -> str:
        """Return what it has logged."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def status(self, path: str) -> int | None:
        """Return the status of ``GET path``; ``None`` when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as got:
                return int(got.status)
        except urllib.error.HTTPError as refused:
            return refused.code
        except OSError:
            return None

    def wait_for(self, path: str, *, status: int = 200, timeout_s: float = _START_S) -> None:
        """Wait until ``GET path`` has ``status``. Raises ``TimeoutError`` with the log."""
        end_s = time.monotonic() + timeout_s
        while self.status(path) != status:
            if self.process.poll() is not None or time.monotonic() > end_s:
                raise TimeoutError(self.log)
            time.sleep(0.01)

    def wait_log(self, text: str, *, timeout_s: float = _START_S) -> None:
        """Wait until the log holds ``text``. Raises ``TimeoutError`` with the log."""
        end_s = time.monotonic() + timeout_s
        while text not in self.log:
            if time.monotonic() > end_s:
                raise TimeoutError(self.log)
            time.sleep(0.01)

    def __enter__(self) -> Self:
        """Wait until it is alive."""
        try:
            self.wait_for("/health")
        except TimeoutError:
            self.process.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None
    ) -> None:
        """Stop it, by force when it does not go."""
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
