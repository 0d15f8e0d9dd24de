"""Read Anthropic's streamed answer: pass it on, or say it in OpenAI's chunks. No I/O.

To a client that speaks Messages every event goes as it came. The stream is whole when
``message_stop`` came; everything else is broken off.

Source: Anthropic API reference, "Streaming messages".
"""

__all__ = ["ClaudeReader"]

from collections.abc import Sequence
from typing import Any

import msgspec

from metabolic.backends.claude_answer import usage_json
from metabolic.backends.claude_shapes import Block, Event, Said, Tokens, finish_of, usage_of
from metabolic.backends.sse import Splitter, data_of
from metabolic.backends.status import error_in_band
from metabolic.core.attempt import Reply, ReplyChoice, ToolCall
from metabolic.core.errors import BackendError, BadReply, Unreachable
from metabolic.core.request import Request

Json = dict[str, Any]

_event = msgspec.json.Decoder(Event)
_encode = msgspec.json.encode
_BROKE_OFF = "the deployment broke off in the middle of its answer"
_EMPTY = "the deployment's answer is empty"


class _Tool:
    __slots__ = ("id", "name", "number", "parts")

    def __init__(self, block: Block, number: int) -> None:
        self.id, self.name, self.number = block.id, block.name or "", number
        self.parts: list[str] = []


class ClaudeReader:
    """Takes the bytes of one streamed message; see ``Reader`` for what it offers."""

    def __init__(
        self,
        request: Request,
        *,
        at_s: float,
        max_event_bytes: int = 4 * 1024 * 1024,
        secret: str | None = None,
    ) -> None:
        """``at_s`` (seconds since the epoch) is what OpenAI calls ``created``."""
        self._native = request.native is not None and request.native.dialect == "messages"
        self._shows_usage = request.include_usage
        self._splitter = Splitter()
        self._at_s, self._secret, self._max_event_bytes = at_s, secret, max_event_bytes
        self._head = Said()
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._signed: Json = {}
        self._tools: dict[int, _Tool] = {}
        self._last: Tokens | None = None
        self._finish: str | None = None
        self._begun = False
        self.done = False
        self.error: BackendError | None = None

    def feed(self, data: bytes) -> bytes:
        """Return the events that ``data`` completes and the client may have, ``b""`` for none."""
        passed = self._pass(self._splitter.feed(data))
        if self._splitter.pending_bytes > self._max_event_bytes and not self.done:
            over = f"an event of the answer exceeds {self._max_event_bytes} bytes"
            self.error = self.error or BadReply(over)
        return passed

    def finish(self) -> bytes:
        """Take the proper end of the body; ``error`` is set when the answer was not whole."""
        rest, passed = self._splitter.finish(), b""
        if rest.strip() and not self.done:
            whole = rest.rstrip(b"\r\n") + b"\n\n"
            passed = self._pass([(whole, data_of(whole))])
        if not self.done and self.error is None:
            self.error = Unreachable(_BROKE_OFF) if self._begun else BadReply(_EMPTY)
        return passed

    def reply(self) -> Reply:
        """Return what was answered so far."""
        calls = tuple(
            ToolCall(id=tool.id, name=tool.name, arguments="".join(tool.parts) or "{}")
            for tool in self._tools.values()
        )
        choice = ReplyChoice(
            text="".join(self._text),
            reasoning="".join(self._thoughts),
            finish_reason=self._finish,
            tool_calls=calls,
        )
        return Reply(choices=(choice,), usage=usage_of(self._head.usage, self._last))

    def logprobs(self) -> Sequence[float]:
        """Return none: that dialect has no log-probabilities."""
        return ()

    def _pass(self, events: list[tuple[bytes, bytes | None]]) -> bytes:
        passed: list[bytes] = []
        for event, data in events:
            if self.done or self.error is not None:
                break
            if data is None:
                continue
            try:
                passed.append(self._one(event, data))
            except BackendError as exc:
                self.error = exc
        return b"".join(passed)

    def _one(self, written: bytes, data: bytes) -> bytes:
        """Note an event and return it as the client may have it. Raises ``BackendError``."""
        try:
            event = _event.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            message = "an event of the deployment's answer is no event of a message"
            raise BadReply(message) from exc
        if event.error is not None or event.type == "error":
            raise error_in_band(_encode(event.error or {}), secret=self._secret)
        said = self._noted(event)
        return written if self._native else said

    def _noted(self, event: Event) -> bytes:
        match event.type:
            case "message_start":
                self._begun, self._head = True, event.message or Said()
                return self._chunk({"role": "assistant", "content": ""})
            case "content_block_start":
                return self._block(event.index, event.content_block or Block())
            case "content_block_delta":
                return self._delta(event)
            case "content_block_stop" if self._signed:
                signed, self._signed = self._signed, {}
                return self._chunk({"thinking_blocks": [signed]})
            case "message_delta":
                return self._ended(event)
            case "message_stop":
                return self._stopped()
            case _:
                return b""  # a ping, or an event of the future

    def _block(self, index: int, block: Block) -> bytes:
        if block.type == "thinking":
            self._signed = {"type": "thinking", "thinking": block.thinking or "", "signature": ""}
        elif block.type == "redacted_thinking":
            self._signed = {"type": "redacted_thinking", "data": block.data or ""}
        elif block.type == "tool_use":
            tool = self._tools[index] = _Tool(block, len(self._tools))
            function = {"name": tool.name, "arguments": ""}
            call = {"index": tool.number, "id": tool.id, "type": "function", "function": function}
            return self._chunk({"tool_calls": [call]})
        elif block.type == "text" and block.text:
            return self._say(block.text)
        return b""

    def _delta(self, event: Event) -> bytes:
        delta = event.delta
        if delta is None:
            return b""
        if delta.type == "text_delta":
            return self._say(delta.text or "")
        if delta.type == "thinking_delta":
            self._thoughts.append(delta.thinking or "")
            self._signed["thinking"] = self._signed.get("thinking", "") + (delta.thinking or "")
            return self._chunk({"reasoning_content": delta.thinking or ""})
        if delta.type == "signature_delta":
            self._signed["signature"] = self._signed.get("signature", "") + (delta.signature or "")
        elif delta.type == "input_json_delta" and event.index in self._tools:
            tool = self._tools[event.index]
            tool.parts.append(delta.partial_json or "")
            function = {"arguments": delta.partial_json or ""}
            return self._chunk({"tool_calls": [{"index": tool.number, "function": function}]})
        return b""

    def _say(self, text: str) -> bytes:
        self._text.append(text)
        return self._chunk({"content": text})

    def _ended(self, event: Event) -> bytes:
        self._last = event.usage or self._last
        reason = finish_of(event.delta.stop_reason if event.delta else None)
        if reason is None:
            return b""
        self._finish = reason
        return self._chunk({}, finish=reason)

    def _stopped(self) -> bytes:
        if not self._begun:
            raise BadReply(_EMPTY)
        self.done = True
        if not self._shows_usage or self._native:
            return b""
        usage = usage_of(self._head.usage, self._last)
        return self._data({"choices": [], "usage": usage_json(usage)})

    def _chunk(self, delta: Json, *, finish: str | None = None) -> bytes:
        if self._native:
            return b""
        return self._data({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    def _data(self, rest: Json) -> bytes:
        head: Json = {
            "id": self._head.id,
            "object": "chat.completion.chunk",
            "created": int(self._at_s),
            "model": self._head.model,
        }
        return b"data: " + _encode(head | rest) + b"\n\n"
