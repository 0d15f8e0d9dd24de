"""What was asked: ``Request`` in full, ``Ask`` without its text, ``Usage`` in tokens."""

__all__ = [
    "NO_LIMITS",
    "Ask",
    "Block",
    "Given",
    "Image",
    "Limits",
    "Message",
    "Native",
    "Opaque",
    "Request",
    "ResponseFormat",
    "Sampling",
    "Text",
    "Thinking",
    "Tool",
    "ToolResult",
    "ToolUse",
    "Usage",
    "WarmPrefix",
]

from typing import Literal

from msgspec import Struct

from metabolic.core.delivery import Delivery
from metabolic.core.task import AgentTask


class Text(Struct, frozen=True, kw_only=True, tag="text", gc=False):
    """A piece of text."""

    text: str


class Image(Struct, frozen=True, kw_only=True, tag="image", gc=False):
    """An image the client sent; its bytes stay in ``Request.body`` and pass through."""


class ToolUse(Struct, frozen=True, kw_only=True, tag="tool_use", gc=False):
    """A tool call the assistant made earlier in the conversation."""

    id: str
    name: str
    arguments: str


class ToolResult(Struct, frozen=True, kw_only=True, tag="tool_result", gc=False):
    """What a tool answered."""

    id: str
    text: str


class Thinking(Struct, frozen=True, kw_only=True, tag="thinking", gc=False):
    """Reasoning content of an earlier turn."""

    text: str


class Opaque(Struct, frozen=True, kw_only=True, tag="opaque", gc=False):
    """A content part Metabolic does not know; it passes through untouched in the body."""

    kind: str


Block = Text | Image | ToolUse | ToolResult | Thinking | Opaque


class Message(Struct, frozen=True, kw_only=True, gc=False):
    """One turn: the role as the client wrote it, and its content in order."""

    role: str
    content: tuple[Block, ...] = ()


class Tool(Struct, frozen=True, kw_only=True, gc=False):
    """A function the model may call; ``parameters`` is its JSON schema as JSON bytes."""

    name: str
    parameters: bytes | None = None


class ResponseFormat(Struct, frozen=True, kw_only=True, gc=False):
    """The shape the answer must have; ``schema`` is a JSON schema as JSON bytes."""

    kind: Literal["text", "json_object", "json_schema"] = "text"
    schema: bytes | None = None


class Sampling(Struct, frozen=True, kw_only=True, gc=False):
    """The sampling options Metabolic itself looks at; the others stay in the body.

    ``own_effort``: the client says how much the model is to think.
    """

    temperature: float | None = None
    max_output_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: bool = False
    own_effort: bool = False


class Native(Struct, frozen=True, kw_only=True, gc=False):
    """What the client wrote in another dialect than OpenAI's, for a backend that speaks it.

    ``body`` is verbatim; ``headers`` are those of that dialect that must reach the upstream.
    """

    dialect: Literal["messages", "responses"]
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Given(Struct, frozen=True, kw_only=True, gc=False):
    """What has been answered already, by a call that died: the backend goes on from there.

    ``text`` ends in no white space. ``tokens`` are those it took: the limit is lowered by them.
    """

    text: str
    tokens: int


class Request(Struct, frozen=True, kw_only=True, gc=False):
    """What the client asked, in full.

    ``body`` is the client's JSON, verbatim: backends forward it with only the fields Metabolic
    must set, so what Metabolic does not know passes through untouched. A request in another
    dialect is ``native``, and ``body`` says the same in OpenAI's. ``given`` is how the answer
    begins that is to be gone on with.
    """

    id: str
    dialect: Literal["chat", "completions", "embeddings"]
    model: str
    messages: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    response_format: ResponseFormat = ResponseFormat()
    sampling: Sampling = Sampling()
    n: int = 1
    stream: bool = False
    include_usage: bool = False
    body: bytes = b""
    native: Native | None = None
    given: Given | None = None


class Limits(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What the client allows this request to take; ``None`` is no limit."""

    deadline_s: float | None = None
    max_cost_usd: float | None = None
    max_energy_j: float | None = None


NO_LIMITS = Limits()
"""The limits of a client that set none."""


class WarmPrefix(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Tokens of this conversation's prefix that a deployment probably has in its prompt cache."""

    deployment: str
    prefix_tokens: int


class Ask(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a decision may see of a request: no text.

    ``at_s`` is seconds since the epoch. ``pin`` forces one deployment; ``allowed`` restricts to
    some (a virtual model), ``()`` is all. ``preference`` runs from 0 (quality) to 1 (thrift),
    ``None`` takes the policy's. ``needs`` is sorted: ``tools``, ``json``, ``json_schema``,
    ``vision``, ``logprobs``, ``embeddings``, ``completions``. ``conversation_pin`` names the
    deployment that must answer because a tool result is being returned to it.
    ``strong_share_ratio`` is the share of the tenant's latest requests that went to the largest
    models first, ``None`` where nobody counts. ``turns`` of its session have been answered;
    ``None``: it belongs to none, or nobody counts. ``agent_task`` is the task it belongs to as
    it stood before (``None``: none). ``may_hedge``: the budget of hedges has room for one.
    ``own_effort``: the client says how much the model is to think, so no variant says
    otherwise.
    """

    id: str
    at_s: float
    dialect: str = "chat"
    tenant: str | None = None
    session: str | None = None
    task: str | None = None
    pin: str | None = None
    allowed: tuple[str, ...] = ()
    preference: float | None = None
    delivery: Literal["auto"] | Delivery = "auto"
    n: int = 1
    stream: bool = False
    needs: tuple[str, ...] = ()
    priority: int = 0
    input_tokens: int = 0
    max_output_tokens: int | None = None
    limits: Limits = NO_LIMITS
    warm: tuple[WarmPrefix, ...] = ()
    conversation_pin: str | None = None
    strong_share_ratio: float | None = None
    turns: int | None = None
    may_hedge: bool = False
    own_effort: bool = False
    agent_task: AgentTask | None = None


class Usage(Struct, frozen=True, kw_only=True, gc=False):
    """Tokens as the engine reported them; ``None`` where it did not.

    ``input_tokens`` includes ``cached_tokens``; ``output_tokens`` includes ``reasoning_tokens``.
    """

    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
