"""What a configuration says to its ledger."""

__all__ = ["ledger_table"]

from metabolic import plugins
from metabolic.config import Config


def ledger_table(config: Config) -> dict[str, object]:
    """Return the options of the configured ledger."""
    known = plugins.load("ledgers", config.ledger.kind).Options.__struct_fields__
    table = {name: getattr(config.ledger, name) for name in ("path", "retention_days", "queue")}
    plain = {name: value for name, value in table.items() if name in known and value is not None}
    return plain | dict(config.ledger.options)
