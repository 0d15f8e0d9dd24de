"""Small figures as SVG text: bars, and bars with an interval. No script, no font, no address."""

__all__ = ["bars", "columns", "intervals"]

from collections.abc import Sequence
from html import escape

_CHARS = 32
_WIDTH, _ROW, _LABEL, _VALUE = 720, 26, 220, 110
_HEIGHT = 156


def bars(rows: Sequence[tuple[str, float, str]], *, title: str) -> str:
    """Return horizontal bars: label, value (0 or more), and the value in words."""
    most = max((value for _, value, _ in rows), default=0.0) or 1.0
    room = _WIDTH - _LABEL - _VALUE
    parts: list[str] = []
    for number, (label, value, said) in enumerate(rows):
        y = number * _ROW
        width = max(1.0, room * value / most)
        parts += [
            f'<text x="0" y="{y + 17}">{escape(_short(label))}</text>',
            f'<rect class="bar" x="{_LABEL}" y="{y + 5}" width="{width:.1f}" height="16"/>',
            f'<text x="{_LABEL + width + 6:.1f}" y="{y + 17}">{escape(said)}</text>',
        ]
    return _figure(parts, len(rows), title)


def columns(rows: Sequence[tuple[str, float, str]], *, title: str) -> str:
    """Return columns side by side: label below, value (0 or more) as height, in words on hover."""
    most = max((value for _, value, _ in rows), default=0.0) or 1.0
    step, bottom = _WIDTH / max(1, len(rows)), _HEIGHT - _ROW
    top = max(range(len(rows)), key=lambda at: rows[at][1], default=0)
    parts: list[str] = []
    for number, (label, value, said) in enumerate(rows):
        height = max(1.0, (_HEIGHT - 2 * _ROW) * value / most)
        middle = (number + 0.5) * step
        parts += [
            f'<rect class="bar" x="{middle - step / 2 + 2:.1f}" y="{bottom - height:.1f}" ',
            f'width="{step - 4:.1f}" height="{height:.1f}"><title>{escape(said)}</title></rect>',
            f'<text x="{middle:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(label)}</text>',
        ]
        if number == top:
            y = bottom - height - 6
            parts.append(
                f'<text x="{middle:.1f}" y="{y:.1f}" text-anchor="middle">{escape(said)}</text>'
            )
    return _figure(parts, _HEIGHT / _ROW, title)


def intervals(rows: Sequence[tuple[str, float | None, float, float, str]], *, title: str) -> str:
    """Return ranges on one axis with 0 marked: label, value or ``None``, low, high, in words."""
    least = min([0.0, *(low for _, _, low, _, _ in rows)])
    most = max([0.0, *(high for _, _, _, high, _ in rows)])
    room = _WIDTH - _LABEL - _VALUE - 60
    scale = room / ((most - least) or 1.0)

    def at(value: float) -> float:
        return _LABEL + 8 + (value - least) * scale

    height = len(rows) * _ROW
    parts = [f'<line class="axis" x1="{at(0):.1f}" x2="{at(0):.1f}" y1="0" y2="{height}"/>']
    for number, (label, value, low, high, said) in enumerate(rows):
        y = number * _ROW + 13
        width = max(2.0, at(high) - at(low))
        parts += [
            f'<text x="0" y="{y + 4}">{escape(_short(label))}</text>',
            f'<rect class="range" x="{at(low):.1f}" y="{y - 5}" width="{width:.1f}" height="10"/>',
            f'<text x="{_WIDTH}" y="{y + 4}" text-anchor="end">{escape(said)}</text>',
        ]
        if value is not None:
            parts.append(f'<circle class="dot" cx="{at(value):.1f}" cy="{y}" r="5"/>')
    return _figure(parts, len(rows), title)


def _figure(parts: Sequence[str], rows: float, title: str) -> str:
    height = round(max(1, rows) * _ROW)
    body = "".join(parts)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{body}</svg>"
    )


def _short(label: str) -> str:
    return label if len(label) <= _CHARS else label[: _CHARS - 1] + "…"
