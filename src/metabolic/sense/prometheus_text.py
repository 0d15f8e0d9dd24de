"""The text that Prometheus exporters answer, as samples.

Only names, labels and values are read: help, types, timestamps and OpenMetrics exemplars are
passed over, and so is a line that is no sample, since one broken metric must not hide the others.
Source: the Prometheus text exposition format 0.0.4, and OpenMetrics 1.0.
"""

__all__ = ["Sample", "parse"]

from msgspec import Struct

_ESCAPED = {"n": "\n", "\\": "\\", '"': '"'}


class Sample(Struct, frozen=True, kw_only=True):
    """One sample; its value may be infinite or no number, as the format allows."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()
    value: float

    def label(self, name: str) -> str | None:
        """Return a label's value; ``None`` if the sample has no such label."""
        for key, value in self.labels:
            if key == name:
                return value
        return None


def parse(text: str) -> tuple[Sample, ...]:
    """Return every sample, in order.

    >>> parse('up{job="a"} 1')[0].value
    1.0
    """
    samples = (_sample(line.strip()) for line in text.split("\n"))
    return tuple(sample for sample in samples if sample is not None)


def _sample(line: str) -> Sample | None:
    """Return the sample of one line; ``None`` for a comment or what is no sample."""
    if not line or line[0] == "#":
        return None
    at = _name_end(line)
    name, rest = line[:at], line[at:].lstrip()
    labels: tuple[tuple[str, str], ...] | None = ()
    if rest.startswith("{"):
        labels, rest = _labels(rest)
    value = _value(rest)
    if not name or labels is None or value is None:
        return None
    return Sample(name=name, labels=labels, value=value)


def _name_end(line: str) -> int:
    """Return where the metric's name ends: at a brace or a blank."""
    for index, char in enumerate(line):
        if char == "{" or char.isspace():
            return index
    return len(line)


def _value(rest: str) -> float | None:
    """Return the first word as a number; Python reads ``NaN`` and ``+Inf`` as the format does."""
    words = rest.split(None, 1)
    try:
        return float(words[0]) if words and "_" not in words[0] else None
    except ValueError:
        return None


def _labels(rest: str) -> tuple[tuple[tuple[str, str], ...] | None, str]:
    """Return the labels of ``{…}`` and what follows; ``None`` if they are broken."""
    found: list[tuple[str, str]] = []
    at = 1
    while True:
        while at < len(rest) and rest[at] in " \t,":
            at += 1
        if at < len(rest) and rest[at] == "}":
            return tuple(found), rest[at + 1 :]
        equals = rest.find("=", at)
        quote = equals + 1 + len(rest[equals + 1 :]) - len(rest[equals + 1 :].lstrip())
        if equals < 0 or rest[quote : quote + 1] != '"':
            return None, ""
        value, end = _quoted(rest, quote + 1)
        if value is None:
            return None, ""
        found.append((rest[at:equals].strip(), value))
        at = end


def _quoted(text: str, start: int) -> tuple[str | None, int]:
    """Return the string that begins at ``start`` and where it ends; ``None`` if it does not."""
    close = text.find('"', start)
    slash = text.find("\\", start, close) if close >= 0 else -1
    if slash < 0:
        return (text[start:close], close + 1) if close >= 0 else (None, start)
    parts: list[str] = []
    at = start
    while at < len(text) and text[at] != '"':
        if text[at] == "\\":
            at += 1
            following = text[at : at + 1]
            parts.append(_ESCAPED.get(following, "\\" + following))
        else:
            parts.append(text[at])
        at += 1
    return ("".join(parts), at + 1) if at < len(text) else (None, start)
