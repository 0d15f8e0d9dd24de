"""How a call that gave no answer ended, what is told of it, and whether two answers agree."""

__all__ = ["agrees", "ended", "told"]

from collections.abc import Sequence

from metabolic.core.attempt import Attempt, Call, Failure, FailureKind, Reply, Run
from metabolic.core.errors import BackendError, BadReply, MetabolicError
from metabolic.decide.advance import LOST
from metabolic.decide.agreement import agree
from metabolic.execute.calls import Made


def ended(
    call: Call,
    began_s: float,
    ended_s: float,
    kind: FailureKind,
    *,
    error: BackendError | None = None,
    why: str = "",
) -> Made:
    """Return the end of a call that gave no answer."""
    attempt = Attempt(
        call=call,
        began_s=began_s,
        ended_s=ended_s,
        failure=Failure(
            kind=kind,
            message=why if error is None else str(error),
            code=LOST if why == LOST else None,
        ),
    )
    return Made(attempt=attempt, error=error)


def agrees(before: Reply | None, reply: Reply) -> bool | None:
    """Say whether two answers end in the same; ``None``: several choices, calls, or no answer."""
    if before is None or len(before.choices) != 1 or len(reply.choices) != 1:
        return None
    one, other = before.choices[0], reply.choices[0]
    if one.tool_calls or other.tool_calls:
        return None
    return agree(one.text, other.text)


def told(run: Run, errors: Sequence[MetabolicError]) -> MetabolicError:
    """Return what the client is told when there is no answer."""
    if errors:
        return errors[-1]
    reasons = [reason for _, verdict in run.verdicts for reason in verdict.reasons]
    return BadReply("no deployment gave a well-formed answer: " + "; ".join(reasons or ["none"]))
