"""The evidence a request carries, and the text of what it asks."""

__all__ = ["context_of", "question_of", "texts_of"]

from collections.abc import Iterator

from metabolic.core.request import Message, Request, Text, ToolResult

_MAX_CHARS = 60_000
_MIN_WORDS = 40
"""Words a system or user text needs before it is taken for evidence rather than for a question."""


def context_of(request: Request) -> str:
    """Return the texts a request gives to answer from; ``""`` when it gives none.

    Results of tools always are; a system or user text is when it is long. The first 60,000
    characters are kept. What an assistant said before is no evidence.
    """
    parts: list[str] = []
    room = _MAX_CHARS
    for text in _pieces(request.messages):
        parts.append(text[:room])
        room -= len(text)
        if room <= 0:
            break
    return "\n".join(parts)


def _pieces(messages: tuple[Message, ...]) -> Iterator[str]:
    """Yield the texts that are evidence, in order."""
    for message in messages:
        for block in message.content:
            if isinstance(block, ToolResult):
                yield block.text
            elif isinstance(block, Text):
                long = block.text.count(" ") >= _MIN_WORDS
                if message.role == "tool" or (message.role != "assistant" and long):
                    yield block.text


def texts_of(request: Request) -> str:
    """Return every text the model was given, but for what an assistant said; 60,000 characters."""
    parts: list[str] = []
    for message in request.messages:
        if message.role != "assistant":
            parts += [one.text for one in message.content if isinstance(one, Text | ToolResult)]
    return "\n".join(parts)[:_MAX_CHARS]


def question_of(request: Request) -> str:
    """Return the last user text, ``""`` when there is none."""
    for message in reversed(request.messages):
        if message.role == "user":
            return "\n".join(one.text for one in message.content if isinstance(one, Text))
    return ""
