"""The upstream that the gateway is measured against: as fast as Python allows, always the same.

``POST …/chat/completions`` is answered with a short completion, with usage, and with token
log-probabilities when they are asked for, as a real engine does; with ``"stream":true`` by
``EVENTS`` events. ``metabolic.bench.gateway`` starts it in a process of its own:

    python -m metabolic.bench.mock
"""

__all__ = ["EVENTS", "Line", "main"]

import asyncio
import sys
from typing import cast

import httptools
import msgspec

EVENTS = 200
"""Text events of one streamed answer; a role, a finish and maybe a usage event come on top."""

_WORDS = ("The", " sum", " of", " seven", " and", " five", " is", " twelve", ".")
_USAGE = {"prompt_tokens": 40, "completion_tokens": len(_WORDS), "total_tokens": 40 + len(_WORDS)}
_HEAD = {"id": "chatcmpl-mock", "created": 1_700_000_000, "model": "mock"}

_encode = msgspec.json.encode


def _logprobs(word: str) -> dict[str, object]:
    """Return one token's log-probability as OpenAI writes it."""
    told = {"token": word, "logprob": -0.05, "bytes": list(word.encode())}
    return {**told, "top_logprobs": [told]}


def _whole(*, logprobs: bool) -> bytes:
    """Return a whole HTTP answer."""
    choice: dict[str, object] = {
        "index": 0,
        "message": {"role": "assistant", "content": "".join(_WORDS)},
        "finish_reason": "stop",
        "logprobs": {"content": [_logprobs(word) for word in _WORDS]} if logprobs else None,
    }
    body = _encode({**_HEAD, "object": "chat.completion", "choices": [choice], "usage": _USAGE})
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


def _event(delta: dict[str, str], finish: str | None = None, *, logprobs: bool = False) -> bytes:
    """Return one chunk of a chunked body, holding one event."""
    choice: dict[str, object] = {"index": 0, "delta": delta, "finish_reason": finish}
    if logprobs:
        choice["logprobs"] = {"content": [_logprobs(delta.get("content", ""))]}
    return _chunk(_encode({**_HEAD, "object": "chat.completion.chunk", "choices": [choice]}))


def _chunk(data: bytes) -> bytes:
    """Return an event in a chunk."""
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n" % len(event) + event + b"\r\n"


def _streamed(*, logprobs: bool, usage: bool) -> list[bytes]:
    """Return the parts of a streamed HTTP answer, each written on its own."""
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    parts = [head + _event({"role": "assistant", "content": ""})]
    parts += [_event({"content": " word"}, logprobs=logprobs)] * EVENTS
    parts.append(_event({}, "stop"))
    if usage:
        parts.append(
            _chunk(
                _encode(
                    {**_HEAD, "object": "chat.completion.chunk", "choices": (), "usage": _USAGE}
                )
            )
        )
    parts.append(_chunk(b"[DONE]") + b"0\r\n\r\n")
    return parts


_WHOLE = {flag: _whole(logprobs=flag) for flag in (False, True)}
_PARTS = {
    (logprobs, usage): _streamed(logprobs=logprobs, usage=usage)
    for logprobs in (False, True)
    for usage in (False, True)
}


class Line(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        """Prepare to parse."""
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._path = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._body.clear()

    def on_url(self, url: bytes) -> None:
        """Keep the path."""
        self._path = url

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Answer."""
        body = b"".join(self._body)
        logprobs = b'"logprobs":true' in body
        if self._parser.get_method() == b"GET":
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        elif b'"stream":true' in body:
            for part in _PARTS[logprobs, b'"include_usage":true' in body]:
                self._transport.write(part)
        else:
            self._transport.write(_WHOLE[logprobs])


async def _serve() -> None:
    """Listen on a free port of loopback, and print it."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Line, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    """Run the upstream until it is killed."""
    import uvloop  # noqa: PLC0415 - only the process that serves needs it

    uvloop.run(_serve())


if __name__ == "__main__":
    main()
