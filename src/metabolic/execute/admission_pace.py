"""Learns from answers how fast each deployment is; what it learned goes into the next ``Load``.

On a request's path an answer is only put in a list; sums are added up and the constants solved
for in the background, once a period. Of a period with very many answers the latest count.
"""

__all__ = ["Paces"]

from collections import deque
from collections.abc import Iterable

from metabolic.core.attempt import Attempt
from metabolic.core.fleet import Deployment
from metabolic.decide.roofline import Constants, Pace, believed, constants, observe, token_s

_LEAST_TOKENS = 2
_FORGET = 0.05
"""Weight of the latest answer in the usual lengths."""

_TELLING_TOKENS = 16
"""A whole answer of so many tokens tells what each took."""

_WAITING = 64
"""So many spans of a deployment wait for the period's end; more would tell little that is new."""

_Span = tuple[float, float, float, float, bool]
"""Seconds, batch, prompt tokens, output tokens; whether the prompt is in it."""


class Paces:
    """The pace of each deployment."""

    def __init__(self, deployments: Iterable[Deployment]) -> None:
        """Begin with what is configured of their speeds."""
        self._belief = {
            one.name: believed(one.prefill_tokens_per_s, one.decode_tokens_per_s)
            for one in deployments
        }
        self._paces: dict[str, Pace] = {}
        self._found: dict[str, Constants] = {}
        self._waiting: dict[str, deque[_Span]] = {}
        self._typical: dict[str, tuple[float, float]] = {}

    def saw(self, attempt: Attempt, *, batch: float, began_s: float) -> float | None:
        """Learn from a whole answer; return the seconds of each token, where it was streamed.

        ``batch`` is the mean of answers in flight, ``began_s`` when the engine got it.
        """
        usage = attempt.usage
        if usage.output_tokens is None or usage.input_tokens is None:
            return None
        name, output = attempt.call.deployment, usage.output_tokens
        fresh = float(max(0, usage.input_tokens - (usage.cached_tokens or 0)))
        waiting = self._waiting.get(name)
        if waiting is None:
            waiting = self._waiting[name] = deque(maxlen=_WAITING)
        first_s = attempt.first_token_s
        if first_s is not None and output >= _LEAST_TOKENS:
            rest_s = attempt.ended_s - first_s
            waiting.append((first_s - began_s, batch, fresh, 0.0, True))
            waiting.append((rest_s, batch, 0.0, output - 1.0, False))
            return rest_s / (output - 1)
        seconds = attempt.ended_s - began_s
        waiting.append((seconds, batch, fresh, float(output), True))
        if output < _TELLING_TOKENS:
            return None
        known = self._found.get(name) or self._belief.get(name)
        prompt_s = 0.0 if known is None else known.overhead_s + known.prompt_s * fresh
        return max(0.0, seconds - prompt_s) / output or None

    def refit(self) -> bool:
        """Solve anew for who has answered since; say whether there was anybody."""
        waiting, self._waiting = self._waiting, {}
        for name, spans in waiting.items():
            belief, pace = self._belief.get(name), self._paces.get(name, Pace())
            for seconds, batch, prompt, output, first in spans:
                pace = observe(
                    pace,
                    seconds=seconds,
                    batch=batch,
                    prompt_tokens=prompt,
                    output_tokens=output,
                    first=first,
                    belief=belief,
                )
                self._note(name, prompt, output, whole=first)
            self._paces[name] = pace
            found = constants(pace, belief)
            if found is not None:
                self._found[name] = found
        return bool(waiting)

    def _note(self, name: str, prompt: float, output: float, *, whole: bool) -> None:
        """Follow the lengths of prompts and answers; a stream's first part has no answer yet."""
        mean = self._typical.get(name, (prompt, output))
        if whole:
            mean = (mean[0] + _FORGET * (prompt - mean[0]), mean[1])
        if output > 0.0:
            mean = (mean[0], output if mean[1] <= 0.0 else mean[1] + _FORGET * (output - mean[1]))
        self._typical[name] = mean

    def typical(self, deployment: str) -> tuple[float, float] | None:
        """Return the usual tokens of a prompt, less those cached, and of an answer."""
        found = self._typical.get(deployment)
        return found if found is not None and found[1] > 0.0 else None

    def found(self) -> dict[str, Constants]:
        """Return the constants of every deployment that is known by now."""
        return dict(self._found)

    def answer_s(self, deployment: str, *, prompt: float, output: float, batch: float) -> float:
        """Return how long an answer takes once it has begun; 0 where nobody knows."""
        known = self._found.get(deployment) or self._belief.get(deployment)
        if known is None:
            return 0.0
        return known.overhead_s + known.prompt_s * prompt + token_s(known, batch) * output
