"""Is the answer what was asked for: JSON, schema, tool calls, whole, no refusal, no loop.

What is broken (not JSON, against the schema, an unknown tool, empty) is not well-formed and is
never given. What may be all that can be had (a refusal, a loop, an answer cut short, withheld by
a content filter) is doubtful: another model tries first. With ``n`` > 1 every choice must pass.
"""

__all__ = ["Options", "ShapeValidator", "check_cost", "create"]

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from metabolic.core.attempt import Attempt, Reply, ReplyChoice, ToolCall, Verdict
from metabolic.core.checking import CheckCost
from metabolic.core.request import Request
from metabolic.validate.schema import SchemaChecker
from metabolic.validate.text import declines, is_looping


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is looked for, and how many compiled schemas are kept.

    A refusal or loop can be what was asked for (moderation, "say it 100 times"); switch those
    checks off where it is.
    """

    refusal: bool = True
    repetition: bool = True
    truncation: bool = True
    schemas_kept: int = 64


class _Finding(Struct, frozen=True):
    """One fault: its reason, and whether the answer is broken by it rather than doubtful."""

    reason: str
    broken: bool


class ShapeValidator:
    """Judges the shape of every choice of an answer; no evidence of being right."""

    name = "shape"
    cost_s = 20e-6

    def __init__(self, options: Options) -> None:
        """Start with no compiled schema."""
        self._options = options
        self._schemas = SchemaChecker(capacity=options.schemas_kept)

    async def check(self, request: Request, attempt: Attempt, reply: Reply) -> Verdict:
        """Return the verdict on all choices, with every fault found once."""
        del attempt
        reasons: list[str] = []
        broken = doubtful = False
        for finding in self._findings(request, reply):
            broken |= finding.broken
            doubtful |= not finding.broken
            if finding.reason not in reasons:
                reasons.append(finding.reason)
        return Verdict(
            well_formed=not broken,
            doubtful=doubtful,
            reasons=tuple(reasons),
            validator=self.name,
        )

    def _findings(self, request: Request, reply: Reply) -> Iterator[_Finding]:
        """Yield what is wrong with the answer as a whole, then with each choice."""
        if request.dialect == "embeddings":
            return
        if not reply.choices:
            yield _Finding("empty: no choice", broken=True)
        elif len(reply.choices) < request.n:
            yield _Finding(f"choices: {len(reply.choices)} of {request.n}", broken=False)
        for choice in reply.choices:
            yield from self._ending(request, reply, choice)
            if choice.tool_calls:
                for call in choice.tool_calls:
                    yield from self._tool_call(request, call)
            else:
                yield from self._text(request, choice)

    def _ending(self, request: Request, reply: Reply, choice: ReplyChoice) -> Iterator[_Finding]:
        """Yield how the choice ended, if it did not end by itself."""
        if choice.finish_reason == "content_filter":
            yield _Finding("content_filter", broken=False)
        cut = choice.finish_reason == "length"
        if cut and self._options.truncation and not _asked_for(request, reply):
            yield _Finding("truncated: length", broken=False)

    def _text(self, request: Request, choice: ReplyChoice) -> Iterator[_Finding]:
        """Yield what is wrong with a choice's words."""
        if choice.refusal:
            if self._options.refusal:
                yield _Finding("refusal: field", broken=False)
            return
        text = choice.text
        if not text.strip():
            if request.dialect == "chat" and choice.finish_reason != "content_filter":
                yield _Finding("empty", broken=True)
            return
        if request.response_format.kind != "text":
            yield from self._json(request, text)
            return
        if self._options.refusal and request.dialect == "chat" and declines(text):
            yield _Finding("refusal: words", broken=False)
        if self._options.repetition and is_looping(text):
            yield _Finding("repetition", broken=False)

    def _json(self, request: Request, text: str) -> Iterator[_Finding]:
        """Yield why a text is not the JSON that was asked for."""
        wanted = request.response_format
        value, fault = _decoded(text)
        if fault:
            yield _Finding(f"json: {fault}", broken=True)
        elif wanted.kind == "json_object" and not _is_object(value):
            yield _Finding("json: not an object", broken=True)
        elif wanted.kind == "json_schema" and wanted.schema is not None:
            outcome = self._schemas.check(wanted.schema, value)
            if outcome.kind == "invalid":
                yield _Finding(f"json_schema: {outcome.why}", broken=True)

    def _tool_call(self, request: Request, call: ToolCall) -> Iterator[_Finding]:
        """Yield why a tool call cannot be made."""
        tool = next((tool for tool in request.tools if tool.name == call.name), None)
        if tool is None:
            yield _Finding("tool_call: unknown tool", broken=True)
            return
        value, fault = _decoded(call.arguments or "{}")
        if fault or not _is_object(value):
            yield _Finding(f"tool_call: {fault or 'arguments are not an object'}", broken=True)
        elif tool.parameters is not None:
            outcome = self._schemas.check(tool.parameters, value)
            if outcome.kind == "invalid":
                yield _Finding(f"tool_call: {outcome.why}", broken=True)


def _asked_for(request: Request, reply: Reply) -> bool:
    """Say whether the client's own limit cut the answer: then a larger model is cut as well.

    A raw completion is cut by nature. Without the engine's count the limit gets the blame.
    """
    limit = request.sampling.max_output_tokens
    if limit is None:
        return request.dialect == "completions"
    written = reply.usage.output_tokens
    return written is None or written >= limit * len(reply.choices)


def _is_object(value: object) -> bool:
    """Say whether a decoded value is a JSON object."""
    return isinstance(value, dict)


def _decoded(text: str) -> tuple[object, str]:
    """Return the JSON value of a text and ``""``, or ``None`` and what is wrong with it."""
    try:
        return msgspec.json.decode(text), ""
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None, "not JSON"
    except RecursionError:
        return None, "nested too deep"


def check_cost(options: Options) -> CheckCost:
    """Return what a draft typically takes."""
    del options
    return CheckCost(name="shape", cpu_s=ShapeValidator.cost_s)


def create(options: Options) -> ShapeValidator:
    """Return a shape validator with its own schema cache."""
    return ShapeValidator(options)
