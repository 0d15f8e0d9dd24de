"""Split a byte stream into server-sent events, however it was cut into pieces. No I/O.

Source: WHATWG HTML, 9.2.6, "Interpreting an event stream": lines end in LF, CRLF or CR, an empty
line ends an event, ``:`` begins a comment, several ``data`` lines are one text.
"""

__all__ = ["Splitter", "data_of"]

import re

_BLANK = re.compile(rb"(?:\r\n|\n|\r(?=[^\n]))(?:\r\n|\n|\r(?=[^\n]))")
"""An end of line and an empty line. A CR at the very end may still become CRLF: it waits."""


class Splitter:
    """Collects bytes and gives whole events, each as it came, with the empty line that ends it."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        """Begin with nothing."""
        self._rest = b""

    @property
    def pending_bytes(self) -> int:
        """Return how much of an unfinished event is held."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the events that ``data`` completes."""
        text = self._rest + data if self._rest else data
        if b"\r" in text:
            return self._split_any(text)
        *events, self._rest = text.split(b"\n\n")
        return [event + b"\n\n" for event in events if event]

    def finish(self) -> bytes:
        """Return what is left at the end of the stream: an event that lacks its empty line."""
        rest, self._rest = self._rest, b""
        return rest

    def _split_any(self, text: bytes) -> list[bytes]:
        events: list[bytes] = []
        start = 0
        for match in _BLANK.finditer(text):
            if text[start : match.start()].strip(b"\r\n"):
                events.append(text[start : match.end()])
            start = match.end()
        self._rest = text[start:]
        return events


def data_of(event: bytes) -> bytes | None:
    """Return an event's data; ``None`` when it has none (a comment, a lone field).

    A field named ``error``, as older llama.cpp servers send, counts as data that is an ``error``.
    """
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2 and b"\r" not in event:
        return event[6:-2]
    lines: list[bytes] = []
    for line in event.splitlines():
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            lines.append(value)
        elif name == b"error":
            lines.append(value if value.startswith(b'{"error"') else b'{"error":' + value + b"}")
    return b"\n".join(lines) if lines else None
