"""Takes secrets out of anything that leaves the process as text."""

__all__ = ["MASK", "Redactor", "RedactingFormatter", "secrets_of"]

import logging
import re
from collections.abc import Iterable

from metabolic.config import Config, Secret

MASK = "[redacted]"

_LOOKS_SECRET = re.compile(
    r"(?i)(\bbearer\s+)[^\s\"',;\\]+"
    r"|\b(?:sk|pk|rk|gsk|xai|hf|AIza|ghp|key)[-_][A-Za-z0-9_\-]{8,}"
    r"|([?&](?:api[-_]?key|key|token|access_token)=)[^&\s\"']+"
    r"|(://)[^/\s:@]+:[^/\s@]+(?=@)"
)
"""Bearer tokens, the common providers' key prefixes, keys in queries and in URL user parts."""

_MIN_CHARS = 4
"""Shorter secrets are not searched for: they would blank out ordinary words."""


class Redactor:
    """Replaces known secrets, and what looks like one, by ``[redacted]``."""

    __slots__ = ("_known",)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Keep the secrets to look for, longest first so that none is cut in two."""
        useful = {secret for secret in secrets if len(secret) >= _MIN_CHARS}
        self._known = tuple(sorted(useful, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        """Return ``text`` without secrets."""
        for secret in self._known:
            if secret in text:
                text = text.replace(secret, MASK)
        return _LOOKS_SECRET.sub(_mask, text)


class RedactingFormatter(logging.Formatter):
    """Writes a record as one line of ``key=value``; nothing secret passes, tracebacks included.

    Fields given as ``extra`` follow the message, in the order in which they were given.
    """

    def __init__(self, redact: Redactor) -> None:
        """Keep what redacts; times are UTC."""
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self.redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return the line (a traceback follows on lines of its own)."""
        extra = [f"{k}={v}" for k, v in record.__dict__.items() if k not in _STANDARD]
        line = super().format(record)
        if extra:
            head, newline, rest = line.partition("\n")
            line = f"{head} {' '.join(extra)}{newline}{rest}"
        return self.redact(line)


def secrets_of(config: Config) -> tuple[str, ...]:
    """Return every secret value the configuration resolved."""
    found = [item.api_key for item in config.deployments]
    return tuple(secret.reveal() for secret in found if isinstance(secret, Secret))


def _mask(match: re.Match[str]) -> str:
    """Keep what introduces the secret, so that the line still reads."""
    return (match[1] or match[2] or match[3] or "") + MASK


_STANDARD = frozenset(
    {*logging.LogRecord("", 0, "", 0, "", (), None).__dict__, "message", "asctime", "color_message"}
)
"""What every record has; anything else came in through ``extra``."""
