"""A streamed answer in Anthropic's events. No I/O.

Chunks of OpenAI's become blocks: thinking, text, calls of tools, each opened and closed. Events
that are Anthropic's already pass as they came; only the end is held back, for the ``metabolic``
object to go into ``message_delta``.

Source: Anthropic API reference, "Streaming messages".
"""

__all__ = ["PING", "MessageEvents"]

from typing import Any

import msgspec

from metabolic.edge.answered import Call, Choice, Completion, Message, Tokens, read_events
from metabolic.edge.messages_answer import STOPS, error_json, usage_json

Json = dict[str, Any]

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
"""What keeps a connection open."""

_END = b"event: message_delta\n"
_encode = msgspec.json.encode


class MessageEvents:
    """Turns what an upstream streams into events of a message."""

    def __init__(self, *, identity: str, model: str) -> None:
        """``identity`` names the message; ``model`` is what was asked for."""
        self._identity, self._model = identity, model
        self._begun = False
        self._native = False
        self._kind = ""
        self._index = -1
        self._tool: int | None = None
        self._stop = "end_turn"
        self._usage: Tokens | None = None
        self._held = b""

    def feed(self, events: bytes) -> bytes:
        """Return the events that follow from whole events of the upstream."""
        if self._native or (not self._begun and events.startswith(b"event:")):
            self._native = self._begun = True
            return self._pass(events)
        return b"".join(self._chunk(chunk) for chunk in read_events(events))

    def finish(self, meta: bytes) -> bytes:
        """End a whole answer; ``meta`` is the ``metabolic`` object as JSON."""
        if self._native:
            return _with(self._held, meta)
        delta: Json = {"stop_reason": self._stop, "stop_sequence": None}
        ended: Json = {"delta": delta, "usage": usage_json(self._usage)}
        last = _event("message_delta", ended | {"metabolic": msgspec.Raw(meta)})
        return self._begin() + self._close() + last + _event("message_stop", {})

    def fail(self, event: bytes) -> bytes:
        """End an answer that broke off: an error, and no ``message_stop``."""
        body = error_json(500, event.removeprefix(b"data:").strip(), identity=self._identity)
        return b"event: error\ndata: " + body + b"\n\n"

    def _pass(self, events: bytes) -> bytes:
        """Hold back from ``message_delta`` on; a ping behind it is not worth more."""
        if self._held:
            self._held += events
            return b""
        cut = 0 if events.startswith(_END) else events.find(b"\n" + _END) + 1
        if not cut and not events.startswith(_END):
            return events
        self._held = events[cut:]
        return events[:cut]

    def _chunk(self, chunk: Completion) -> bytes:
        self._usage = chunk.usage or self._usage
        said = b"".join(self._choice(one) for one in chunk.choices or () if one.index == 0)
        return self._begin(chunk) + said if said or not self._begun else said

    def _choice(self, choice: Choice) -> bytes:
        self._stop = STOPS.get(choice.finish_reason or "", self._stop)
        delta = choice.delta
        if delta is None:
            return b""
        made = self._think(delta)
        text = delta.text or delta.refusal
        if text:
            made += self._open("text", {"type": "text", "text": ""})
            made += self._delta({"type": "text_delta", "text": text})
        return made + b"".join(self._call(call) for call in delta.tool_calls or ())

    def _think(self, delta: Message) -> bytes:
        made = b""
        if delta.thought:
            empty = {"type": "thinking", "thinking": "", "signature": ""}
            made += self._open("thinking", empty)
            made += self._delta({"type": "thinking_delta", "thinking": delta.thought})
        for block in delta.thinking_blocks or ():
            if block.get("type") == "redacted_thinking":
                made += self._open("redacted_thinking", block, anew=True)
            elif self._kind == "thinking":
                signature = block.get("signature", "")
                made += self._delta({"type": "signature_delta", "signature": signature})
        return made

    def _call(self, call: Call) -> bytes:
        """Open a block for a new call of a tool, and add to it."""
        function, made = call.function, b""
        fresh = self._kind != "tool_use" or (call.index is None and call.id is not None)
        if fresh or (call.index is not None and call.index != self._tool):
            self._tool = call.index
            block: Json = {"type": "tool_use", "id": call.id or f"toolu_{self._index + 1}"}
            block |= {"name": (function.name if function else None) or "", "input": {}}
            made += self._open("tool_use", block, anew=True)
        if function is not None and function.arguments:
            piece = {"type": "input_json_delta", "partial_json": function.arguments}
            made += self._delta(piece)
        return made

    def _open(self, kind: str, block: Json, *, anew: bool = False) -> bytes:
        if self._kind == kind and not anew:
            return b""
        closed = self._close()
        self._kind, self._index = kind, self._index + 1
        began: Json = {"index": self._index, "content_block": block}
        return closed + _event("content_block_start", began)

    def _delta(self, delta: Json) -> bytes:
        return _event("content_block_delta", {"index": self._index, "delta": delta})

    def _close(self) -> bytes:
        if not self._kind:
            return b""
        self._kind = ""
        return _event("content_block_stop", {"index": self._index})

    def _begin(self, chunk: Completion | None = None) -> bytes:
        """Return ``message_start`` once; input tokens are told at the end."""
        if self._begun:
            return b""
        self._begun = True
        message: Json = {
            "id": f"msg_{self._identity}",
            "type": "message",
            "role": "assistant",
            "model": (chunk.model if chunk else "") or self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_json(None),
        }
        return _event("message_start", {"message": message})


def _event(kind: str, fields: Json) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + _encode({"type": kind} | fields) + b"\n\n"


def _with(events: bytes, meta: bytes) -> bytes:
    """Put the ``metabolic`` object into the ``message_delta`` that the events begin with."""
    end = events.find(b"}\n")
    if not events.startswith(_END) or end < 0:
        return events
    return events[:end] + b',"metabolic":' + meta + events[end:]
