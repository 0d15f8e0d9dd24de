"""A secret from the environment: usable, never shown."""

__all__ = ["Secret"]


class Secret:
    """The value of an environment variable, shown only as ``env:NAME``.

    Compares by value, so that a reload notices a rotated key.
    """

    __slots__ = ("_value", "name")

    def __init__(self, name: str, value: str) -> None:
        """Keep the variable's name and its value."""
        self.name = name
        self._value = value

    def reveal(self) -> str:
        """Return the value; only for building an ``Endpoint``."""
        return self._value

    def __repr__(self) -> str:
        """Show where it comes from and not what it is."""
        return f"env:{self.name}"

    def __eq__(self, other: object) -> bool:
        """Compare name and value."""
        return isinstance(other, Secret) and self.name == other.name and self._value == other._value

    def __hash__(self) -> int:
        """Hash name and value."""
        return hash((self.name, self._value))
