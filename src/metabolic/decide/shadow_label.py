"""Which of two answers is the better one, as far as rules can say without a model.

Conservative: whatever is not shown to be as good counts against the draft, or is left open. A
draft whose shape is broken loses to one whose is not; tool calls are compared as calls, short and
marked answers by what they say in the end. Of free text and of code that differs rules know
nothing.
"""

__all__ = ["CLOSE", "Label", "by_feedback", "by_judge", "compared"]

import json
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.attempt import Reply, ToolCall
from metabolic.core.certificate import Labeller
from metabolic.core.shadow import ShadowRow
from metabolic.decide.agreement import agree, final_answer

CLOSE = 0.1
"""Two scores of a judge that differ by less say the same."""

_LONG_WORDS = 12


class Label(Struct, frozen=True, kw_only=True):
    """A loss in [-1, 1], 1 where the reference's answer is better, and who says so."""

    loss: float
    labeller: Labeller


_TIE = Label(loss=0.0, labeller="exact_match")
_LOST = Label(loss=1.0, labeller="exact_match")


def compared(draft: Reply, reference: Reply, *, broken: bool, both_broken: bool) -> Label | None:
    """Return what comparing two answers says; ``None``: rules cannot tell.

    ``broken`` says that the draft's shape is, ``both_broken`` that the reference's is, too.
    """
    if broken:
        return Label(loss=0.0 if both_broken else 1.0, labeller="deterministic_check")
    if len(draft.choices) != 1 or len(reference.choices) != 1:
        return None
    one, other = draft.choices[0], reference.choices[0]
    if one.tool_calls or other.tool_calls:
        return _TIE if _calls(one.tool_calls) == _calls(other.tool_calls) else _LOST
    if " ".join(one.text.split()) == " ".join(other.text.split()):
        return _TIE
    said = agree(one.text, other.text)
    if said is None or not _telling(other.text):
        return None
    return _TIE if said else _LOST


def _telling(text: str) -> bool:
    """Say whether what an answer says in the end is all of it: marked, short, or data."""
    final = final_answer(text)
    if final is None or final.kind == "code":
        return False
    return final.marked or final.kind == "json" or len(text.split()) <= _LONG_WORDS


def _calls(calls: tuple[ToolCall, ...]) -> list[tuple[str, str]]:
    """Return calls in a form that can be compared: by name, with their arguments as values."""
    return sorted((one.name, _canonical(one.arguments)) for one in calls)


def _canonical(arguments: str) -> str:
    """Return arguments in one form, whatever their order and spaces."""
    try:
        value: Any = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return arguments
    return json.dumps(value, sort_keys=True)


def by_judge(draft: float | None, reference: float | None) -> Label | None:
    """Return what two scores of a judge in [0, 1] say; ``None`` without both.

    >>> by_judge(0.9, 0.85).loss
    0.0
    """
    if draft is None or reference is None:
        return None
    apart = reference - draft
    loss = 0.0 if abs(apart) < CLOSE else 1.0 if apart > 0 else -1.0
    return Label(loss=loss, labeller="judge")


def by_feedback(row: ShadowRow, correct: float) -> ShadowRow:
    """Return a row with what its user said of the upstream's answer, from 0 to 1.

    Of a good answer the comparison stands. A draft that said the same as a bad one loses nothing,
    and of one that said something else it is not known whether it was better: nothing is won.
    """
    if row.loss is None or row.labeller != "exact_match":
        return row
    loss = row.loss * correct
    return replace(row, loss=loss, labeller="user_feedback")
