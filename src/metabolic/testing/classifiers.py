"""The conformance suite of classifiers, for ours and for strangers'."""

__all__ = ["check_classifier"]

import math

from metabolic.core.ports import Classifier
from metabolic.core.request import (
    Image,
    Message,
    Opaque,
    Request,
    ResponseFormat,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolResult,
    ToolUse,
)
from metabolic.core.signals import TASKS, Signals

_TOLERANCE = 1e-9

_TEXTS = (
    "",
    " \n\t\x00",
    "hi",
    "What is 2 + 2?",
    "\ud800 broken \udfff",
    "a" * 20_000,
    "what? " * 5_000,
    "日本語の質問です。",
    "```\n" * 500,
    "{" * 3_000,
    '"' * 999,
)


def _request(*blocks: Text | Image | Opaque, role: str = "user") -> Request:
    """Return a request with one message."""
    return Request(
        id="conformance",
        dialect="chat",
        model="auto",
        messages=(Message(role=role, content=blocks),),
    )


def _requests() -> tuple[Request, ...]:
    """Return requests plain and strange."""
    conversation = Request(
        id="conformance",
        dialect="chat",
        model="auto",
        messages=(
            Message(role="system", content=(Text(text="Be brief."),)),
            Message(role="user", content=(Text(text="What time is it?"), Image())),
            Message(role="assistant", content=(ToolUse(id="t", name="now", arguments="{}"),)),
            Message(role="tool", content=(ToolResult(id="t", text="noon"),)),
            Message(role="assistant", content=(Thinking(text="so it is noon"), Text(text="Noon."))),
        ),
        tools=(Tool(name="now"),),
        response_format=ResponseFormat(kind="json_object"),
        sampling=Sampling(max_output_tokens=1),
    )
    empty = Request(id="conformance", dialect="embeddings", model="auto")
    texts = tuple(_request(Text(text=text)) for text in _TEXTS)
    odd = (_request(), _request(Opaque(kind="audio"), Image()), _request(Text(text="x"), role="?"))
    return (conversation, empty, *texts, *odd)


def check_classifier(classifier: Classifier) -> None:
    """Assert that a classifier keeps the contract of its seam, whatever the request.

    It has a name, never raises, says the same of the same request, names a known task, and its
    probabilities are probabilities.

    Raises:
        AssertionError: It does not; the message says how.
    """
    assert classifier.name, "a classifier has a name"
    for request in _requests():
        signals = classifier.classify(request)
        _check_signals(classifier, signals)
        assert classifier.classify(request) == signals, f"{classifier.name} changes its mind"


def _check_signals(classifier: Classifier, signals: Signals) -> None:
    """Assert that one request's signals make sense."""
    name = classifier.name
    assert isinstance(signals, Signals), f"{name} returned {type(signals).__name__}"
    assert signals.task in TASKS, f"{name}: unknown task {signals.task}"
    assert signals.lane, f"{name}: no lane"
    levels = (signals.p_simple, signals.p_medium, signals.p_complex)
    assert all(0.0 <= p <= 1.0 for p in levels), f"{name}: a probability outside [0, 1]"
    assert math.isclose(sum(levels), 1.0, abs_tol=_TOLERANCE), f"{name}: they do not sum to 1"
    ratios = [one.ratio for one in signals.dimensions]
    ratios += [one.p_correct for one in signals.p_correct]
    assert all(0.0 <= ratio <= 1.0 for ratio in ratios), f"{name}: a ratio outside [0, 1]"
    assert 0.0 <= signals.confidence <= 1.0, f"{name}: confidence outside [0, 1]"
    assert signals.expected_output_tokens >= 0, f"{name}: negative output"
    assert tuple(sorted(signals.hints)) == signals.hints, f"{name}: hints are not sorted"
