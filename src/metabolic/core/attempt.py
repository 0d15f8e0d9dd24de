"""What happened, what to do next, and where a run stands."""

__all__ = [
    "Answer",
    "Attempt",
    "Began",
    "Call",
    "Cancel",
    "Check",
    "Checked",
    "Choice",
    "Claim",
    "ClientGone",
    "Effect",
    "Ended",
    "Event",
    "Failure",
    "FailureKind",
    "Finish",
    "LogprobSummary",
    "Open",
    "Progress",
    "Reached",
    "Release",
    "Reply",
    "ReplyChoice",
    "Retract",
    "Run",
    "Signal",
    "Tick",
    "ToolCall",
    "Verdict",
    "Wake",
]

from typing import Literal

from msgspec import Struct

from metabolic.core.decision import Decision
from metabolic.core.request import Usage
from metabolic.core.speculation import Drafts

Role = Literal["answer", "hedge", "continued", "probe", "judge", "shadow"]

FailureKind = Literal[
    "unreachable", "overloaded", "timed_out", "refused", "bad_reply", "cancelled", "not_ready"
]


class Call(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One call to make: the stage it belongs to, who answers, and in which role.

    ``id`` is unique within the run (``c0``, ``c1``, …). ``logprobs`` asks the engine for token
    log-probabilities, whether or not the client wants them, and for the ``alternatives`` likeliest
    tokens at each position. ``keep`` keeps the whole answer for
    the validators; without it (a stream relayed as it comes) only usage and finish are read.
    ``checkpoints`` are numbers of tokens at which the run wants to hear of it (``Reached``).
    ``live``: the run wants to hear of its first bytes (``Progress``), although it is kept.
    """

    id: str
    stage: int
    deployment: str
    variant: str | None = None
    role: Role = "answer"
    logprobs: bool = False
    alternatives: int = 0
    keep: bool = True
    checkpoints: tuple[int, ...] = ()
    num_speculative_tokens: int | None = None
    live: bool = False


class LogprobSummary(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Token log-probabilities (nats) of one choice: count, mean, minimum and quantiles.

    ``q10`` and ``q50`` are the 10 % and 50 % quantiles. ``first`` are the means of the first 8, 16,
    32 and 64 tokens, as many of them as it has: where it could have been given up.
    """

    tokens: int
    mean: float
    minimum: float
    q10: float
    q50: float
    first: tuple[float, ...] = ()


class Choice(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One of the ``n`` answers, without its text."""

    finish_reason: str | None = None
    tool_calls: int = 0
    output_chars: int = 0
    logprobs: LogprobSummary | None = None


class Failure(Struct, frozen=True, kw_only=True, gc=False):
    """Why a call gave no answer; ``status`` is the upstream's HTTP status, if it gave one.

    ``code`` is the upstream's own word for it, such as ``context_length_exceeded``, if it is plain.
    """

    kind: FailureKind
    message: str = ""
    status: int | None = None
    retry_after_s: float | None = None
    code: str | None = None


class Claim(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One statement of an answer, and what the evidence says of it; no text.

    ``from_chars`` to ``to_chars`` is its span in the answer's text. ``source`` names the evidence:
    ``context`` (what the request carried), or a document of the fact base; the evidence span is
    in that text, ``None`` where nothing was found. ``p_supported`` is ``None`` when nobody can
    say; ``why`` is a stable word: ``number``, ``words``, ``names``, ``quote``, ``nli``.
    """

    status: Literal["supported", "contradicted", "no_evidence", "uncertain"]
    from_chars: int
    to_chars: int
    source: str | None = None
    evidence_from_chars: int | None = None
    evidence_to_chars: int | None = None
    p_supported: float | None = None
    why: str = ""


class Signal(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One named observation of an answer, as a scorer reads it; what is absent is unknown."""

    name: str
    value: float


class Verdict(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Was it good enough, as the validators see it.

    ``well_formed`` is false when the shape is broken (schema, tool call, empty): such an answer
    is never given. ``doubtful`` is an answer that may be given, but only when no later stage can
    do better: refusal, repetition, truncation that the client's own limit did not cause.
    ``confidence`` is in [0, 1], ``None`` when there is no evidence. ``reasons`` are stable words,
    such as ``json_schema: $.age expected integer``. ``claims`` are the statements
    that were held against evidence; ``signals`` what a scorer read, so that another version of it
    can be tried on records. ``agrees``: it says in the end what the answer it was compared with
    does (``None``: it was not, or they cannot be compared).
    """

    well_formed: bool
    doubtful: bool = False
    confidence: float | None = None
    reasons: tuple[str, ...] = ()
    validator: str = ""
    claims: tuple[Claim, ...] = ()
    signals: tuple[Signal, ...] = ()
    agrees: bool | None = None


class Attempt(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One call made; all times are seconds since the run began.

    ``first_token_s`` is ``None`` when the engine answered in one piece or not at all. ``cpu_s``
    is the engine's CPU time where its process can be read. ``drafts`` is what the engine said of
    speculation.
    """

    call: Call
    began_s: float
    ended_s: float
    first_token_s: float | None = None
    usage: Usage = Usage()
    choices: tuple[Choice, ...] = ()
    failure: Failure | None = None
    cpu_s: float | None = None
    drafts: Drafts | None = None


class Began(Struct, frozen=True, kw_only=True, tag="began", gc=False):
    """The run begins."""

    at_s: float


class Progress(Struct, frozen=True, kw_only=True, tag="progress", gc=False):
    """The call has produced its first bytes; sent once a call, never per token."""

    call: str
    at_s: float


class Reached(Struct, frozen=True, kw_only=True, tag="reached", gc=False):
    """The call has written its first ``tokens`` tokens, a checkpoint; ``logprob`` is their mean."""

    call: str
    tokens: int
    logprob: float
    at_s: float


class Ended(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="ended", gc=False):
    """The call is over: with an answer, or with ``attempt.failure``.

    When one died whose answer the client had seen the beginning of: ``released_chars`` of it, and
    ``continued_by`` are deployments of the same model that could go on from exactly there.
    """

    attempt: Attempt
    at_s: float
    released_chars: int = 0
    continued_by: tuple[str, ...] = ()


class Checked(Struct, frozen=True, kw_only=True, tag="checked", gc=False):
    """The validators have judged a call's answer."""

    call: str
    verdict: Verdict
    at_s: float


class Tick(Struct, frozen=True, kw_only=True, tag="tick", gc=False):
    """A time asked for by ``Wake`` has come."""

    at_s: float


class ClientGone(Struct, frozen=True, kw_only=True, tag="client_gone", gc=False):
    """The client has left; nobody will read an answer."""

    at_s: float


Event = Began | Progress | Reached | Ended | Checked | Tick | ClientGone


class Open(Struct, frozen=True, kw_only=True, tag="open", gc=False):
    """Make this call."""

    call: Call


class Cancel(Struct, frozen=True, kw_only=True, tag="cancel", gc=False):
    """Stop this call; it still ends with an ``Ended`` and is billed."""

    call: str
    why: str


class Check(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="check", gc=False):
    """Have the validators judge this call's answer, and compare it with that of ``against``."""

    call: str
    against: str | None = None


class Release(Struct, frozen=True, kw_only=True, tag="release", gc=False):
    """Let the client have this call's answer: all of it, and what is still to come."""

    call: str


class Retract(Struct, frozen=True, kw_only=True, tag="retract", gc=False):
    """Tell the client that what it saw of this call is replaced by what follows."""

    call: str


class Wake(Struct, frozen=True, kw_only=True, tag="wake", gc=False):
    """Send a ``Tick`` at ``at_s`` (seconds since the run began)."""

    at_s: float


class Finish(Struct, frozen=True, kw_only=True, tag="finish", gc=False):
    """The run is over; ``call`` is the one whose answer the client has, ``None`` if none."""

    call: str | None


Effect = Open | Cancel | Check | Release | Retract | Wake | Finish


class Answer(Struct, frozen=True, kw_only=True, gc=False):
    """What the client got: whose answer, after how many escalations, and how sure.

    ``degraded`` means that no stage was satisfied and the best draft was given.
    """

    call: str
    deployment: str
    escalations: int = 0
    confidence: float | None = None
    degraded: bool = False
    certified: bool = False


class Run(Struct, frozen=True, kw_only=True, gc=False):
    """Where a run stands; only ``advance`` makes the next one.

    ``stage`` counts through ``decision.stages`` and then ``decision.fallbacks``. ``open`` are
    calls under way, ``released`` the call whose answer is leaving. ``failure`` is the last one,
    for the error the client gets when there is no answer. ``retried``: somebody was asked once
    more; ``retry_at_s`` is when somebody will be. ``hedge_at_s`` is when a second call will be
    opened beside the first. ``closing``: all is decided, and what is still open has only to end.
    """

    decision: Decision
    stage: int = 0
    deadline_s: float | None = None
    stage_ends_s: float | None = None
    open: tuple[Call, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    verdicts: tuple[tuple[str, Verdict], ...] = ()
    released: str | None = None
    answer: Answer | None = None
    failure: Failure | None = None
    gone: bool = False
    finished: bool = False
    retried: bool = False
    retry_at_s: float | None = None
    hedge_at_s: float | None = None
    closing: bool = False


class ToolCall(Struct, frozen=True, kw_only=True, gc=False):
    """A tool call in an answer; ``arguments`` is JSON text as the model wrote it."""

    name: str
    arguments: str
    id: str | None = None


class ReplyChoice(Struct, frozen=True, kw_only=True, gc=False):
    """One choice of an answer, with its text; never recorded.

    ``alternatives`` are the log-probabilities of the likeliest tokens at each position, the chosen
    one among them, where the engine gave them; ``tokens`` the text of each token.
    """

    text: str = ""
    reasoning: str = ""
    refusal: str | None = None
    finish_reason: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[float, ...] = ()
    alternatives: tuple[tuple[float, ...], ...] = ()
    tokens: tuple[str, ...] = ()


class Reply(Struct, frozen=True, kw_only=True, gc=False):
    """An engine's whole answer; never recorded.

    ``body`` is the answer as the client will get it: the JSON of a whole answer, or ``b""`` when
    the answer was streamed and is held as events. It is OpenAI's, or the request's own dialect
    where the upstream speaks that.
    """

    choices: tuple[ReplyChoice, ...] = ()
    usage: Usage = Usage()
    body: bytes = b""
    drafts: Drafts | None = None
