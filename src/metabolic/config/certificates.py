"""The file that certificates are kept in: JSON, each with the digest of what it says."""

__all__ = ["CertificateFile", "read_certificates", "write_certificates"]

from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.certificate import Certificate
from metabolic.core.errors import ConfigError
from metabolic.decide.digest import digest


class CertificateFile(Struct, frozen=True, kw_only=True):
    """All certificates of one calibration."""

    format: int = 1
    certificates: tuple[Certificate, ...] = ()


def read_certificates(path: Path) -> tuple[Certificate, ...]:
    """Return the certificates of a file.

    Raises:
        ConfigError: it cannot be read, or a certificate says something else than what was proved.
    """
    try:
        found = msgspec.json.decode(path.expanduser().read_bytes(), type=CertificateFile)
    except (OSError, msgspec.DecodeError) as exc:
        message = f"{path}: no certificates: {exc}"
        raise ConfigError(message) from exc
    for one in found.certificates:
        if one.id != digest(replace(one, id="")):
            message = f"{path}: the certificate of lane {one.lane} was changed after it was made"
            raise ConfigError(message)
    return found.certificates


def write_certificates(path: Path, certificates: Sequence[Certificate]) -> None:
    """Write certificates to a file.

    Raises:
        ConfigError: it cannot be written.
    """
    made = msgspec.json.encode(CertificateFile(certificates=tuple(certificates)))
    try:
        path.write_bytes(msgspec.json.format(made, indent=2) + b"\n")
    except OSError as exc:
        message = f"{path}: cannot be written: {exc}"
        raise ConfigError(message) from exc
