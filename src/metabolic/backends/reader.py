"""Read a streamed answer: pass on what the client may have, gather what Metabolic needs. No I/O.

An event is passed on as it came, unless Metabolic asked for more than the client: then usage and
log-probabilities are taken out of it. The stream is whole when ``[DONE]`` came, or when it ended
properly after every choice had its finish reason; everything else is broken off.
"""

__all__ = ["Reader"]

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from metabolic.backends.gather import Gathered
from metabolic.backends.shapes import Chunk, ChunkTops, Lean, drafts_of, usage_of
from metabolic.backends.sse import Splitter, data_of
from metabolic.backends.status import error_in_band
from metabolic.backends.wire import strip_logprobs, strip_usage
from metabolic.core.attempt import Call, Reply
from metabolic.core.errors import BackendError, BadReply, Unreachable
from metabolic.core.request import Request, Usage
from metabolic.core.speculation import Drafts

_chunk = msgspec.json.Decoder(Chunk)
_chunk_tops: msgspec.json.Decoder[Chunk] = msgspec.json.Decoder(ChunkTops)
_lean = msgspec.json.Decoder(Lean)

_BROKE_OFF = "the deployment broke off in the middle of its answer"
_EMPTY = "the deployment's answer is empty"


class Reader:
    """Takes the bytes of one streamed answer.

    ``feed`` gives the events for the client; ``error`` is then what went wrong after them, and
    ``done`` says that the answer is whole.
    """

    __slots__ = (
        "_add",
        "_decode",
        "_drafts",
        "_events",
        "_gathered",
        "_hides_logprobs",
        "_hides_usage",
        "_max_event_bytes",
        "_secret",
        "_splitter",
        "_usage",
        "done",
        "error",
    )

    def __init__(
        self,
        request: Request,
        call: Call,
        *,
        max_event_bytes: int = 4 * 1024 * 1024,
        secret: str | None = None,
    ) -> None:
        """``max_event_bytes`` bounds one event; ``secret`` is never passed on in an error."""
        self._splitter = Splitter()
        self._gathered = Gathered(_expected(request))
        self._decode: Callable[[bytes], Chunk | Lean] = _lean.decode
        self._add: Callable[[Any], None] = self._gathered.note
        if call.keep:
            decode = (_chunk_tops if call.alternatives else _chunk).decode
            self._decode, self._add = decode, self._gathered.add
        self._usage = Usage()
        self._drafts: Drafts | None = None
        self._events = 0
        self._hides_usage = not request.include_usage
        self._hides_logprobs = call.logprobs and not request.sampling.logprobs
        self._max_event_bytes = max_event_bytes
        self._secret = secret
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
        """Take the proper end of the body, and return what is left for the client.

        ``error`` is set when the answer was not whole by then.
        """
        rest = self._splitter.finish()
        passed = b""
        if rest.strip() and not self.done:
            whole = rest.rstrip(b"\r\n") + b"\n\n"
            if data_of(whole) is None and not rest.startswith(b":"):
                self.error = self._no_stream(rest)
            else:
                passed = self._pass([(whole, data_of(whole))])
        if not self.done and self.error is None:
            if self._gathered.finished:
                self.done = True
            elif self._events:
                self.error = Unreachable(_BROKE_OFF)
            else:
                self.error = BadReply(_EMPTY)
        return passed

    def reply(self) -> Reply:
        """Return what was answered so far; without ``call.keep``, usage and finish reasons only."""
        return Reply(choices=self._gathered.choices(), usage=self._usage, drafts=self._drafts)

    def logprobs(self) -> Sequence[float]:
        """Return the token log-probabilities of the first choice so far."""
        return self._gathered.logprobs()

    def _pass(self, events: list[tuple[bytes, bytes | None]]) -> bytes:
        passed: list[bytes] = []
        for event, data in events:
            if self.done or self.error is not None:
                break
            if data is None:
                continue
            try:
                passed.append(self._event(event, data))
            except BackendError as exc:
                self.error = exc
        return passed[0] if len(passed) == 1 else b"".join(passed)

    def _event(self, event: bytes, data: bytes) -> bytes:
        """Return an event as the client may have it, ``b""`` if not at all.

        Raises:
            BackendError: it is an error, or no chunk of an answer.
        """
        if data == b"[DONE]":
            self._end()
            return b""
        try:
            chunk = self._decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            message = "an event of the deployment's answer is not a chunk of an answer"
            raise BadReply(message) from exc
        if chunk.error is not None:
            raise error_in_band(msgspec.json.encode(chunk.error), secret=self._secret)
        self._events += 1
        self._add(chunk)
        if chunk.usage is not None or chunk.timings is not None:
            self._usage = usage_of(chunk.usage, chunk.timings)
            self._drafts = drafts_of(chunk.timings) or self._drafts
            return self._shown(event, data, chunk)
        return self._shown(event, data, chunk) if self._hides_logprobs else event

    def _shown(self, event: bytes, data: bytes, chunk: Chunk | Lean) -> bytes:
        """Take out of an event what only Metabolic asked for."""
        shown = data
        if self._hides_usage and chunk.usage is not None:
            if not chunk.choices:
                return b""
            shown = strip_usage(shown)
        if self._hides_logprobs and chunk.choices:
            shown = strip_logprobs(shown)
        return event if shown is data else b"data: " + shown + b"\n\n"

    def _end(self) -> None:
        if not self._events:
            raise BadReply(_EMPTY)
        self.done = True

    def _no_stream(self, rest: bytes) -> BackendError:
        """Say what a body that is no event stream is: perhaps an error in plain JSON."""
        try:
            error = _lean.decode(rest).error
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            error = None
        if error is not None:
            return error_in_band(msgspec.json.encode(error), secret=self._secret)
        if self._events:
            return Unreachable(_BROKE_OFF)
        return BadReply("the deployment did not answer with a stream")


def _expected(request: Request) -> int:
    """Return how many choices a whole answer has: ``n`` for each prompt."""
    return request.n * (len(request.messages) or 1 if request.dialect == "completions" else 1)
