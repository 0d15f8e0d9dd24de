"""Which requests belong to one conversation, where nobody says so.

A turn sends along all that was said before, so it begins with the whole of an earlier request. Each
request is remembered by a salted digest of its messages; one that has such a digest among those of
its own beginnings goes on with that conversation. Worked examples before a question are no
conversation: nobody has asked their beginning alone. Nothing of what was said is kept.
"""

__all__ = ["Chains"]

from collections import OrderedDict
from hashlib import blake2b

from metabolic.core.request import Block, Request, Text, ToolResult, ToolUse

_DIGEST_BYTES = 8


class Chains:
    """Names conversations; remembers the latest requests."""

    def __init__(self, salt: bytes, *, capacity: int = 20_000) -> None:
        """``salt`` keeps what was said from being guessed by its digest."""
        self._salt, self._capacity = salt, capacity
        self._known: OrderedDict[bytes, str] = OrderedDict()

    def of(self, tenant: str | None, request: Request) -> str:
        """Return the conversation's name: the digest of the request that it began with."""
        made = blake2b((tenant or "").encode(), key=self._salt, digest_size=_DIGEST_BYTES)
        found: str | None = None
        for message in request.messages:
            made.update(b"\0" + message.role.encode())
            for block in message.content:
                made.update(b"\1" + _said(block))
            known = self._known.get(made.digest())
            found = found if known is None else known
        if not request.messages:
            made.update(request.body)
        whole = made.digest()
        name = whole.hex() if found is None else found
        self._known[whole] = name
        self._known.move_to_end(whole)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return name


def _said(block: Block) -> bytes:
    """Return what tells one block from another."""
    match block:
        case Text():
            return block.text.encode()
        case ToolUse():
            return f"{block.name}({block.arguments})".encode()
        case ToolResult():
            return block.text.encode()
        case _:
            return type(block).__name__.encode()
