"""The text that Prometheus exporters answer, as samples.

Only names, labels and values are read: help, types, timestamps and OpenMetrics exemplars are
passed over, and so is a line that is no sample, since one broken metric must not hide the others.
Source: the Prometheus text exposition format 0.0.4, and OpenMetrics 1.0.
"""

__all__ = ["Sample", "parse"]

import re

from msgspec import Struct

_ESCAPED = {"n": "\n", "\\": "\\", '"': '"'}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_LABEL = re.compile(r'[\s,]*([^\s={},"]+)\s*=\s*"((?:[^"\\]|\\.)*)"', re.DOTALL)
_NAME = re.compile(r"[^\s{]+")
_END = re.compile(r"[\s,]*}")


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


def parse(text: str, *, prefix: str = "") -> tuple[Sample, ...]:
    """Return every sample whose name begins with ``prefix``, in order; of the rest nothing is read.

    >>> parse('up{job="a"} 1')[0].value
    1.0
    """
    lines = (line.strip() for line in text.split("\n"))
    samples = (_sample(line) for line in lines if line.startswith(prefix))
    return tuple(sample for sample in samples if sample is not None)


def _sample(line: str) -> Sample | None:
    """Return the sample of one line; ``None`` for a comment or what is no sample."""
    if not line or line[0] == "#":
        return None
    match = _NAME.match(line)
    if match is None:
        return None
    name, rest = match[0], line[match.end() :].lstrip()
    labels: tuple[tuple[str, str], ...] | None = ()
    if rest.startswith("{"):
        labels, rest = _labels(rest)
    value = _value(rest)
    if labels is None or value is None:
        return None
    return Sample(name=name, labels=labels, value=value)


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
    while (match := _LABEL.match(rest, at)) is not None:
        name, value = match[1], match[2]
        found.append((name, _ESCAPE.sub(_unescaped, value) if "\\" in value else value))
        at = match.end()
    end = _END.match(rest, at)
    return (None, "") if end is None else (tuple(found), rest[end.end() :])


def _unescaped(match: re.Match[str]) -> str:
    """Return what an escape stands for; an unknown one stands for itself."""
    return _ESCAPED.get(match[1], match[0])
