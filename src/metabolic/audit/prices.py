"""What models ask per token, from dated tables; and who they are, whatever the log calls them."""

__all__ = [
    "Entry",
    "PriceFile",
    "PriceTable",
    "decoded_prices",
    "read_prices",
    "shipped_prices",
]

import re
from importlib.resources import files
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

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


class PriceFile(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A file of prices: its date, where they are from, and the entries."""

    as_of: str
    source: str = ""
    price: tuple[Entry, ...] = ()


class PriceTable:
    """Entries by name; later tables go before earlier ones."""

    def __init__(self, tables: tuple[PriceFile, ...]) -> None:
        """Merge tables, the last one first in line."""
        self.as_of = ", ".join(f"{one.as_of} ({one.source or 'own'})" for one in tables)
        self._entries: dict[str, Entry] = {}
        for one in (one for table in tables for one in table.price):
            name = one.model.lower()
            self._entries[name] = _with(one, self._entries.get(name))

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


def _with(new: Entry, old: Entry | None) -> Entry:
    """Return an entry with what only an older one knew of its model, its prices apart."""
    if old is None:
        return new
    return replace(
        new,
        parameters=old.parameters if new.parameters is None else new.parameters,
        cheaper=old.cheaper if new.cheaper is None else new.cheaper,
    )


def _names(model: str) -> list[str]:
    """Return what a model may be called in a table, most exact first."""
    name = model.lower().strip()
    last = name.rsplit("/", 1)[-1]
    if "." in last and last.split(".", 1)[0] in {"anthropic", "meta", "mistral", "us", "eu"}:
        last = last.split(".", 1)[1]
    bare = _DATED.sub("", last)
    return [name, last, f"{last}-latest", bare, f"{bare}-latest"]


def shipped_prices() -> PriceFile:
    """Return the table that comes along."""
    shipped = files("metabolic.audit").joinpath("prices.toml").read_bytes()
    return msgspec.toml.decode(shipped, type=PriceFile)


def decoded_prices(path: Path) -> PriceFile:
    """Return the table in a file.

    Raises:
        ConfigError: it cannot be read, or says something else.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=PriceFile)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, ValueError) as exc:
        message = f"{path}: {exc}"
        raise ConfigError(message) from exc


def read_prices(path: Path | None = None, *, kept: Path | None = None) -> PriceTable:
    """Return the prices that come along; before them those that were fetched, then a file's.

    ``kept`` is where an update leaves its table (``None``, or no file: there was none).

    Raises:
        ConfigError: a file cannot be read, or says something else.
    """
    tables = [shipped_prices()]
    if kept is not None and kept.exists():
        tables.append(decoded_prices(kept))
    if path is not None:
        tables.append(decoded_prices(path))
    return PriceTable(tuple(tables))
