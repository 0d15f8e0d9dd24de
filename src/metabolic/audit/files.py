"""What kind of file a log is: packed or not, rows or a document, whose."""

__all__ = ["Kind", "kind_of", "opened"]

import bz2
import csv
import gzip
import lzma
from pathlib import Path
from typing import IO, Literal, cast

import msgspec
from msgspec import Struct

from metabolic.audit.formats import format_of
from metabolic.core.errors import ConfigError

_HEAD_BYTES = 1 << 20
_HEAD_ROWS = 20

Shape = Literal["jsonl", "csv", "parquet", "document", "spans", "access", "ledger", "sqlite"]


class Kind(Struct, frozen=True, kw_only=True):
    """How a file is read (``shape``), and which format its rows have (``""``: the shape says)."""

    shape: Shape
    format: str = ""


def opened(path: Path) -> IO[bytes]:
    """Open a file to read bytes, unpacked by what its first bytes say.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(6)
        if head[:2] == b"\x1f\x8b":
            return cast("IO[bytes]", gzip.open(path))
        if head[:3] == b"BZh":
            return cast("IO[bytes]", bz2.open(path))
        if head == b"\xfd7zXZ\x00":
            return cast("IO[bytes]", lzma.open(path))
        return path.open("rb")
    except OSError as exc:
        message = f"{path}: {exc.strerror or exc}"
        raise ConfigError(message) from exc


def kind_of(path: Path) -> Kind:
    """Return how to read a file, by its content.

    Raises:
        ConfigError: it cannot be read, is empty, or is nothing that is known.
    """
    try:
        with opened(path) as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, EOFError, lzma.LZMAError) as exc:
        message = f"{path}: {exc}"
        raise ConfigError(message) from exc
    if head.startswith(b"PAR1"):
        return Kind(shape="parquet")
    if head.startswith(b"SQLite format 3\x00"):
        return Kind(shape="sqlite")
    lines = [line for line in head.splitlines() if line.strip()][: _HEAD_ROWS + 1]
    if not lines:
        message = f"{path}: empty"
        raise ConfigError(message)
    if lines[0].lstrip()[:1] in {b"{", b"["}:
        return _json_kind(path, lines[:_HEAD_ROWS])
    return _text_kind(path, lines[:_HEAD_ROWS])


def _json_kind(path: Path, lines: list[bytes]) -> Kind:
    """Return the kind of a file that begins like JSON."""
    rows: list[dict[str, object]] = []
    for line in lines:
        try:
            found = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue
        if isinstance(found, dict):
            rows.append(cast("dict[str, object]", found))
    if not rows:
        envoy = lines[0].startswith(b"[") and b"HTTP/" in lines[0]
        return Kind(shape="access" if envoy else "document")
    if "resourceSpans" in rows[0]:
        return Kind(shape="spans", format="rows")
    if rows[0].get("type") in {"record", "settlement", "blob"}:
        return Kind(shape="ledger", format="rows")
    if rows[0].get("object") in {"page", "list", "bucket"} and "usage" not in rows[0]:
        return Kind(shape="document", format="openai-usage")
    made = format_of(rows)
    if made is None:
        message = f"{path}: JSON of no kind that is known; see docs/audit.md for the neutral format"
        raise ConfigError(message)
    return Kind(shape="jsonl", format=made.name)


def _text_kind(path: Path, lines: list[bytes]) -> Kind:
    """Return the kind of a file that is no JSON: CSV with a known head, or an access log."""
    text = [line.decode(errors="replace") for line in lines]
    names = next(csv.reader(text[:1]))
    if len(names) > 1:
        heads: list[dict[str, object]] = [dict.fromkeys(names, "x")]
        made = format_of(heads)
        if made is not None:
            return Kind(shape="csv", format=made.name)
    if any("HTTP/" in line or "Received request" in line for line in text):
        return Kind(shape="access")
    message = f"{path}: neither JSON, CSV with known columns, Parquet nor an access log"
    raise ConfigError(message)
