"""Takes secrets out of anything that leaves the process as text."""

__all__ = ["MASK", "Redactor", "secrets_of"]

import re
from collections.abc import Iterable

from metabolic.config import Config, Secret

MASK = "[redacted]"

_LOOKS_SECRET = re.compile(
    r"(\bbearer\s+)[^\s\"',;\\]+"
    r"|\b(?:sk|pk|rk|gsk|xai|hf|ghp)[-_][a-z0-9_\-]{8,}"
    r"|\bAIza[a-z0-9_\-]{20,}"
    r"|([?&](?:api[-_]?key|key|token|access_token)=)[^&\s\"']+"
    r"|(://)[^/\s:@]+:[^/\s@]+(?=@)",
    re.IGNORECASE,
)
"""Bearer tokens, the common providers' key prefixes, keys in queries and in URL user parts."""

_HINTS = (
    *("bearer", "aiza", "key=", "token=", "@"),
    *(f"{prefix}{dash}" for prefix in ("sk", "pk", "rk", "xai", "hf", "ghp") for dash in "-_"),
)
"""What the pattern matches holds one of these in lower case; most lines hold none."""

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
        lower = text.lower()
        for hint in _HINTS:
            if hint in lower:
                return _LOOKS_SECRET.sub(_mask, text)
        return text


def secrets_of(config: Config) -> tuple[str, ...]:
    """Return every secret value the configuration resolved."""
    found = [item.api_key for item in config.deployments]
    return tuple(secret.reveal() for secret in found if isinstance(secret, Secret))


def _mask(match: re.Match[str]) -> str:
    """Keep what introduces the secret, so that the line still reads."""
    return (match[1] or match[2] or match[3] or "") + MASK
