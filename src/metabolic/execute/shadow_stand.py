"""Calls in which the upstream's answer stands in for a call to it: it has been paid for once."""

__all__ = ["Stand"]

from typing import Any

from metabolic.core.attempt import Attempt, Call, Choice, Reply
from metabolic.core.request import Request
from metabolic.execute.calls import Calls, Made


class Stand(Calls):
    """Makes calls as another one does, but for those to ``reference``; keeps every answer."""

    def __init__(self, real: Calls, *, reference: str, reply: Reply, seconds: float) -> None:
        """``reply`` is what the upstream answered, ``seconds`` how long that took."""
        self._real, self._reference = real, reference
        self._reply, self._seconds = reply, seconds
        self.replies: dict[str, Reply] = {}

    async def make(  # whatever else is given is passed on
        self,
        request: Request,
        call: Call,
        **rest: Any,  # noqa: ANN401
    ) -> Made:
        """Make a call, or hand out the answer that is there."""
        if call.deployment == self._reference:
            made = self.given(call, began_s=0.0)
        else:
            made = await self._real.make(request, call, **rest)
        if made.reply is not None:
            self.replies[call.id] = made.reply
        return made

    def given(self, call: Call, *, began_s: float) -> Made:
        """Return the upstream's answer as a call of its own."""
        reply = self._reply
        attempt = Attempt(
            call=call,
            began_s=began_s,
            ended_s=began_s + self._seconds,
            usage=reply.usage,
            choices=tuple(
                Choice(
                    finish_reason=one.finish_reason,
                    tool_calls=len(one.tool_calls),
                    output_chars=len(one.text),
                )
                for one in reply.choices
            ),
        )
        return Made(attempt=attempt, reply=reply)
