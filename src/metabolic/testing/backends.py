"""Say whether a backend keeps the ``Backend`` contract. For its author's tests.

    await check_backend(create(Options(), endpoint=...))

runs against anything that answers chat: the fake, a fake server, a real engine. It asserts nothing
about what is said. ``check_continuation`` is for backends that go on with answers.
"""

__all__ = ["check_backend", "check_continuation"]

import asyncio
import json
from typing import Any

import msgspec

from metabolic.core.attempt import Call, Reply
from metabolic.core.ports import Backend
from metabolic.core.request import Message, Request, Sampling, Text
from metabolic.edge.continuing import Joiner, released
from metabolic.edge.render import split_events

_CALL = Call(id="c0", stage=0, deployment="checked")


async def check_backend(
    backend: Backend,
    *,
    prompt: str = "Say hello.",
    max_output_tokens: int = 16,
    logprobs: bool = True,
) -> None:
    """Check a healthy backend against its contract; it is closed at the end.

    ``logprobs`` says whether the deployment can give log-probabilities.

    Raises:
        AssertionError: the contract is broken; the message says which part.
    """
    asked = _request(prompt, max_output_tokens)
    assert await backend.healthy() is True, "healthy() of a deployment that answers is True"
    await _check_whole(backend, asked)
    await _check_stream(backend, asked)
    if logprobs:
        await _check_logprobs(backend, asked)
    await _check_leaving(backend, asked)
    await _check_many(backend, asked)
    await backend.aclose()


async def check_continuation(
    backend: Backend,
    *,
    prompt: str = "Count from one to twelve, in words.",
    max_output_tokens: int = 24,
    cuts: tuple[int, ...] = (2, 3, 7),
) -> None:
    """Check a backend that says it goes on with answers (``EngineTraits.continues``).

    A greedy answer is cut after some events and gone on with: the two parts must read as the
    answer that was not cut. The backend is left open.

    Raises:
        AssertionError: text is lost, comes twice or is another.
    """
    asked = _request(prompt, max_output_tokens, temperature=0, seed=1)
    pieces, _ = await _collect(backend, asked, _CALL)
    events = [event for event, _ in split_events(b"".join(pieces))]
    whole = _text(_chunks(events))
    for cut in cuts:
        if cut >= len(events) - 1:
            break
        before = released(b"".join(events[:cut]))
        assert before is not None, "an answer of plain text can be gone on with"
        joiner = Joiner(before)
        given = msgspec.structs.replace(asked, given=before.given)
        rest, _ = await _collect(backend, given, _CALL)
        said = before.text + _text(_chunks([joiner.join(one) for one in rest]))
        assert said == whole, f"cut after {cut} events it says {said!r} instead of {whole!r}"


def _request(prompt: str, max_output_tokens: int, **more: Any) -> Request:  # noqa: ANN401
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_output_tokens,
        "x_unknown": {"kept": True},
        **more,
    }
    return Request(
        id="check",
        dialect="chat",
        model="auto",
        messages=(Message(role="user", content=(Text(text=prompt),)),),
        sampling=Sampling(
            max_output_tokens=max_output_tokens, logprobs=more.get("logprobs") is True
        ),
        body=msgspec.json.encode(body),
    )


def _check_reply(reply: Reply) -> None:
    assert len(reply.choices) == 1, "one choice is one ReplyChoice"
    choice = reply.choices[0]
    assert choice.text or choice.reasoning or choice.tool_calls, "an answer says something"
    assert choice.finish_reason, "an answer has its finish reason"
    for count in (reply.usage.input_tokens, reply.usage.output_tokens):
        assert count is None or count >= 0, "tokens are counted, or None"


async def _check_whole(backend: Backend, asked: Request) -> None:
    reply = await backend.complete(asked, _CALL)
    _check_reply(reply)
    body = json.loads(reply.body)
    said = body["choices"][0]["message"]
    assert (said.get("content") or "") == reply.choices[0].text, "the body says what the reply says"


async def _collect(backend: Backend, asked: Request, call: Call) -> tuple[list[bytes], Reply]:
    stream = await backend.stream(asked, call)
    assert stream.__aiter__() is stream, "a stream is its own iterator"
    try:
        events = [event async for event in stream]
    finally:
        await stream.aclose()
    return events, stream.reply()


async def _check_stream(backend: Backend, asked: Request) -> None:
    events, reply = await _collect(backend, asked, _CALL)
    _check_reply(reply)
    assert reply.body == b"", "a stream's reply has no body"
    assert events, "a stream has events"
    for event in events:
        assert event.endswith((b"\n\n", b"\r\n\r\n")), "items are whole events"
        assert b"[DONE]" not in event, "[DONE] is left to the gateway"
    chunks = _chunks(events)
    assert all(chunk.get("usage") is None for chunk in chunks), "usage nobody asked for is hidden"
    assert _text(chunks) == reply.choices[0].text, "the events say what the reply says"
    relayed = msgspec.structs.replace(_CALL, keep=False)
    events, reply = await _collect(backend, asked, relayed)
    assert reply.choices[0].finish_reason, "a relayed stream knows its finish reason"


async def _check_logprobs(backend: Backend, asked: Request) -> None:
    call = msgspec.structs.replace(_CALL, logprobs=True)
    reply = await backend.complete(asked, call)
    assert reply.choices[0].logprobs, "a call that wants log-probabilities gets them"
    assert all(value <= 0 for value in reply.choices[0].logprobs), "they are logs, in nats"
    hidden = json.loads(reply.body)["choices"][0].get("logprobs")
    assert hidden is None, "log-probabilities nobody asked for are hidden"
    events, reply = await _collect(backend, asked, call)
    assert reply.choices[0].logprobs, "streamed, too"
    for chunk in _chunks(events):
        for choice in chunk["choices"]:
            assert choice.get("logprobs") is None, "hidden in every event, too"
    wanted = _request("Say hello.", 16, logprobs=True)
    shown = json.loads((await backend.complete(wanted, call)).body)["choices"][0]["logprobs"]
    assert shown, "log-probabilities the client asked for are shown"


async def _check_leaving(backend: Backend, asked: Request) -> None:
    """A stream that is left, and a call that is cancelled, leave the backend usable."""
    stream = await backend.stream(asked, _CALL)
    await anext(stream)
    await stream.aclose()
    task = asyncio.ensure_future(backend.complete(asked, _CALL))
    await asyncio.sleep(0)
    task.cancel()
    ended = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(ended[0], asyncio.CancelledError | Reply), "cancelling is not an error"
    _check_reply(await backend.complete(asked, _CALL))


async def _check_many(backend: Backend, asked: Request) -> None:
    for reply in await asyncio.gather(*(backend.complete(asked, _CALL) for _ in range(4))):
        _check_reply(reply)


def _chunks(events: list[bytes]) -> list[dict[str, Any]]:
    lines = b"".join(events).splitlines()
    return [json.loads(line[5:]) for line in lines if line.startswith(b"data:")]


def _text(chunks: list[dict[str, Any]]) -> str:
    said = ""
    for chunk in chunks:
        for choice in chunk["choices"]:
            delta: dict[str, Any] = choice.get("delta") or {}
            said += delta.get("content") or ""
    return said
