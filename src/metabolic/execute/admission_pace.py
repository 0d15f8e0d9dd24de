"""Learns from answers how fast each deployment is; what it learned goes into the next ``Load``.

On a request's path only sums are added up (microseconds); the constants are solved for in the
background, once a period.
"""

__all__ = ["Paces"]

from collections.abc import Iterable

from metabolic.core.attempt import Attempt
from metabolic.core.fleet import Deployment
from metabolic.decide.roofline import Constants, Pace, believed, constants, observe, token_s

_LEAST_TOKENS = 2
_TELLING_TOKENS = 16
"""A whole answer of so many tokens tells what each took."""


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
        self._changed: set[str] = set()

    def saw(self, attempt: Attempt, *, batch: float, began_s: float) -> float | None:
        """Learn from a whole answer; return the seconds of each token, where it was streamed.

        ``batch`` is the mean of answers in flight, ``began_s`` when the engine got it.
        """
        usage = attempt.usage
        if usage.output_tokens is None or usage.input_tokens is None:
            return None
        name, output = attempt.call.deployment, usage.output_tokens
        fresh = float(max(0, usage.input_tokens - (usage.cached_tokens or 0)))
        belief, pace = self._belief.get(name), self._paces.get(name, Pace())
        first_s, each_s = attempt.first_token_s, None
        if first_s is None or output < _LEAST_TOKENS:
            seconds = attempt.ended_s - began_s
            pace = observe(
                pace,
                seconds=seconds,
                batch=batch,
                prompt_tokens=fresh,
                output_tokens=output,
                belief=belief,
            )
            if output >= _TELLING_TOKENS:
                known = self._found.get(name) or belief
                prompt_s = 0.0 if known is None else known.overhead_s + known.prompt_s * fresh
                each_s = max(0.0, seconds - prompt_s) / output or None
        else:
            seconds, rest_s = first_s - began_s, attempt.ended_s - first_s
            pace = observe(pace, seconds=seconds, batch=batch, prompt_tokens=fresh, belief=belief)
            pace = observe(
                pace,
                seconds=rest_s,
                batch=batch,
                output_tokens=output - 1,
                first=False,
                belief=belief,
            )
            each_s = rest_s / (output - 1)
        self._paces[name] = pace
        self._changed.add(name)
        return each_s

    def refit(self) -> bool:
        """Solve anew for who has answered since; say whether there was anybody."""
        changed, self._changed = self._changed, set()
        for name in changed:
            found = constants(self._paces[name], self._belief.get(name))
            if found is not None:
                self._found[name] = found
        return bool(changed)

    def found(self) -> dict[str, Constants]:
        """Return the constants of every deployment that is known by now."""
        return dict(self._found)

    def answer_s(self, deployment: str, *, prompt: float, output: float, batch: float) -> float:
        """Return how long an answer takes once it has begun; 0 where nobody knows."""
        known = self._found.get(deployment) or self._belief.get(deployment)
        if known is None:
            return 0.0
        return known.overhead_s + known.prompt_s * prompt + token_s(known, batch) * output
