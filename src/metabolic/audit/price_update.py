"""A fresh table of prices: fetched or read, looked over, and kept in place of the older one."""

__all__ = ["LITELLM", "Update", "kept_path", "update"]

import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from metabolic.audit.prices import Entry, PriceFile, decoded_prices, shipped_prices
from metabolic.core.errors import ConfigError

LITELLM = (
    "https://raw.githubusercontent.com/BerriAI/litellm/main/model_prices_and_context_window.json"
)
"""LiteLLM's table of the vendors' price pages (MIT), which most of this trade goes by."""

_MTOK = 1_000_000.0
_MOST_BYTES = 64 * 1024 * 1024
_TIMEOUT_S = 30.0
_LEAST_MODELS = 20
_LEAST_KNOWN = 5
_JUMP = 10.0
_MOST_JUMPS = 0.5
"""More than half of the known prices off by ten and more: other units, or another table."""
_DEAREST = 10_000.0
_MODES = frozenset({"chat", "completion", "responses", "embedding"})
_FIELDS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached": "cache_read_input_token_cost",
    "written": "cache_creation_input_token_cost",
}


class Update(Struct, frozen=True, kw_only=True):
    """What an update did: models kept, added and changed beside the table before, and skipped."""

    path: str
    source: str
    as_of: str
    models: int
    added: int
    changed: tuple[str, ...]
    skipped: int


def kept_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where an updated table is kept: below ``XDG_DATA_HOME``, or ``~/.local/share``."""
    home = environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "metabolic" / "prices.toml"


def update(source: str, *, to: Path, now_s: float) -> Update:
    """Read prices from a file or an address and keep them; the old table stays if they are bad.

    ``source`` is a table of ours (TOML) or LiteLLM's (JSON). Its date is its own, or today's.

    Raises:
        ConfigError: it cannot be read, is no table of prices, or looks like a broken one.
    """
    body = _read(source)
    today = f"{datetime.fromtimestamp(now_s, tz=UTC):%Y-%m-%d}"
    new, skipped = _table(body, source, today)
    old = shipped_prices() if not to.exists() else decoded_prices(to)
    before = {one.model.lower(): one for one in (*shipped_prices().price, *old.price)}
    changed = _changed(new, before)
    _look_over(new, before, source)
    _write(to, _toml(new))
    return Update(
        path=str(to),
        source=new.source,
        as_of=new.as_of,
        models=len(new.price),
        added=sum(one.model.lower() not in before for one in new.price),
        changed=changed,
        skipped=skipped,
    )


def _read(source: str) -> bytes:
    """Return the bytes of a file or of an address."""
    if "://" not in source:
        try:
            with Path(source).expanduser().open("rb") as file:
                return _short(file.read(_MOST_BYTES + 1), source)
        except OSError as exc:
            message = f"{source}: {exc.strerror or exc}"
            raise ConfigError(message) from exc
    address = urlsplit(source)
    here = address.hostname in {"127.0.0.1", "localhost", "::1"}
    if address.scheme != "https" and not (address.scheme == "http" and here):
        message = f"{source}: prices are fetched by https only"
        raise ConfigError(message)
    try:
        with urllib.request.urlopen(source, timeout=_TIMEOUT_S) as got:  # noqa: S310 - https
            return _short(got.read(_MOST_BYTES + 1), source)
    except (OSError, urllib.error.URLError, ValueError) as exc:
        message = f"{source}: {exc}; with a file: metabolic prices update --from FILE"
        raise ConfigError(message) from exc


def _short(body: bytes, source: str) -> bytes:
    if len(body) > _MOST_BYTES:
        message = f"{source}: over {_MOST_BYTES // 1024**2} MiB: no table of prices"
        raise ConfigError(message)
    return body


def _table(body: bytes, source: str, today: str) -> tuple[PriceFile, int]:
    """Return the table and how many entries of it have no price per token."""
    if body.lstrip()[:1] != b"{":
        try:
            return msgspec.toml.decode(body, type=PriceFile), 0
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as exc:
            message = f"{source}: no table of prices: {exc}"
            raise ConfigError(message) from exc
    try:
        found = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError as exc:
        message = f"{source}: no JSON: {exc}"
        raise ConfigError(message) from exc
    made = [_entry(name, row) for name, row in sorted(found.items())]
    kept = tuple(one for one in made if one is not None)
    return PriceFile(
        as_of=today, source=f"LiteLLM's table (MIT), {source.rsplit('/', 1)[-1]}", price=kept
    ), len(made) - len(kept)


def _entry(name: str, row: object) -> Entry | None:
    """Return LiteLLM's row as an entry; ``None`` where it asks no price per token."""
    if not isinstance(row, dict):
        return None
    fields = cast("dict[str, object]", row)
    if fields.get("mode") not in _MODES:
        return None
    found: dict[str, float | None] = {}
    for ours, theirs in _FIELDS.items():
        value = fields.get(theirs)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        found[ours] = round(float(value) * _MTOK, 9) if number else None  # type: ignore[arg-type]
    if found["input"] is None or found["output"] is None or not found["input"] + found["output"]:
        return None
    return Entry(
        model=name, input=found["input"], output=found["output"],
        cached=found["cached"] or None, written=found["written"] or None,
    )  # fmt: skip


def _look_over(new: PriceFile, before: Mapping[str, Entry], source: str) -> None:
    """Refuse a table that looks broken.

    Raises:
        ConfigError: saying why.
    """
    for one in new.price:
        asked = [one.input, one.output, one.cached or 0.0, one.written or 0.0]
        if any(not isfinite(value) or not 0 <= value <= _DEAREST for value in asked):
            message = f"{source}: {one.model}: a price outside 0 to {_DEAREST:,.0f} USD per million"
            raise ConfigError(message)
    known = [one for one in new.price if one.model.lower() in before]
    if len(new.price) < _LEAST_MODELS or len(known) < _LEAST_KNOWN:
        message = (
            f"{source}: {len(new.price)} models, {len(known)} of them known: too few for a whole "
            "table; for prices of your own use `metabolic audit --prices FILE`"
        )
        raise ConfigError(message)
    jumps = [one for one in known if _jump(one, before[one.model.lower()])]
    if len(jumps) > _MOST_JUMPS * len(known):
        message = (
            f"{source}: {len(jumps)} of {len(known)} known models changed tenfold and more, such "
            f"as {jumps[0].model}: other units?"
        )
        raise ConfigError(message)


def _jump(new: Entry, old: Entry) -> bool:
    """Say whether a price is ten times what it was, or a tenth."""
    a, b = new.input + new.output, old.input + old.output
    return min(a, b) <= 0 or max(a, b) >= _JUMP * min(a, b)


def _changed(new: PriceFile, before: Mapping[str, Entry]) -> tuple[str, ...]:
    """Return the models whose price is another one now, as ``name: old → new``."""
    made: list[str] = []
    for one in new.price:
        old = before.get(one.model.lower())
        if old is not None and (old.input, old.output) != (one.input, one.output):
            was, now = f"{old.input:g} / {old.output:g}", f"{one.input:g} / {one.output:g}"
            made.append(f"{one.model}: {was} → {now}")
    return tuple(made)


def _toml(table: PriceFile) -> bytes:
    """Return a table as TOML, an entry a line; a JSON string is one of TOML but for DEL."""

    def text(value: object) -> bytes:
        return msgspec.json.encode(value).replace(b"\x7f", b"\\u007f")

    lines = [b"as_of = " + text(table.as_of), b"source = " + text(table.source), b"price = ["]
    for one in table.price:
        fields = msgspec.structs.asdict(one).items()
        pairs = [f"{name} = ".encode() + text(value) for name, value in fields if value is not None]
        lines.append(b"    { " + b", ".join(pairs) + b" },")
    return b"\n".join([*lines, b"]", b""])


def _write(path: Path, body: bytes) -> None:
    """Replace a file as a whole or not at all.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".prices-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as exc:
        message = f"{path}: {exc.strerror or exc}"
        raise ConfigError(message) from exc
