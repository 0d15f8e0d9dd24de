"""From outcomes and errors to HTTP: status, headers, body."""

__all__ = [
    "Credentials",
    "Reasons",
    "Rejected",
    "Response",
    "Summary",
    "error_event",
    "error_response",
    "json_response",
    "summary",
    "summary_head",
    "summary_headers",
]

import msgspec
from msgspec import Struct

from metabolic.core.decision import Decision
from metabolic.core.errors import BackendError, MetabolicError, NoCandidate, Refused
from metabolic.core.receipt import AttemptBill, Receipt, Record
from metabolic.core.task import AgentTask
from metabolic.edge import render
from metabolic.gateway.redact import Redactor
from metabolic.gateway.tasks import task_headers

Headers = list[tuple[bytes, bytes]]

_encode = msgspec.json.Encoder().encode

_CREDENTIALS = frozenset({401, 403, 407})
"""An upstream's word on credentials is about the gateway's own, never the client's."""


class Response(Struct, frozen=True, kw_only=True):
    """A whole answer; ``close`` ends the connection after it."""

    status: int
    body: bytes = b""
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    close: bool = False


class Summary(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The ``metabolic`` object of a streamed answer: what the headers say of a whole one.

    ``energy_j`` is local and provisional, ``None`` when nothing local worked or it is unknown;
    the receipt has bounds, and the settled figure later. ``verdict`` is ``good``, ``doubtful`` or
    ``None`` (not checked); ``claims`` are counts of what was held against evidence. ``continued``:
    its deployment died half-way, and the same model went on with it.
    """

    decision: str
    deployment: str | None = None
    escalations: int | None = None
    confidence: float | None = None
    energy_j: float | None = None
    energy_origin: str | None = None
    cost_usd: float | None = None
    carbon_g: float | None = None
    degraded: bool | None = None
    certificate: str | None = None
    verdict: str | None = None
    claims: str | None = None
    agent_task: AgentTask | None = None
    continued: bool = False


class Rejected(Struct, frozen=True, kw_only=True):
    """One deployment that may not answer, and why."""

    deployment: str
    reason: str


class Reasons(Struct, frozen=True, kw_only=True):
    """The ``metabolic`` object of a 503."""

    rejected: tuple[Rejected, ...]


class Credentials(BackendError):
    """An upstream does not accept the gateway's key."""

    code = "upstream_credentials"


def summary(record: Record) -> Summary:
    """Return what the client is told of a request that was answered."""
    receipt, answer = record.receipt, record.receipt.answer
    energy, checked = receipt.energy, _checked(receipt)
    return Summary(
        decision=receipt.id,
        deployment=answer.deployment if answer else None,
        escalations=answer.escalations if answer else 0,
        confidence=answer.confidence if answer else None,
        energy_j=energy.energy_j if energy else None,
        energy_origin=energy.origin if energy else None,
        cost_usd=_cost_usd(receipt),
        carbon_g=receipt.carbon.carbon_g if receipt.carbon else None,
        degraded=answer.degraded if answer else False,
        certificate=record.decision.certificate if answer and answer.certified else None,
        verdict=_verdict(checked) if checked else None,
        claims=_claims(checked) if checked and checked.claims else None,
        agent_task=receipt.agent_task,
        continued=any(one.role == "continued" for one in receipt.attempts),
    )


def summary_headers(record: Record) -> Headers:
    """Return the ``metabolic-…`` headers of a request; what is not known is left out."""
    lines = summary_head(record).split(b"\r\n")
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines[:-1])]


def summary_head(record: Record) -> bytes:
    """Return ``summary_headers`` as lines of an HTTP head, each with its end."""
    receipt = record.receipt
    answer = receipt.answer
    identity = receipt.id.encode()
    head = b"x-request-id: %b\r\nmetabolic-decision: %b\r\n" % (identity, identity)
    if answer is not None:
        head += (
            b"metabolic-deployment: %b\r\nmetabolic-escalations: %d\r\nmetabolic-degraded: %b\r\n"
        ) % (
            answer.deployment.encode("ascii"),
            answer.escalations,
            b"true" if answer.degraded else b"false",
        )
        if answer.confidence is not None:
            head += b"metabolic-confidence: %.4g\r\n" % answer.confidence
        if answer.certified and record.decision.certificate is not None:
            head += b"metabolic-certificate: %b\r\n" % record.decision.certificate.encode()
        checked = _checked(receipt)
        if checked is not None:
            head += b"metabolic-verdict: %b\r\n" % _verdict(checked).encode()
            if checked.claims:
                head += b"metabolic-claims: %b\r\n" % _claims(checked).encode()
    head += _took_head(receipt)
    return head if receipt.agent_task is None else head + _task_head(receipt.agent_task)


def _took_head(receipt: Receipt) -> bytes:
    """Return what a request took as lines of an HTTP head."""
    energy, cost, carbon, head = receipt.energy, receipt.cost, receipt.carbon, b""
    if energy is not None:
        head += b"metabolic-energy-j: %.6g\r\nmetabolic-energy-origin: %b\r\n" % (
            energy.energy_j,
            energy.origin.encode(),
        )
    if cost.electricity_usd is not None:
        head += b"metabolic-cost-usd: %.6g\r\n" % (cost.tokens_usd + cost.electricity_usd)
    elif cost.tokens_usd:
        head += b"metabolic-cost-usd: %.6g\r\n" % cost.tokens_usd
    if carbon is not None:
        head += b"metabolic-carbon-g: %.6g\r\n" % carbon.carbon_g
    return head


def _task_head(task: AgentTask) -> bytes:
    """Return a task so far as lines of an HTTP head."""
    return b"".join([b"%b: %b\r\n" % line for line in task_headers(task)])


def json_response(status: int, value: object) -> Response:
    """Return a value as JSON."""
    return Response(status=status, body=_encode(value))


def error_response(error: MetabolicError, redact: Redactor) -> Response:
    """Return an error as OpenAI's clients expect it: status, envelope, ``Retry-After``."""
    status, body = render.error(_ours(error))
    body = redact(body.decode("utf-8", "replace")).encode()
    if isinstance(error, NoCandidate) and error.decision is not None:
        body = render.body_with_metabolic(body, _encode(_reasons(error.decision)))
    wait_s: float | None = getattr(error, "retry_after_s", None)
    wait = () if wait_s is None else ((b"retry-after", b"%d" % max(1, round(wait_s))),)
    own: tuple[tuple[bytes, bytes], ...] = getattr(error, "headers", ())
    return Response(status=status, body=body, headers=(*wait, *own), close=status in {408, 413})


def error_event(error: MetabolicError, redact: Redactor) -> bytes:
    """Return an error inside a stream that has begun."""
    return redact(render.error_event(_ours(error)).decode("utf-8", "replace")).encode()


def _ours(error: MetabolicError) -> MetabolicError:
    """Return the error the client may see."""
    if isinstance(error, Refused) and error.status in _CREDENTIALS:
        return Credentials("The deployment refused the gateway's own credentials.")
    return error


def _reasons(decision: Decision) -> Reasons:
    """Return why each deployment was rejected."""
    return Reasons(
        rejected=tuple(
            Rejected(deployment=item.deployment, reason=item.rejected)
            for item in decision.candidates
            if item.rejected
        )
    )


def _checked(receipt: Receipt) -> AttemptBill | None:
    """Return the bill of the answer that was given, if validators have judged it."""
    answer = receipt.answer
    if answer is None:
        return None
    for one in receipt.attempts:
        if one.call == answer.call:
            return None if one.well_formed is None else one
    return None


def _verdict(checked: AttemptBill) -> str:
    """Return what the validators said in one word."""
    return "doubtful" if checked.doubtful else "good"


def _claims(checked: AttemptBill) -> str:
    """Return how many claims were found to be what, as ``supported=3, contradicted=1``."""
    counts: dict[str, int] = {}
    for claim in checked.claims:
        counts[claim.status] = counts.get(claim.status, 0) + 1
    return ", ".join(f"{status}={count}" for status, count in sorted(counts.items()))


def _cost_usd(receipt: Receipt) -> float | None:
    """Return dollars of tokens and known electricity; ``None`` when neither is known."""
    cost = receipt.cost
    return cost.total_usd if cost.tokens_usd or cost.electricity_usd is not None else None
