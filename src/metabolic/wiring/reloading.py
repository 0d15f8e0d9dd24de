"""What of a configuration only a restart can change."""

__all__ = ["refuse_restarts"]

from metabolic.config import Config
from metabolic.core.errors import ConfigError

_FIXED = (
    "admin",
    "deployments",
    "models",
    "engines",
    "capacity",
    "actuators",
    "limiters",
    "sense",
    "ledger",
    "sensors",
    "meters",
)


def refuse_restarts(old: Config, new: Config) -> None:
    """Refuse a configuration that cannot be taken over while running.

    Raises:
        ConfigError: naming the table.
    """
    for table in _FIXED:
        if getattr(new, table) != getattr(old, table):
            message = f"{table} cannot change while running: restart to change it"
            raise ConfigError(message)
    if (new.speculation.local, new.speculation.draft_model) != (
        old.speculation.local,
        old.speculation.draft_model,
    ):
        message = "speculation local cannot change while running: restart to change it"
        raise ConfigError(message)
    if new.shadow.upstream != old.shadow.upstream:
        message = "shadow upstream cannot change while running: restart to change it"
        raise ConfigError(message)
    if (new.server.host, new.server.port) != (old.server.host, old.server.port):
        message = "server host and port cannot change while running: restart to change them"
        raise ConfigError(message)
