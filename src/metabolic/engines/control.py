"""Small requests to an engine's control plane, and small commands, with time limits.

Both run in a thread or a child process and never on the event loop; what goes wrong is an
``EngineError``. Commands are argument lists: no shell reads them.
"""

__all__ = ["Answer", "ask", "command", "rows"]

import asyncio
import contextlib
import http.client
from collections.abc import Sequence
from typing import cast
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from metabolic.core.errors import EngineError

_LARGEST_BYTES = 1024 * 1024
_SAID_BYTES = 2000


class Answer(Struct, frozen=True, kw_only=True):
    """What an engine answered: the status, and the body as JSON (``None``: it is not)."""

    status: int
    body: object = None

    @property
    def ok(self) -> bool:
        """Say whether it is a success."""
        return 200 <= self.status < 300  # noqa: PLR2004 - HTTP


async def ask(
    url: str,
    *,
    method: str = "GET",
    body: object = None,
    api_key: str | None = None,
    timeout_s: float = 5.0,
) -> Answer:
    """Return what an address answers, whatever its status.

    Raises:
        EngineError: nobody answers there.
    """
    return await asyncio.to_thread(_ask, url, method, body, api_key, timeout_s)


def _ask(url: str, method: str, body: object, api_key: str | None, timeout_s: float) -> Answer:
    """Ask, blocking."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    headers = {"Accept": "application/json"}
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    content = b"" if body is None else msgspec.json.encode(body)
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        connection.request(method, path or "/", body=content or None, headers=headers)
        answer = connection.getresponse()
        return Answer(status=answer.status, body=_json(answer.read(_LARGEST_BYTES)))
    except (OSError, http.client.HTTPException, ValueError) as exc:
        message = f"{parts.scheme}://{parts.netloc}{parts.path} does not answer: {exc}"
        raise EngineError(message) from exc
    finally:
        connection.close()


def _json(content: bytes) -> object:
    """Return what JSON says; ``None`` when it is none."""
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        return None


def rows(answer: Answer, key: str) -> list[dict[str, object]] | None:
    """Return the tables listed under ``key``; ``None`` when the answer is no such list."""
    if not answer.ok or not isinstance(answer.body, dict):
        return None
    listed = cast("dict[str, object]", answer.body).get(key)
    if not isinstance(listed, list):
        return None if listed is not None else []
    return [
        cast("dict[str, object]", one)
        for one in cast("list[object]", listed)
        if isinstance(one, dict)
    ]


async def command(argv: Sequence[str], *, timeout_s: float) -> tuple[int, str]:
    """Run a command without a shell; return its status and the end of what it said.

    Raises:
        EngineError: it cannot be run, or took too long (and was killed).
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except (OSError, ValueError) as exc:
        message = f"{argv[0]} cannot be run: {exc}"
        raise EngineError(message) from exc
    try:
        async with asyncio.timeout(timeout_s):
            said, _ = await process.communicate()
    except TimeoutError as exc:
        message = f"{argv[0]} took longer than {timeout_s:g} s"
        raise EngineError(message) from exc
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    text = said[-_SAID_BYTES:].decode(errors="replace").strip()
    return process.returncode or 0, text
