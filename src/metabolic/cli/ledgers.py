"""How commands find the ledger, and read times from the command line."""

__all__ = ["moment", "open_ledger"]

import re
from datetime import UTC, datetime
from pathlib import Path

from metabolic import plugins
from metabolic.config import Config
from metabolic.core.errors import ConfigError
from metabolic.core.ports import Ledger

_AGO = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def open_ledger(path: Path | None, config: Config) -> Ledger:
    """Return a ledger to read: the file at ``path``, else the configured one.

    Raises:
        ConfigError: the configured ledger keeps nothing on disk.
    """
    if path is not None:
        kind = "jsonl" if path.suffix == ".jsonl" else "sqlite"
        return plugins.ledger(kind, {"path": str(path), "read_only": True})
    table = config.ledger
    if table.kind == "memory":
        message = 'ledger.kind is "memory": nothing is left to read once the gateway has stopped'
        raise ConfigError(message)
    options: dict[str, object] = {} if table.path is None else {"path": table.path}
    if table.kind in plugins.BUILTIN["ledgers"]:
        options["read_only"] = True
    return plugins.ledger(table.kind, options)


def moment(text: str | None, *, now_s: float) -> float | None:
    """Return seconds since the epoch for a time as people write it; ``None`` for none.

    Taken are how long ago (``90s``, ``30m``, ``2h``, ``7d``, ``1w``), an ISO 8601 date or time
    (UTC unless it says otherwise), and seconds since the epoch.

    Raises:
        ConfigError: it is none of these.

    >>> moment("2h", now_s=10_000.0), moment("1970-01-02", now_s=0.0), moment("12.5", now_s=0.0)
    (2800.0, 86400.0, 12.5)
    """
    if text is None:
        return None
    if ago := _AGO.fullmatch(text):
        return now_s - float(ago[1]) * _SECONDS[ago[2]]
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as exc:
        message = f'"{text}" is no time: write 2h, 7d, 2026-11-22 or 2026-11-22T20:00'
        raise ConfigError(message) from exc
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return found.timestamp()
