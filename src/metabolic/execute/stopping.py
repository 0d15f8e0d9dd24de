"""How one call is stopped, and what is known of it then."""

__all__ = ["Stop"]

import asyncio

from metabolic.core.request import Usage


class Stop:
    """Ends the await of one call and remembers why.

    ``pieces`` are those that came of a stream, of about a token each: what a call that is stopped
    had written by then, where nobody reports more. ``first_s`` is when the first one came, in
    seconds since the run began.
    """

    __slots__ = ("first_s", "pieces", "task", "why")

    def __init__(self) -> None:
        """Nothing is under way yet."""
        self.task: asyncio.Task[object] | None = None
        self.why: str | None = None
        self.pieces = 0
        self.first_s: float | None = None

    def usage(self) -> Usage:
        """Return the tokens written so far; unknown where the answer was to come in one piece."""
        return Usage(output_tokens=self.pieces) if self.pieces else Usage()
