"""A deterministic backend in this process, for tests, the simulator and a first try without models.

What it says is scripted by model, or by a function. Its answers go through the same code as a real
upstream's, so what only Metabolic asked for is taken out the same way. A marker in the last user
message makes it fail:

    [[unreachable]] [[overloaded]] [[timed_out]] [[refused]] [[bad_reply]]   before it answers
    [[cut:3]]   the stream breaks off after three tokens        [[hang]]     it never answers
"""

__all__ = ["FakeAnswer", "FakeBackend", "FakeStream", "Options", "Script", "create"]

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from metabolic.backends.reader import Reader
from metabolic.backends.wire import reply_of
from metabolic.core.attempt import Call, Reply
from metabolic.core.errors import (
    BackendError,
    BadReply,
    Overloaded,
    Refused,
    TimedOut,
    Unreachable,
)
from metabolic.core.fleet import Endpoint
from metabolic.core.ports import Clock
from metabolic.core.request import Request, Text

_MARKER = re.compile(r"\[\[([a-z_]+)(?::(\d+))?\]\]")
_TOKEN = re.compile(r"^\s+|\S+\s*")
_FAILURES: Mapping[str, Callable[[], BackendError]] = {
    "unreachable": lambda: Unreachable("no connection to the fake deployment"),
    "overloaded": lambda: Overloaded("the fake deployment answered 429", retry_after_s=2.0),
    "timed_out": lambda: TimedOut("the fake deployment took too long"),
    "refused": lambda: Refused("the fake deployment answered 400", status=400, body=b""),
    "bad_reply": lambda: BadReply("the fake deployment answered nonsense"),
}
_encode = msgspec.json.encode
_CALLS_KEPT = 1_000
"""A fake that serves for long must not grow with every call."""


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What it says and how fast.

    ``answers`` and ``logprobs`` (nats, for every token) go by the endpoint's model name; ``answer``
    and ``logprob`` are for all others. ``latency_s`` passes before an answer, ``token_s`` for each
    token.
    """

    answer: str = "This is the fake backend's answer."
    answers: dict[str, str] = {}
    logprob: float = -0.05
    logprobs: dict[str, float] = {}
    latency_s: float = 0.0
    token_s: float = 0.0


class FakeAnswer(Struct, frozen=True, kw_only=True):
    """One scripted answer: text, or a tool call as (name, arguments)."""

    text: str = ""
    logprob: float = -0.05
    reasoning: str = ""
    tool: tuple[str, str] | None = None
    finish_reason: str = "stop"


Script = Callable[[Request, Call], FakeAnswer]


def create(options: Options, *, endpoint: Endpoint) -> "FakeBackend":
    """Return a fake backend that answers as ``endpoint.model``."""
    return FakeBackend(options, model=endpoint.model)


class FakeBackend:
    """Answers at once, or after as long as the clock says; see ``Backend``.

    ``calls`` are the latest calls, at least 1,000; ``alive`` is what ``healthy`` says.
    """

    def __init__(
        self,
        options: Options | None = None,
        *,
        model: str = "fake",
        script: Script | None = None,
        clock: Clock | None = None,
    ) -> None:
        """``script`` goes before ``options``; without a clock time is real."""
        self._options = options or Options()
        self._model = model
        self._script = script
        self._clock = clock
        self.calls: list[Call] = []
        self.alive = True

    async def complete(self, request: Request, call: Call) -> Reply:
        """Return the whole answer."""
        answer, cut = await self._begin(request, call)
        tokens = _tokens(answer, request)
        await self._sleep(self._options.token_s * len(tokens))
        if cut is not None:
            message = "the deployment broke off in the middle of its answer"
            raise Unreachable(message)
        return reply_of(_whole(request, answer, tokens, self._model), request, call)

    async def stream(self, request: Request, call: Call) -> "FakeStream":
        """Begin a streamed answer."""
        answer, cut = await self._begin(request, call)
        events = _events(request, answer, _tokens(answer, request), self._model)
        if cut is not None:
            events = events[: cut + 1]
        return FakeStream(Reader(request, call), events, self._wait_token)

    async def healthy(self) -> bool:
        """Return ``alive``."""
        return self.alive

    async def aclose(self) -> None:
        """Do nothing."""

    async def _begin(self, request: Request, call: Call) -> tuple[FakeAnswer, int | None]:
        """Return the answer and after how many tokens it is cut; fail or hang if marked so."""
        self.calls.append(call)
        if len(self.calls) > 2 * _CALLS_KEPT:
            del self.calls[:_CALLS_KEPT]
        await self._sleep(self._options.latency_s)
        marker = _MARKER.search(_last_text(request))
        kind, count = marker.groups() if marker else (None, None)
        if kind == "hang":
            await asyncio.Event().wait()
        make = _FAILURES.get(kind or "")
        if make is not None:
            raise make()
        answer = self._answer(request, call)
        if request.given is None:
            return answer, int(count or 0) if kind == "cut" else None
        # It goes on with what it would have said, as engines do that can; a cut comes only once.
        return replace(answer, text=answer.text.removeprefix(request.given.text)), None

    def _answer(self, request: Request, call: Call) -> FakeAnswer:
        if self._script is not None:
            return self._script(request, call)
        options = self._options
        return FakeAnswer(
            text=options.answers.get(self._model, options.answer),
            logprob=options.logprobs.get(self._model, options.logprob),
        )

    async def _wait_token(self) -> None:
        await self._sleep(self._options.token_s)

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            await (self._clock.sleep(seconds) if self._clock else asyncio.sleep(seconds))


class FakeStream:
    """A streamed answer, one token an event; see ``Stream``."""

    def __init__(
        self, reader: Reader, events: list[bytes], wait: Callable[[], Awaitable[None]]
    ) -> None:
        """``wait`` is awaited before each event."""
        self._reader = reader
        self._events = iter(events)
        self._wait = wait
        self.closed = False

    def __aiter__(self) -> "FakeStream":
        """Return itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next event."""
        while True:
            if self._reader.error is not None:
                raise self._reader.error
            if self._reader.done or self.closed:
                raise StopAsyncIteration
            await self._wait()
            event = next(self._events, None)
            passed = self._reader.finish() if event is None else self._reader.feed(event)
            if passed:
                return passed

    def reply(self) -> Reply:
        """Return what was answered so far."""
        return self._reader.reply()

    def logprobs(self) -> Sequence[float]:
        """Return the token log-probabilities of the first choice so far."""
        return self._reader.logprobs()

    async def aclose(self) -> None:
        """Stop."""
        self.closed = True


def _last_text(request: Request) -> str:
    for message in reversed(request.messages):
        if message.role == "user":
            return "".join(block.text for block in message.content if isinstance(block, Text))
    return ""


def _tokens(answer: FakeAnswer, request: Request) -> list[str]:
    most = request.sampling.max_output_tokens
    if request.given is not None and most is not None:
        most = max(0, most - request.given.tokens)
    found: list[str] = _TOKEN.findall(answer.text)
    return found[:most]


def _usage(request: Request, tokens: list[str]) -> dict[str, int]:
    words = sum(
        len(block.text.split())
        for message in request.messages
        for block in message.content
        if isinstance(block, Text)
    )
    output = len(tokens) * request.n
    return {
        "prompt_tokens": words,
        "completion_tokens": output,
        "total_tokens": words + output,
    }


def _finish(answer: FakeAnswer, tokens: list[str]) -> str:
    if answer.tool is not None:
        return "tool_calls"
    return "length" if len("".join(tokens)) < len(answer.text) else answer.finish_reason


def _logprobs(request: Request, tokens: list[str], logprob: float) -> dict[str, object]:
    if request.dialect == "completions":
        return {"tokens": tokens, "token_logprobs": [logprob] * len(tokens)}
    return {"content": [{"token": token, "logprob": logprob} for token in tokens]}


def _whole(request: Request, answer: FakeAnswer, tokens: list[str], model: str) -> bytes:
    head: dict[str, object] = {"id": "fake", "created": 0, "model": model}
    usage = _usage(request, tokens)
    if request.dialect == "embeddings":
        data = [
            {"object": "embedding", "index": index, "embedding": [0.0, 1.0]}
            for index in range(len(request.messages))
        ]
        return _encode({**head, "object": "list", "data": data, "usage": usage})
    said: dict[str, object] = {"text": "".join(tokens)}
    if request.dialect == "chat":
        said = {"message": {"role": "assistant", **_said(answer, "".join(tokens))}}
    choice = {
        **said,
        "finish_reason": _finish(answer, tokens),
        "logprobs": _logprobs(request, tokens, answer.logprob),
    }
    choices = [{"index": index, **choice} for index in range(request.n)]
    kind = "chat.completion" if request.dialect == "chat" else "text_completion"
    return _encode({**head, "object": kind, "choices": choices, "usage": usage})


def _said(answer: FakeAnswer, text: str) -> dict[str, object]:
    said: dict[str, object] = {"content": text}
    if answer.reasoning:
        said["reasoning_content"] = answer.reasoning
    if answer.tool is not None:
        name, arguments = answer.tool
        call = {"index": 0, "id": "call_0", "type": "function"}
        said["tool_calls"] = [{**call, "function": {"name": name, "arguments": arguments}}]
    return said


def _events(request: Request, answer: FakeAnswer, tokens: list[str], model: str) -> list[bytes]:
    kind = "chat.completion.chunk" if request.dialect == "chat" else "text_completion"
    head: dict[str, object] = {"id": "fake", "object": kind, "created": 0, "model": model}
    chunks = [
        {**head, "choices": [{"index": index, "finish_reason": None, **choice}]}
        for index in range(request.n)
        for choice in _deltas(request, answer, tokens)
    ]
    chunks.append({**head, "choices": [], "usage": _usage(request, tokens)})
    events = [b"data: " + _encode(chunk) + b"\n\n" for chunk in chunks]
    return [*events, b"data: [DONE]\n\n"]


def _deltas(request: Request, answer: FakeAnswer, tokens: list[str]) -> Iterator[dict[str, object]]:
    chat = request.dialect == "chat"
    if chat:
        yield {"delta": {"role": "assistant", **_said(answer, "")}}
    for token in tokens:
        logprobs = _logprobs(request, [token], answer.logprob)
        yield {**({"delta": {"content": token}} if chat else {"text": token}), "logprobs": logprobs}
    last: dict[str, object] = {"delta": {}} if chat else {"text": ""}
    yield {**last, "finish_reason": _finish(answer, tokens)}
