"""What models ask per token, from dated tables; and who they are, whatever the log calls them."""

__all__ = ["Entry", "PriceTable", "read_prices"]

import re
from importlib.resources import files
from pathlib import Path

import msgspec
from msgspec import Struct

from metabolic.account.money import tokens_usd
from metabolic.core.errors import ConfigError
from metabolic.core.fleet import Model, Price

_MTOK = 1_000_000.0
_LARGE, _MEDIUM = 5.0, 1.0
"""From which price of output (USD per million) a model of unknown size counts as such."""

_DATED = re.compile(r"([-@:](\d{4}-?\d{2}-?\d{2}|\d{4}|latest|preview|turbo|fp8|awq|hf|it))+$")


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model's prices (USD per million tokens); ``cached`` of input read from its cache.

    ``parameters``: active ones, where published. ``cheaper``: who is tried instead.
    """

    model: str
    input: float
    output: float
    cached: float | None = None
    written: float | None = None
    parameters: int | None = None
    cheaper: str | None = None

    @property
    def price(self) -> Price:
        """The price per token."""
        return Price(
            input_usd_per_token=self.input / _MTOK,
            output_usd_per_token=self.output / _MTOK,
            cached_usd_per_token=None if self.cached is None else self.cached / _MTOK,
            cache_write_usd_per_token=None if self.written is None else self.written / _MTOK,
        )

    @property
    def sized(self) -> Model:
        """The model by what is published of its size; by its price a tier, where nothing is."""
        if self.parameters is not None:
            return Model(id=self.model, tier="large", active_parameters=self.parameters)
        tier = "large" if self.output >= _LARGE else "medium" if self.output >= _MEDIUM else "small"
        return Model(id=self.model, tier=tier)

    @property
    def rates(self) -> tuple[float, float, float]:
        """USD for one fresh and one cached token of a prompt, and one of an answer."""
        return (
            self.usd(fresh=1, cached=0, output=0),
            self.usd(fresh=0, cached=1, output=0),
            self.usd(fresh=0, cached=0, output=1),
        )

    def usd(self, *, fresh: float, cached: float, output: float) -> float:
        """Return what so many tokens cost; linear, so sums will do."""
        price = self.price
        one = tokens_usd(price, input_tokens=1, output_tokens=0)
        kept = tokens_usd(price, input_tokens=1, output_tokens=0, cached_tokens=1)
        return fresh * one + cached * kept + output * price.output_usd_per_token


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of prices."""

    as_of: str
    source: str = ""
    price: tuple[Entry, ...] = ()


class PriceTable:
    """Entries by name; later tables go before earlier ones."""

    def __init__(self, tables: tuple[_File, ...]) -> None:
        """Merge tables, the last one first in line."""
        self.as_of = ", ".join(f"{one.as_of} ({one.source or 'own'})" for one in tables)
        self._entries = {one.model.lower(): one for table in tables for one in table.price}

    def find(self, model: str) -> Entry | None:
        """Return the entry of a model as a log names it; ``None`` when it is not known.

        A vendor's prefix, a date or ``-latest`` may be missing or too many.
        """
        for name in _names(model):
            if name in self._entries:
                return self._entries[name]
        return None

    def named(self) -> tuple[str, ...]:
        """Return the names of all models."""
        return tuple(sorted(self._entries))


def _names(model: str) -> list[str]:
    """Return what a model may be called in a table, most exact first."""
    name = model.lower().strip()
    last = name.rsplit("/", 1)[-1]
    if "." in last and last.split(".", 1)[0] in {"anthropic", "meta", "mistral", "us", "eu"}:
        last = last.split(".", 1)[1]
    bare = _DATED.sub("", last)
    return [name, last, f"{last}-latest", bare, f"{bare}-latest"]


def read_prices(path: Path | None = None) -> PriceTable:
    """Return the prices that come along, with those of a file before them.

    Raises:
        ConfigError: the file cannot be read, or says something else.
    """
    shipped = files("metabolic.audit").joinpath("prices.toml").read_bytes()
    tables = [msgspec.toml.decode(shipped, type=_File)]
    if path is not None:
        try:
            tables.append(msgspec.toml.decode(path.read_bytes(), type=_File))
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
            message = f"{path}: {exc}"
            raise ConfigError(message) from exc
    return PriceTable(tuple(tables))
