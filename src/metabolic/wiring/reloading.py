"""What of a configuration only a restart can change."""

__all__ = ["refuse_restarts"]

from collections.abc import Iterator

from metabolic.config import Config
from metabolic.core.errors import ConfigError

_FIXED = {
    "admin": "[admin]",
    "deployments": "[[deployment]]",
    "models": "[models]",
    "engines": "[engines]",
    "capacity": "[capacity]",
    "actuators": "[actuators]",
    "limiters": "[[actuator]]",
    "sense": "[sense]",
    "ledger": "[ledger]",
    "sensors": "[[sensor]]",
    "meters": "[[meter]]",
}
"""The field of ``Config``, and the table as the file has it."""


def refuse_restarts(old: Config, new: Config) -> None:
    """Refuse a configuration that cannot be taken over while running.

    Raises:
        ConfigError: naming the table.
    """
    for table in _changed(old, new):
        message = f"{table} cannot change while running: restart to change it"
        raise ConfigError(message)


def _changed(old: Config, new: Config) -> Iterator[str]:
    """Yield what differs and is fixed, as the file names it."""
    for field, table in _FIXED.items():
        if getattr(new, field) != getattr(old, field):
            yield table
    if (new.speculation.local, new.speculation.draft_model) != (
        old.speculation.local,
        old.speculation.draft_model,
    ):
        yield "[speculation] local or draft_model"
    if new.shadow.upstream != old.shadow.upstream:
        yield "[shadow] upstream"
    if (new.server.host, new.server.port) != (old.server.host, old.server.port):
        yield "[server] host or port"
