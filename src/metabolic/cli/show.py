"""How commands print: JSON for programs, rich tables for people."""

__all__ = ["console", "figure", "print_json", "table"]

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_json(value: object) -> None:
    """Print ``value`` as indented JSON on standard output."""
    text = msgspec.json.format(msgspec.json.encode(value, enc_hook=repr), indent=2)
    sys.stdout.write(text.decode() + "\n")


def console() -> "Console":
    """Return a console on standard output that never cuts a table into a pipe."""
    from rich.console import Console  # noqa: PLC0415 - `--json` never needs it

    return Console(width=None if sys.stdout.isatty() else 120, highlight=False, soft_wrap=False)


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> "Table":
    """Return a plain table; a column whose head begins with ``>`` is aligned to the right."""
    from rich import box  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    heads = tuple(columns)
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    made.show_header = any(heads)
    for column in heads:
        made.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


def figure(value: float | None, *, digits: int = 3) -> str:
    """Return a number with so many significant digits; unknown is a dash.

    >>> figure(0.00012345), figure(1234.5), figure(None)
    ('0.000123', '1234', '–')
    """
    if value is None:
        return "–"
    if value != 0 and abs(value) < 1e-4:  # noqa: PLR2004 - below it the zeros hide the number
        return f"{value:.{digits - 1}e}"
    if abs(value) >= 10**digits:
        return f"{value:.0f}"
    return f"{value:.{digits}g}"
