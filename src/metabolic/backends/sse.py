"""Split a byte stream into server-sent events, however it was cut into pieces. No I/O.

Source: WHATWG HTML, 9.2.6, "Interpreting an event stream": lines end in LF, CRLF or CR, an empty
line ends an event, ``:`` begins a comment, several ``data`` lines are one text.
"""

__all__ = ["Splitter", "data_of"]

import re

_BLANK = re.compile(rb"(?:\r\n|\n|\r(?=[^\n]))(?:\r\n|\n|\r(?=[^\n]))")
"""An end of line and an empty line. A CR at the very end may still become CRLF: it waits."""

_CR = 13
"""As a number, because ``bytes in bytes`` first fails to take its left side for one."""


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

    def feed(self, data: bytes) -> list[tuple[bytes, bytes | None]]:
        """Return the events that ``data`` completes, each with its data, see ``data_of``."""
        if not self._rest and _is_one_plain_event(data):
            return [(data, data[6:-2])]
        text = self._rest + data if self._rest else data
        if _CR not in text:
            # Looking for one byte is several times cheaper than looking for two.
            lines = text.split(b"\n")
            if len(lines) % 2 and not any(lines[1::2]):
                self._rest = lines.pop()
                return [(line + b"\n\n", _data_of_line(line)) for line in lines[::2] if line]
        return self._split_any(text)

    def finish(self) -> bytes:
        """Return what is left at the end of the stream: an event that lacks its empty line."""
        rest, self._rest = self._rest, b""
        return rest

    def _split_any(self, text: bytes) -> list[tuple[bytes, bytes | None]]:
        events: list[tuple[bytes, bytes | None]] = []
        start = 0
        for match in _BLANK.finditer(text):
            if text[start : match.start()].strip(b"\r\n"):
                event = text[start : match.end()]
                events.append((event, data_of(event)))
            start = match.end()
        self._rest = text[start:]
        return events


def data_of(event: bytes) -> bytes | None:
    """Return an event's data; ``None`` when it has none (a comment, a lone field).

    A field named ``error``, as older llama.cpp servers send, counts as data that is an ``error``.
    """
    lines: list[bytes] = []
    for line in event.splitlines():
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            lines.append(value)
        elif name == b"error":
            lines.append(value if value.startswith(b'{"error"') else b'{"error":' + value + b"}")
    return b"\n".join(lines) if lines else None


def _is_one_plain_event(data: bytes) -> bool:
    """Say whether ``data`` is exactly one event of one data line: what servers mostly send."""
    return (
        data.startswith(b"data: ")
        and data.endswith(b"\n\n")
        and data.count(b"\n") == 2  # noqa: PLR2004 - the two it ends with
        and _CR not in data
    )


def _data_of_line(line: bytes) -> bytes | None:
    return line[6:] if line.startswith(b"data: ") else data_of(line)
