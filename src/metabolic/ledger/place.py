"""Where a ledger lies when the configuration names no path."""

__all__ = ["ledger_path", "prepare_directory"]

import os
from pathlib import Path


def ledger_path(path: str | None, default_name: str) -> Path:
    """Return the path of a ledger; without one, ``default_name`` in the user's state directory.

    Source: XDG Base Directory Specification, ``XDG_STATE_HOME``: data that should outlive
    restarts but is not important enough to be carried elsewhere.
    """
    if path is not None:
        return Path(path).expanduser().absolute()
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser().absolute() / "metabolic" / default_name


def prepare_directory(path: Path) -> None:
    """Make the directory of a ledger, for this user only. Raises ``OSError``."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
