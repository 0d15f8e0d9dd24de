"""What a conversation leaves behind: where its prompt cache is warm, who called which tool.

Two bounded memories, oldest forgotten first. Nothing of what was said is kept: a session is
remembered by its name and its number of tokens, a tool call by its id.
"""

__all__ = ["Sessions", "tool_call_ids"]

from collections import OrderedDict
from collections.abc import Iterator
from typing import TypeVar

from msgspec.structs import replace

from metabolic.core.attempt import Reply, Run
from metabolic.core.request import Ask, Request, ToolResult, WarmPrefix
from metabolic.decide.variants import key_of
from metabolic.execute.hedges import Hedges
from metabolic.execute.strong_share import StrongShares

_Key = tuple[str | None, str]
_Value = TypeVar("_Value")


class Sessions:
    """Remembers, per tenant, the warm prefixes of sessions and the callers of tools."""

    def __init__(self, *, capacity: int = 10_000) -> None:
        """Remember at most ``capacity`` sessions and as many tool calls."""
        self._capacity = capacity
        self._warm: OrderedDict[_Key, dict[str, int]] = OrderedDict()
        self._turns: OrderedDict[_Key, int] = OrderedDict()
        self._callers: OrderedDict[_Key, str] = OrderedDict()
        self._largest: frozenset[str] = frozenset()
        self._shares = StrongShares()
        self._hedges: Hedges | None = None

    def watch(self, largest: frozenset[str], hedges: Hedges | None = None) -> None:
        """Count, per tenant, who goes to these deployments first; nobody without any.

        ``hedges`` counts those requests for which a second call was opened.
        """
        self._largest, self._hedges = largest, hedges

    def strong_shares(self) -> Iterator[tuple[str | None, float]]:
        """Iterate over tenants and their share of the largest models."""
        return self._shares.shares()

    def warm(self, tenant: str | None, session: str | None) -> tuple[WarmPrefix, ...]:
        """Return which deployments have a prefix of this session cached."""
        if session is None:
            return ()
        known = self._warm.get((tenant, session), {})
        return tuple(
            WarmPrefix(deployment=name, prefix_tokens=tokens)
            for name, tokens in sorted(known.items())
        )

    def pin(self, tenant: str | None, request: Request) -> str | None:
        """Return the deployment (and variant) whose tool call this request answers, if ours."""
        if not request.messages:
            return None
        for block in request.messages[-1].content:
            if isinstance(block, ToolResult):
                return self._callers.get((tenant, block.id))
        return None

    def counted(self, ask: Ask) -> Ask:
        """Return the ask with the turns of its session and its tenant's share of the largest.

        It is the same without a session and a share that is watched.
        """
        if self._largest:
            ask = replace(ask, strong_share_ratio=self._shares.of(ask.tenant))
        if self._hedges is not None and self._hedges.may(ask):
            ask = replace(ask, may_hedge=True)
        if ask.session is None:
            return ask
        return replace(ask, turns=self._turns.get((ask.tenant, ask.session), 0))

    def learn(self, ask: Ask, run: Run, tool_call_ids: tuple[str, ...]) -> None:
        """Remember what a finished run leaves warm, the tool calls it made, and who was asked."""
        if self._hedges is not None:
            self._hedges.saw(run)
        if self._largest and run.decision.stages:
            strong = run.decision.stages[0].deployment in self._largest
            self._shares.saw(ask.tenant, strong=strong)
        if run.answer is None:
            return
        call = next((one.call for one in run.attempts if one.call.id == run.answer.call), None)
        name = key_of(run.answer.deployment, None if call is None else call.variant)
        if ask.session is not None:
            warm = dict(self._warm.get((ask.tenant, ask.session), {}))
            for one in run.attempts:
                if one.failure is None:
                    tokens = (one.usage.input_tokens or 0) + (one.usage.output_tokens or 0)
                    warm[one.call.deployment] = tokens
            self._keep(self._warm, (ask.tenant, ask.session), warm)
            turns = self._turns.get((ask.tenant, ask.session), 0) + 1
            self._keep(self._turns, (ask.tenant, ask.session), turns)
        for call_id in tool_call_ids:
            self._keep(self._callers, (ask.tenant, call_id), name)

    def _keep(self, memory: "OrderedDict[_Key, _Value]", key: _Key, value: _Value) -> None:
        """Store and forget the oldest beyond capacity."""
        memory[key] = value
        memory.move_to_end(key)
        if len(memory) > self._capacity:
            memory.popitem(last=False)


def tool_call_ids(reply: Reply | None) -> tuple[str, ...]:
    """Return the ids of the tool calls an answer made."""
    if reply is None:
        return ()
    return tuple(call.id for choice in reply.choices for call in choice.tool_calls if call.id)
