"""A child process that serves HTTP: started, awaited, stopped, and never left behind."""

__all__ = ["ServerProcess", "healthy"]

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Self
from urllib.parse import urlsplit

from metabolic.core.errors import EngineError

_TAIL_BYTES = 8192
_SHOWN_LINES = 12
_FIRST_POLL_S = 0.01
_LONGEST_POLL_S = 0.25
_KILLED_S = 5.0
_ASK = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class ServerProcess:
    """A child that announces its URL on standard output and lives by its standard input.

    It has its own session, so that a terminal's Ctrl-C reaches the gateway alone, which then
    stops its children in order. The last of what it logs is kept for error messages.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._tail = b""
        self._reading = asyncio.create_task(self._read_log())

    @classmethod
    async def spawn(cls, command: list[str], *, environment: Mapping[str, str], key: str) -> Self:
        """Start ``command`` and hand it ``key`` on its standard input.

        Raises:
            EngineError: the program cannot be started.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=dict(environment),
                start_new_session=True,
            )
        except OSError as exc:
            message = f"cannot start {command[0]}: {exc}"
            raise EngineError(message) from exc
        assert process.stdin is not None
        process.stdin.write(key.encode() + b"\n")
        return cls(process)

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Say whether it runs; false as soon as its end was seen."""
        return self._process.returncode is None

    @property
    def log(self) -> str:
        """Return the last lines it logged."""
        lines = self._tail.decode(errors="replace").splitlines()
        return "\n".join(lines[-_SHOWN_LINES:])

    async def ended(self) -> str:
        """Return how it ended, once it has."""
        code = await self._process.wait()
        await asyncio.wait({self._reading})
        if code >= 0:
            return f"exited with status {code}"
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
        return f"was killed by signal {-code}"

    async def url(self) -> str:
        """Return the URL it announced, once it answers its health check.

        Raises:
            EngineError: it ended first; the message has the last lines of its log.
        """
        stdout = self._process.stdout
        assert stdout is not None
        line = await stdout.readline()
        try:
            url = str(json.loads(line)["url"])
        except (ValueError, KeyError, TypeError) as exc:
            raise EngineError(await self._obituary()) from exc
        wait_s = _FIRST_POLL_S
        while not await healthy(url):
            if not self.alive:
                raise EngineError(await self._obituary())
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_POLL_S)
        return url

    async def stop(self, *, grace_s: float) -> None:
        """End it: SIGTERM, after ``grace_s`` SIGKILL, and wait until it is reaped."""
        if self.alive:
            self._signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), grace_s)
            except TimeoutError:
                self.kill()
                await asyncio.wait_for(self._process.wait(), _KILLED_S)
        self._reading.cancel()
        await asyncio.wait({self._reading})
        if self._process.stdin is not None:
            self._process.stdin.close()

    def kill(self) -> None:
        """End it at once, also one that is stopped; ``ended`` says when it is gone."""
        self._signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)

    async def _obituary(self) -> str:
        """Return how it ended, with the last lines of its log."""
        if self.alive:  # it closed its output without a word: of no use any more
            await self.stop(grace_s=1.0)
        how = await self.ended()
        return f"it {how}; its log ends:\n{self.log}" if self.log else f"it {how}, without a word"

    def _signal(self, number: int) -> None:
        """Signal its whole process group; gone already is fine."""
        with contextlib.suppress(ProcessLookupError):
            if sys.platform == "win32":
                self._process.send_signal(number)
            else:
                os.killpg(self.pid, number)

    async def _read_log(self) -> None:
        """Keep the end of what it logs; reading on keeps its pipe from filling up."""
        assert self._process.stderr is not None
        while chunk := await self._process.stderr.read(_TAIL_BYTES):
            self._tail = (self._tail + chunk)[-_TAIL_BYTES:]


async def healthy(url: str, *, timeout_s: float = 2.0) -> bool:
    """Say whether ``GET /health`` at ``url`` answers 200; never raises."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(_ASK)
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return False
    return status.split(b" ")[1:2] == [b"200"]
