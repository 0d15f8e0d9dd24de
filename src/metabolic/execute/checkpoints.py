"""Looking at a draft while it is being written, at the checkpoints its call names."""

__all__ = ["GivenUp", "Reached", "Watcher"]

from collections.abc import Callable

from metabolic.core.ports import Stream
from metabolic.decide.tokens import first_tokens

Reached = Callable[[int, float], bool]
"""Told of a checkpoint: tokens, and the mean of their log-probabilities; says whether to stop."""


class GivenUp(Exception):
    """The run has given up this call; ``tokens`` were written by then."""

    def __init__(self, tokens: int) -> None:
        """Say how many tokens were written."""
        super().__init__(f"given up after {tokens} tokens")
        self.tokens = tokens


class Watcher:
    """Tells the run of each checkpoint once, in order."""

    __slots__ = ("_left", "_reached")

    def __init__(self, counts: tuple[int, ...], reached: Reached) -> None:
        """``counts`` are numbers of tokens."""
        self._left = sorted(counts, reverse=True)
        self._reached = reached

    def look(self, stream: Stream) -> None:
        """See how far an answer is. Raises ``GivenUp``."""
        if not self._left:
            return
        logprobs = stream.logprobs()
        while self._left and len(logprobs) >= self._left[-1]:
            count = self._left.pop()
            mean = first_tokens(logprobs, count)
            if mean is not None and self._reached(count, mean):
                raise GivenUp(len(logprobs))
