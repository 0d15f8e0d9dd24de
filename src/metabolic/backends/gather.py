"""Put the chunks of a streamed answer together into choices. No I/O."""

__all__ = ["Gathered"]

from collections.abc import Sequence

from metabolic.backends.shapes import Chunk, ChunkChoice, Lean, Said, ToolDelta, text_of
from metabolic.core.attempt import ReplyChoice, ToolCall


class Gathered:
    """The choices so far, by their index."""

    __slots__ = ("_choices", "_expected")

    def __init__(self, expected: int = 1) -> None:
        """Begin with none; ``expected`` is how many a whole answer has."""
        self._choices: dict[int, _Choice] = {}
        self._expected = expected

    @property
    def finished(self) -> bool:
        """Say whether all choices are there and each has its finish reason."""
        enough = len(self._choices) >= self._expected
        return enough and all(one.finish for one in self._choices.values())

    def add(self, chunk: Chunk) -> None:
        """Add a chunk in full."""
        for choice in chunk.choices or ():
            self._at(choice.index).add(choice)

    def note(self, chunk: Lean) -> None:
        """Add only the finish reasons of a chunk."""
        for choice in chunk.choices or ():
            if choice.finish_reason is not None:
                self._at(choice.index).finish = choice.finish_reason

    def choices(self) -> tuple[ReplyChoice, ...]:
        """Return the choices in the order of their indices."""
        return tuple(self._choices[index].whole() for index in sorted(self._choices))

    def logprobs(self) -> Sequence[float]:
        """Return the token log-probabilities of the first choice so far."""
        one = self._choices.get(0)
        return () if one is None else one.logprobs

    def _at(self, index: int) -> "_Choice":
        one = self._choices.get(index)
        if one is None:
            one = self._choices[index] = _Choice()
        return one


class _Choice:
    __slots__ = ("finish", "logprobs", "reasoning", "refusal", "text", "tokens", "tools", "tops")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.tools: dict[int, _Tool] = {}
        self.logprobs: list[float] = []
        self.tops: list[tuple[float, ...]] = []
        self.tokens: list[str] = []
        self.finish: str | None = None

    def add(self, choice: ChunkChoice) -> None:
        if choice.text:
            self.text.append(choice.text)
        if choice.delta is not None:
            self._say(choice.delta)
        if choice.logprobs is not None:
            self.logprobs.extend(choice.logprobs.values())
            self.tops += choice.logprobs.tops()
            self.tokens += choice.logprobs.tokens()
        self.finish = choice.finish_reason or self.finish

    def _say(self, delta: Said) -> None:
        content = delta.content
        if content:
            self.text.append(content if isinstance(content, str) else text_of(content))
        if thought := delta.reasoning_content or delta.reasoning:
            self.reasoning.append(thought)
        if delta.refusal:
            self.refusal.append(delta.refusal)
        for piece in delta.tool_calls or ():
            self._call(piece)
        if (old := delta.function_call) is not None:
            self._call(ToolDelta(index=-1, function=old))

    def _call(self, piece: ToolDelta) -> None:
        """Add a piece to the tool call its index names; one without an index is a new call."""
        index = len(self.tools) if piece.index is None else piece.index
        tool = self.tools.setdefault(index, _Tool())
        tool.id = piece.id or tool.id
        function = piece.function or piece.custom
        if function is not None:
            tool.name += function.name or ""
            tool.arguments.append(function.arguments or "")

    def whole(self) -> ReplyChoice:
        return ReplyChoice(
            text="".join(self.text),
            reasoning="".join(self.reasoning),
            refusal="".join(self.refusal) or None,
            finish_reason=self.finish,
            tool_calls=tuple(
                ToolCall(name=tool.name, arguments="".join(tool.arguments), id=tool.id)
                for _, tool in sorted(self.tools.items())
            ),
            logprobs=tuple(self.logprobs),
            alternatives=tuple(self.tops),
            tokens=tuple(self.tokens),
        )


class _Tool:
    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.name = ""
        self.id: str | None = None
        self.arguments: list[str] = []
