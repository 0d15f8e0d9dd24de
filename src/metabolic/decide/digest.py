"""Names for values: the digest of what a value says, the same on every machine."""

__all__ = ["digest", "sealed"]

from hashlib import blake2b
from typing import TypeVar

import msgspec

from metabolic.core.decision import Policy
from metabolic.core.fleet import FleetSpec

_Sealable = TypeVar("_Sealable", FleetSpec, Policy)
_encode = msgspec.json.Encoder(order="deterministic").encode


def digest(value: object) -> str:
    """Return the BLAKE2b-128 digest, in hex, of a value's canonical JSON."""
    return blake2b(_encode(value), digest_size=16).hexdigest()


def sealed(value: _Sealable) -> _Sealable:
    """Return ``value`` with ``id`` set to the digest of all the rest."""
    return msgspec.structs.replace(value, id=digest(msgspec.structs.replace(value, id="")))
