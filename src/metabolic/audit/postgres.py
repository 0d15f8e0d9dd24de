"""A LiteLLM proxy's spend logs straight from its PostgreSQL."""

__all__ = ["TABLE", "is_database", "shown", "table_lines"]

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from metabolic.core.errors import ConfigError

TABLE = "LiteLLM_SpendLogs"
"""The table LiteLLM writes to. Source: LiteLLM, ``schema.prisma``."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}(\.[A-Za-z_][A-Za-z0-9_$]{0,62})?")
_SCHEMES = ("postgresql://", "postgres://")
_ROWS = 5000


def is_database(log: str) -> bool:
    """Say whether a log is named by the address of a database."""
    return log.startswith(_SCHEMES)


def shown(address: str) -> str:
    """Return an address without user and password, for reports and errors.

    >>> shown("postgresql://me:secret@db.example:5432/litellm?table=x")
    'postgresql://db.example:5432/litellm'
    """
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def table_lines(address: str) -> Iterator[bytes]:
    """Iterate over the rows of the table as lines of JSON, in one read-only transaction.

    ``?table=NAME`` names another table than LiteLLM's own. Passwords may be left to ``PGPASSWORD``,
    ``~/.pgpass`` and whatever else the client library knows.

    Raises:
        ConfigError: the extra ``postgres`` is missing, or the database says no.
    """
    try:
        import psycopg  # noqa: PLC0415 - the extra `postgres`
        from psycopg import sql  # noqa: PLC0415 - as above
    except ImportError as exc:
        message = "reading a database needs the extra: pip install 'metabolic[postgres]'"
        raise ConfigError(message) from exc
    address, table = _split(address)
    try:
        with psycopg.connect(address, connect_timeout=10) as connection:
            connection.read_only = True
            with connection.cursor(name="metabolic_audit") as cursor:
                cursor.itersize = _ROWS
                named = sql.Identifier(*table.split("."))
                cursor.execute(sql.SQL("SELECT to_jsonb(t)::text FROM {} AS t").format(named))
                for row in cursor:
                    yield str(row[0]).encode()
    except (psycopg.Error, UnicodeError) as exc:
        message = f"{shown(address)}: {str(exc).strip().splitlines()[0]}"
        raise ConfigError(message) from exc


def _split(address: str) -> tuple[str, str]:
    """Return the address without ``table``, and the table.

    Raises:
        ConfigError: the table's name is none.
    """
    parts = urlsplit(address)
    query = dict(parse_qsl(parts.query))
    table = query.pop("table", TABLE)
    if not _NAME.fullmatch(table):
        message = f"{shown(address)}: {table[:64]!r} is no table's name"
        raise ConfigError(message)
    return urlunsplit(parts._replace(query=urlencode(query))), table
