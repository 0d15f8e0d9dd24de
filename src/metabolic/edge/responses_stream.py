"""A streamed answer in the events of OpenAI's Responses. No I/O.

Source: OpenAI API reference, "Streaming events".
"""

__all__ = ["ResponseEvents"]

from typing import Any

import msgspec

from metabolic.edge.answered import Call, Choice, Function, Tokens, read_events
from metabolic.edge.responses_answer import call_item, ended, frame, message_item, usage_json

Json = dict[str, Any]

_encode = msgspec.json.encode


class _Item:
    """An output item under way: reasoning, text, a refusal or a call of a function."""

    __slots__ = ("call_id", "id", "index", "kind", "name", "number", "parts")

    def __init__(self, kind: str, identity: str, index: int) -> None:
        self.kind, self.id, self.index = kind, identity, index
        self.parts: list[str] = []
        self.number: int | None = None
        self.call_id = self.name = ""

    @property
    def said(self) -> str:
        return "".join(self.parts)

    def part(self) -> Json:
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": self.said}
        if self.kind == "reasoning":
            return {"type": "reasoning_text", "text": self.said}
        return {"type": "output_text", "text": self.said, "annotations": []}

    def whole(self, status: str) -> Json:
        if self.kind == "call":
            function = Function(name=self.name, arguments=self.said)
            return call_item(Call(id=self.call_id, function=function), self.id, status=status)
        parts = [self.part()] if status == "completed" else []
        if self.kind == "reasoning":
            return {"id": self.id, "type": "reasoning", "summary": [], "content": parts}
        return message_item(self.id, parts, status=status)


_DELTAS = {
    "call": "response.function_call_arguments",
    "reasoning": "response.reasoning_text",
    "refusal": "response.refusal",
    "text": "response.output_text",
}
_WORDS = {"call": "arguments", "reasoning": "text", "refusal": "refusal", "text": "text"}


class ResponseEvents:
    """Turns chunks of a chat completion into events of a response."""

    def __init__(self, asked: bytes, *, identity: str, created_s: int) -> None:
        """``asked`` is the client's body; ``created_s`` is in seconds since the epoch."""
        self._identity = identity
        self._frame = frame(asked, identity=identity, created_s=created_s)
        self._done: list[Json] = []
        self._item: _Item | None = None
        self._usage: Tokens | None = None
        self._finish: str | None = None
        self._number = 0
        self._begun = False

    def feed(self, events: bytes) -> bytes:
        """Return the events that follow from whole events of the upstream."""
        made: list[bytes] = []
        for chunk in read_events(events):
            if chunk.model:
                self._frame["model"] = chunk.model
            self._usage = chunk.usage or self._usage
            made.append(self._begin())
            made.extend(self._choice(one) for one in chunk.choices or () if one.index == 0)
        return b"".join(made)

    def finish(self, meta: bytes) -> bytes:
        """End a whole answer; ``meta`` is the ``metabolic`` object as JSON."""
        made = self._begin() + self._close()
        whole = self._frame | {"output": self._done, "usage": usage_json(self._usage)}
        whole |= ended(self._finish)
        kind = f"response.{whole['status']}"
        return made + self._event(kind, {"response": whole | {"metabolic": msgspec.Raw(meta)}})

    def fail(self, event: bytes) -> bytes:
        """End an answer that broke off: it has failed, and is never completed."""
        try:
            said: Json = msgspec.json.decode(event.removeprefix(b"data:").strip())["error"]
        except (msgspec.MsgspecError, KeyError, TypeError):
            said = {}
        error = {"code": said.get("code") or "server_error", "message": said.get("message", "")}
        failed = self._frame | {"status": "failed", "error": error, "output": self._done}
        return self._begin() + self._event("response.failed", {"response": failed})

    def _choice(self, choice: Choice) -> bytes:
        self._finish = choice.finish_reason or self._finish
        delta, made = choice.delta, b""
        if delta is None:
            return b""
        for kind, text in (
            ("reasoning", delta.thought),
            ("text", delta.text),
            ("refusal", delta.refusal),
        ):
            if text:
                made += self._open(kind) + self._add(text)
        return made + b"".join(self._call(call) for call in delta.tool_calls or ())

    def _call(self, call: Call) -> bytes:
        item, made, function = self._item, b"", call.function
        fresh = item is None or item.kind != "call" or item.number != call.index
        if fresh or (call.index is None and call.id is not None):
            made = self._close()
            item = self._new("call")
            item.number, item.call_id = call.index, call.id or item.id
            item.name = (function.name if function else None) or ""
            made += self._added(item)
        if function is not None and function.arguments:
            made += self._add(function.arguments)
        return made

    def _open(self, kind: str) -> bytes:
        if self._item is not None and self._item.kind == kind:
            return b""
        made = self._close()
        item = self._new(kind)
        return made + self._added(item) + self._event("response.content_part.added", self._at(item))

    def _new(self, kind: str) -> _Item:
        index = len(self._done)
        prefix = {"call": "fc", "reasoning": "rs"}.get(kind, "msg")
        self._item = item = _Item(kind, f"{prefix}_{self._identity}_{index}", index)
        return item

    def _added(self, item: _Item) -> bytes:
        said = {"output_index": item.index, "item": item.whole("in_progress")}
        return self._event("response.output_item.added", said)

    def _add(self, text: str) -> bytes:
        item = self._item
        assert item is not None
        item.parts.append(text)
        said: Json = {"item_id": item.id, "output_index": item.index, "delta": text}
        if item.kind != "call":
            said["content_index"] = 0
        if item.kind == "text":
            said["logprobs"] = []
        return self._event(f"{_DELTAS[item.kind]}.delta", said)

    def _close(self) -> bytes:
        """End the item under way."""
        item, self._item = self._item, None
        if item is None:
            return b""
        said: Json = {"item_id": item.id, "output_index": item.index, _WORDS[item.kind]: item.said}
        if item.kind == "call":
            said["name"] = item.name
        else:
            said["content_index"] = 0
        if item.kind == "text":
            said["logprobs"] = []
        made = self._event(f"{_DELTAS[item.kind]}.done", said)
        if item.kind != "call":
            made += self._event("response.content_part.done", self._at(item))
        whole = item.whole("completed")
        self._done.append(whole)
        done = {"output_index": item.index, "item": whole}
        return made + self._event("response.output_item.done", done)

    def _at(self, item: _Item) -> Json:
        where: Json = {"item_id": item.id, "output_index": item.index, "content_index": 0}
        return where | {"part": item.part()}

    def _begin(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        began = {"response": self._frame}
        return self._event("response.created", began) + self._event("response.in_progress", began)

    def _event(self, kind: str, fields: Json) -> bytes:
        body = {"type": kind, "sequence_number": self._number} | fields
        self._number += 1
        return b"event: " + kind.encode() + b"\ndata: " + _encode(body) + b"\n\n"
