"""Agent tasks: when thrift begins, when a task is over, and when it goes in circles.

Theory. An agent that makes no progress calls the same tool with the same arguments and gets the
same result again. Its history says so: with the steps as (tool, arguments, result), it goes in
circles when its last ``p x r`` steps are the same ``p`` steps ``r`` times over, for a period ``p``
of one to three. A result that differs is progress, and ends the circle.
"""

__all__ = ["LONGEST_PERIOD", "circles", "steps_of", "thrift_of"]

import json
from collections.abc import Sequence
from typing import Any

from metabolic.core.request import Request, ToolResult, ToolUse

LONGEST_PERIOD = 3
"""Steps of the longest circle that is looked for."""

_MOST_STEPS = 64
_AT_ONCE = 0.5
"""How far the dial moves at the soft limit; from there it goes on to the end."""

Step = tuple[str, str, str]
"""Tool, arguments in one form, result."""


def thrift_of(spent_ratio: float | None, soft_ratio: float) -> float:
    """Return how far the dial moves to thrift when so much of a budget is used up, in [0, 1].

    Not at all below ``soft_ratio``, half-way there at once, all the way at the end.

    >>> thrift_of(0.5, 0.8), thrift_of(0.8, 0.8), thrift_of(1.2, 0.8)
    (0.0, 0.5, 1.0)
    """
    if spent_ratio is None or spent_ratio < soft_ratio:
        return 0.0
    room = 1 - soft_ratio
    along = (spent_ratio - soft_ratio) / room if room > 0 else 1.0
    return min(1.0, _AT_ONCE + (1 - _AT_ONCE) * along)


def steps_of(request: Request) -> tuple[Step, ...]:
    """Return the latest tool calls of a conversation that have a result, in order."""
    uses: dict[str, ToolUse] = {}
    steps: list[Step] = []
    for message in request.messages:
        for block in message.content:
            if isinstance(block, ToolUse):
                uses[block.id] = block
            elif isinstance(block, ToolResult) and block.id in uses:
                use = uses[block.id]
                steps.append((use.name, _canonical(use.arguments), block.text))
    return tuple(steps[-_MOST_STEPS:])


def circles(steps: Sequence[Step], least: int) -> int:
    """Return how often the last steps have been gone round, if at least ``least`` times; else 0.

    >>> circles([("search", "{}", "nothing")] * 4, 3)
    4
    """
    if least < 1 or not steps:
        return 0
    for period in range(1, LONGEST_PERIOD + 1):
        rounds = _rounds(steps, period)
        if rounds >= max(least, 2):
            return rounds
    return 0


def _rounds(steps: Sequence[Step], period: int) -> int:
    """Return how many times in a row the last ``period`` steps end the sequence."""
    last = list(steps[-period:])
    rounds, end = 0, len(steps)
    while end >= period and list(steps[end - period : end]) == last:
        rounds, end = rounds + 1, end - period
    return rounds


def _canonical(arguments: str) -> str:
    """Return arguments in one form, whatever their order and spaces."""
    try:
        value: Any = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return arguments
    return json.dumps(value, sort_keys=True)
