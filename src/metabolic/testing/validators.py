"""The conformance suite of validators, for ours and for strangers'."""

__all__ = ["check_validator"]

from metabolic.core.attempt import (
    Attempt,
    Call,
    Choice,
    Failure,
    Reply,
    ReplyChoice,
    ToolCall,
    Verdict,
)
from metabolic.core.ports import Validator
from metabolic.core.request import Message, Request, ResponseFormat, Text, Tool, Usage

_SCHEMA = b'{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}'
_USAGE = Usage(input_tokens=10, output_tokens=4)


def _request(**changes: object) -> Request:
    """Return a small chat request."""
    fields: dict[str, object] = {
        "id": "conformance",
        "dialect": "chat",
        "model": "auto",
        "messages": (Message(role="user", content=(Text(text="What is 2 + 2?"),)),),
    }
    return Request(**(fields | changes))  # pyright: ignore[reportArgumentType]


def _requests() -> tuple[Request, ...]:
    """Return requests of every kind a validator must be able to read."""
    return (
        _request(),
        _request(messages=()),
        _request(dialect="completions"),
        _request(dialect="embeddings"),
        _request(n=3),
        _request(response_format=ResponseFormat(kind="json_object")),
        _request(response_format=ResponseFormat(kind="json_schema", schema=_SCHEMA)),
        _request(response_format=ResponseFormat(kind="json_schema", schema=b"not json")),
        _request(tools=(Tool(name="add", parameters=_SCHEMA), Tool(name="now"))),
    )


def _replies() -> tuple[Reply, ...]:
    """Return answers sound and strange."""
    choices = (
        ReplyChoice(text="4", finish_reason="stop", logprobs=(-0.1, -0.2)),
        ReplyChoice(),
        ReplyChoice(text=" \n\x00\ud800", finish_reason="length"),
        ReplyChoice(text='{"a": 1}', finish_reason="stop"),
        ReplyChoice(text="[" * 5000, finish_reason="length"),
        ReplyChoice(refusal="I will not.", finish_reason="stop"),
        ReplyChoice(finish_reason="tool_calls", tool_calls=(ToolCall(name="add", arguments="{"),)),
        ReplyChoice(text="so " * 2000, finish_reason="content_filter", logprobs=(float("-inf"),)),
    )
    return (
        Reply(),
        *(Reply(choices=(one,), usage=_USAGE) for one in choices),
        Reply(choices=choices),
    )


async def check_validator(validator: Validator) -> None:
    """Assert that a validator keeps the contract of its seam, whatever the answer.

    It has a name and a cost, judges every answer without raising, says the same of the same
    answer, and reports a confidence in [0, 1] or none.

    Raises:
        AssertionError: It does not; the message says how.
    """
    assert validator.name, "a validator has a name"
    assert validator.cost_s >= 0, "a cost is not negative"
    for request in _requests():
        for reply in _replies():
            for failure in (None, Failure(kind="timed_out")):
                attempt = Attempt(
                    call=Call(id="c0", stage=0, deployment="d"),
                    began_s=0.0,
                    ended_s=1.0,
                    choices=tuple(Choice(finish_reason=one.finish_reason) for one in reply.choices),
                    failure=failure,
                )
                verdict = await validator.check(request, attempt, reply)
                _check_verdict(validator, verdict)
                again = await validator.check(request, attempt, reply)
                assert again == verdict, f"{validator.name} changes its mind"


def _check_verdict(validator: Validator, verdict: Verdict) -> None:
    """Assert that one verdict is a verdict."""
    assert isinstance(verdict, Verdict), f"{validator.name} returned {type(verdict).__name__}"
    if verdict.confidence is not None:
        assert 0.0 <= verdict.confidence <= 1.0, f"{validator.name}: confidence outside [0, 1]"
    assert all(reason for reason in verdict.reasons), f"{validator.name}: an empty reason"
