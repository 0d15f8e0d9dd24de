"""Passing a request on as it is: the seam between the gateway and an upstream's HTTP."""

__all__ = ["Passage", "Relay"]

from typing import Protocol

Lines = tuple[tuple[bytes, bytes], ...]
"""Header names in lower case, and values, in order."""


class Passage(Protocol):
    """A response whose status and headers are known and whose body is coming."""

    status: int
    headers: Lines

    async def read(self) -> bytes:
        """Return the next bytes of the body, ``b""`` at its proper end.

        Raises ``BackendError`` when it breaks off.
        """
        ...

    def close(self) -> None:
        """Close the connection at once, unless the response is whole."""
        ...


class Relay(Protocol):
    """Sends requests to one upstream as they are. Raises ``BackendError`` only.

    Cancelling closes the upstream connection.
    """

    async def send(
        self, method: str, path: str, headers: tuple[tuple[str, str], ...], body: bytes
    ) -> Passage:
        """Send, and return when the head of the response is known.

        ``path`` begins with ``/v1``, which stands for the base URL's own prefix; ``headers`` hold
        nothing that belongs to a single hop, each name once and in lower case.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...
