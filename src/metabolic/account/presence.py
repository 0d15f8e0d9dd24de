"""What each call did within a meter's window: seconds, prompt tokens, decode tokens, decode steps.

Theory. A call computes its prompt between its begin and its first token, and decodes from there to
its end; within either the tokens are spread evenly. A batching engine reads the weights once a
step, for all sequences at once, so a decode token of one of ``B`` sequences takes ``1/B`` of a
step (``tokens / B``). ``B`` changes whenever a call begins or ends; the integrals over it are
exact. Who of those in flight drew how much at any moment is said by ``account.parts``.

Where an engine did not report its tokens (cancelled, or still in flight) a call is taken to decode
as fast as its neighbours, then as its deployment's speed says, then one token a second.
"""

__all__ = [
    "ALONE_RATIO",
    "GPU_ALONE_RATIO",
    "Flight",
    "Phases",
    "Presence",
    "phases_of",
    "presences",
    "union_s",
]

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from msgspec import Struct

ALONE_RATIO = 3.0
"""What a decode token of a sequence alone takes on a CPU, in prompt tokens.

Source: the models of the default fleet, one thread: prefill 1.9 to 3.0 times as fast as decode.
"""

GPU_ALONE_RATIO = 147.0
"""The same on a GPU: ``bytes per weight x FLOP/s x efficiency / (2 x memory bandwidth)``.

Source: roofline of an H100, bf16, half the peak: 2 B x 989e12 x 0.5 / (2 x 3.35e12 B/s).
"""

_TOKENS_PER_S = 1.0


class Flight(Struct, frozen=True, kw_only=True, gc=False):
    """One call on an engine; times are seconds of one clock that does not go back.

    ``ended_s`` ``None`` is still in flight; ``first_s`` is when the first token came, ``None``
    when that is not known. ``prompt_tokens`` are those not cached; ``output_tokens`` ``None`` is
    not reported. The speeds are the deployment's, of one sequence alone. ``scale`` is what a
    token takes against other models on the same device (active parameters).
    """

    call: str
    pid: int | None = None
    engine: str = ""
    began_s: float
    ended_s: float | None = None
    first_s: float | None = None
    prompt_tokens: float = 0.0
    output_tokens: float | None = None
    prefill_tokens_per_s: float | None = None
    decode_tokens_per_s: float | None = None
    scale: float = 1.0


class Presence(Struct, frozen=True, kw_only=True, gc=False):
    """A call's part of one window; see the module. ``alone_ratio`` is steps in prompt tokens."""

    call: str
    pid: int | None
    engine: str
    seconds: float
    prompt_tokens: float = 0.0
    decode_tokens: float = 0.0
    decode_steps: float = 0.0
    alone_ratio: float = ALONE_RATIO
    scale: float = 1.0


class Phases(Struct, frozen=True, gc=False):
    """A flight's phases: prefill from ``began`` to ``first``, decode from there to ``ended``.

    ``rate`` is its decode tokens a second, ``ratio`` what one of them alone takes in prompt tokens.
    """

    flight: Flight
    began: float
    first: float
    ended: float
    rate: float
    ratio: float


def phases_of(flights: Sequence[Flight], *, to_s: float, alone_ratio: float) -> tuple[Phases, ...]:
    """Return the phases of flights, with guesses where nothing was reported.

    ``alone_ratio`` is for deployments whose speeds are not known.
    """
    engines: dict[tuple[int | None, str], list[Flight]] = {}
    for flight in flights:
        engines.setdefault((flight.pid, flight.engine), []).append(flight)
    rates = {key: _rate(group) for key, group in engines.items()}
    return tuple(_span(one, to_s, rates[one.pid, one.engine], alone_ratio) for one in flights)


def presences(spans: Sequence[Phases], *, from_s: float, to_s: float) -> tuple[Presence, ...]:
    """Return each flight's part of the window; one outside it is present with zeros."""
    engines: dict[tuple[int | None, str], list[Phases]] = {}
    for span in spans:
        engines.setdefault((span.flight.pid, span.flight.engine), []).append(span)
    stepped = {
        key: _integral(_clipped([(one.first, one.ended) for one in group], from_s, to_s))
        for key, group in engines.items()
    }
    return tuple(
        _presence(span, from_s, to_s, stepped[span.flight.pid, span.flight.engine])
        for span in spans
    )


def _presence(
    span: Phases, from_s: float, to_s: float, stepped_s: Callable[[float], float]
) -> Presence:
    """Return one flight's part of the window."""
    began, ended = max(from_s, span.began), min(to_s, span.ended)
    first = max(min(max(span.first, from_s), to_s), began)
    decode_s = max(0.0, ended - first)
    steps_s = stepped_s(ended) - stepped_s(first) if decode_s else 0.0
    at_once = _at_once(span, from_s, to_s)
    return Presence(
        call=span.flight.call,
        pid=span.flight.pid,
        engine=span.flight.engine,
        seconds=max(0.0, ended - began),
        prompt_tokens=span.flight.prompt_tokens * _prefill_part(span, from_s, to_s),
        decode_tokens=span.rate * decode_s + at_once,
        decode_steps=span.rate * steps_s + at_once,
        alone_ratio=span.ratio,
        scale=span.flight.scale,
    )


def union_s(flights: Iterable[Flight], *, from_s: float, to_s: float) -> float:
    """Return the seconds of the window in which anything was in flight."""
    spans = [(one.began_s, to_s if one.ended_s is None else one.ended_s) for one in flights]
    covered, until = 0.0, float("-inf")
    for began, ended in sorted(_clipped(spans, from_s, to_s)):
        if ended > until:
            covered += ended - max(began, until)
            until = ended
    return covered


def _ratio(flight: Flight, alone_ratio: float) -> float:
    """Return what a decode token alone takes in prompt tokens: by the speeds, if known."""
    prefill, decode = flight.prefill_tokens_per_s, flight.decode_tokens_per_s
    return max(1.0, prefill / decode) if prefill and decode else alone_ratio


def _rate(flights: list[Flight]) -> float | None:
    """Return the decode tokens per second and sequence of those that are over and said so."""
    tokens = seconds = 0.0
    for one in flights:
        if one.ended_s is not None and one.output_tokens is not None:
            tokens += one.output_tokens
            seconds += one.ended_s - (one.began_s if one.first_s is None else one.first_s)
    return tokens / seconds if tokens > 0 and seconds > 0 else None


def _span(flight: Flight, to_s: float, rate: float | None, alone_ratio: float) -> Phases:
    """Return a flight's phases, guessing the first token where it was not seen."""
    began = flight.began_s
    ended = max(began, to_s if flight.ended_s is None else flight.ended_s)
    guess = rate or flight.decode_tokens_per_s or _TOKENS_PER_S
    if flight.first_s is not None:
        first = min(max(flight.first_s, began), ended)
    else:
        first = began + _prefill_s(flight, ended - began, guess, alone_ratio)
    if flight.ended_s is None or flight.output_tokens is None:
        return Phases(flight, began, first, ended, guess, _ratio(flight, alone_ratio))
    decode_s = ended - first
    tokens_per_s = flight.output_tokens / decode_s if decode_s > 0 else 0.0
    return Phases(flight, began, first, ended, tokens_per_s, _ratio(flight, alone_ratio))


def _prefill_s(flight: Flight, seconds: float, rate: float, alone_ratio: float) -> float:
    """Return the part of ``seconds`` in which the prompt was computed, by tokens alone."""
    ratio = _ratio(flight, alone_ratio)
    output = rate * seconds if flight.output_tokens is None else flight.output_tokens
    whole = flight.prompt_tokens + ratio * output
    if flight.ended_s is None and flight.prefill_tokens_per_s:
        return min(seconds, flight.prompt_tokens / flight.prefill_tokens_per_s)
    return seconds * flight.prompt_tokens / whole if whole > 0 else 0.0


def _prefill_part(span: Phases, from_s: float, to_s: float) -> float:
    """Return which part of the prompt was computed within the window."""
    seconds = span.first - span.began
    if seconds <= 0:
        return 1.0 if from_s <= span.began < to_s or span.began == span.ended == to_s else 0.0
    return max(0.0, min(to_s, span.first) - max(from_s, span.began)) / seconds


def _at_once(span: Phases, from_s: float, to_s: float) -> float:
    """Return the tokens of an answer that took no time at all to decode."""
    tokens = span.flight.output_tokens
    if tokens is None or span.flight.ended_s is None or span.ended > span.first:
        return 0.0
    return tokens if from_s <= span.ended < to_s or span.ended == to_s else 0.0


def _clipped(
    spans: list[tuple[float, float]], from_s: float, to_s: float
) -> list[tuple[float, float]]:
    """Return the spans within the window, without those that are empty there."""
    inside = [(max(from_s, began), min(to_s, ended)) for began, ended in spans]
    return [(began, ended) for began, ended in inside if ended > began]


def _integral(spans: list[tuple[float, float]]) -> Callable[[float], float]:
    """Return ``t -> integral of 1 / (spans open)`` from the first begin, exact at any time."""
    marks = sorted({at for span in spans for at in span})
    changes = dict.fromkeys(marks, 0)
    for began, ended in spans:
        changes[began] += 1
        changes[ended] -= 1
    sums, slopes, count = [0.0], list[float](), 0
    for at, after in pairwise(marks):
        count += changes[at]
        slopes.append(1.0 / count if count else 0.0)
        sums.append(sums[-1] + slopes[-1] * (after - at))

    def until(t: float) -> float:
        if not marks or t <= marks[0]:
            return 0.0
        index = min(bisect_right(marks, t), len(marks)) - 1
        if index >= len(slopes):
            return sums[-1]
        return sums[index] + slopes[index] * (t - marks[index])

    return until
