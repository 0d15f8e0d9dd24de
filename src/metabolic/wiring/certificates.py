"""Certificates that the configuration names, and the name of the scorer they must be of."""

__all__ = ["certificates_of", "score_of"]

from pathlib import Path

from metabolic import plugins
from metabolic.config import AdapterTable, Config, Secret
from metabolic.config.certificates import read_certificates
from metabolic.core.certificate import Certificate
from metabolic.decide.digest import digest

_SHOWN = 8
"""Digits of the options' digest in a scorer's name."""


def certificates_of(config: Config) -> tuple[Certificate, ...]:
    """Return the certificates of every ``[[certificate]]``; a path is relative to the file's.

    Raises:
        ConfigError: a file cannot be read, or was changed by hand.
    """
    here = Path(config.source).expanduser().parent
    return tuple(
        certificate
        for table in config.certificates
        for certificate in read_certificates(here / Path(table.path).expanduser())
    )


def score_of(config: Config) -> str:
    """Return the name of the scorer: its validators, each with version and options.

    A validator whose scores change says so in its module's ``score_version()``; one that has
    none is of version 1.
    """
    return "+".join(_named(one) for one in config.routing.validators)


def _named(table: AdapterTable) -> str:
    """Return one validator as ``kind@version``, with a digest of its options if it has any."""
    version_of = getattr(plugins.load("validators", table.kind), "score_version", None)
    version = 1 if version_of is None else version_of()
    options = {key: value for key, value in table.options.items() if not isinstance(value, Secret)}
    suffix = f"[{digest(options)[:_SHOWN]}]" if options else ""
    return f"{table.kind}@{version}{suffix}"
