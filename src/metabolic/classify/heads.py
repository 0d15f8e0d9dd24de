"""Learned heads: a small file of weights, mapped into memory, and the sums that read it.

Theory. A head is linear: ``p = bias + sum(w[g]) / |x| + sum(v[j] s[j])`` over the prompt's grams
``g`` and standardised surface counts ``s``, cut to [0.01, 0.99]. ``|x|`` is the length of the
prompt's vector of inverse document frequencies.

A bucket of the file holds, for four heads, four unsigned 16-bit fields in one 64-bit number, each
a weight in eight bits (128 is zero). Adding the numbers of a prompt's buckets adds all four heads
at once, and ``sum`` over ``itemgetter`` does it without leaving C: half of ``map``'s time. No field
can run over into the next, since a prompt has at most 128 grams.

The file: ``MAGIC``, the header's length (4 bytes, little end first), the header as JSON, blanks to
a multiple of eight, then one table of ``2**bits`` numbers for every four fields.
"""

__all__ = ["MAGIC", "SHIPPED", "Column", "Header", "Heads", "Scores", "load"]

import mmap
from operator import itemgetter, mul
from pathlib import Path

import msgspec
from msgspec import Struct

from metabolic.classify.features import Seen
from metabolic.classify.grams import BITS, EDGE_WORDS, SURFACE, buckets, surface
from metabolic.core.errors import ConfigError

MAGIC = b"MBHEADS1"
SHIPPED = Path(__file__).parent / "weights" / "heads.bin"
"""The weights that come along; their model card lies beside them."""

_FIELDS = 4
_FIELD = 0xFFFF
_ZERO = 128
_CLIP = 3.0
"""Standard deviations beyond which a count is not believed."""

_LOWEST, _HIGHEST = 0.01, 0.99
_PARTS = ("length", "seen")
"""The first two fields: squared length of a prompt's vector, and buckets known from training."""


class Column(Struct, frozen=True, kw_only=True):
    """One head: its name, bias, what a unit of its packed weights is, and its surface weights.

    ``mean`` is its average over the prompts it was trained on, ``rows`` how many those were. A
    name is ``size:tiny`` … ``size:large`` or ``deployment:NAME``.
    """

    name: str
    bias: float
    unit: float
    surface: tuple[float, ...]
    mean: float
    rows: int


class Header(Struct, frozen=True, kw_only=True):
    """What the numbers of a file mean, and what they were trained on.

    ``centre`` and ``spread`` standardise the surface counts; ``novelty_mean`` and
    ``novelty_spread`` are those of the share of unknown grams on prompts like the training's.
    ``edge_words`` is how many words were read at either end.
    """

    version: int
    bits: int
    length_unit: float
    centre: tuple[float, ...]
    spread: tuple[float, ...]
    novelty_mean: float
    novelty_spread: float
    columns: tuple[Column, ...]
    sets: tuple[str, ...] = ()
    seed: int = 0
    edge_words: int = 64


class Scores(Struct, frozen=True, gc=False):
    """What the heads say of a prompt: one probability a head, and how unlike the training it is.

    ``novelty`` is in standard deviations above a familiar prompt's.
    """

    values: tuple[float, ...]
    novelty: float


class Heads:
    """The heads of one file, ready to score prompts."""

    def __init__(self, header: Header, tables: tuple[memoryview, ...]) -> None:
        """Keep the header and the tables; one table for every four fields."""
        self.header = header
        self._tables = tables
        scale = tuple(zip(header.centre, header.spread, strict=True))
        self._bounds = tuple((c - _CLIP / s, c + _CLIP / s) for c, s in scale)
        self._columns = tuple(_unscaled(one, scale) for one in header.columns)

    def score(self, seen: Seen) -> Scores:
        """Return what every head says of a prompt."""
        found = buckets(seen.words)
        many = len(found)
        fields: list[int] = []
        for table in self._tables:
            packed = _sum(table, found, many)
            fields += (
                packed & _FIELD,
                packed >> 16 & _FIELD,
                packed >> 32 & _FIELD,
                packed >> 48,
            )
        header = self.header
        length = (fields[0] * header.length_unit) ** 0.5 or 1.0
        counts = [
            low if count < low else high if count > high else count  # noqa: FURB136 - five times faster
            for count, (low, high) in zip(surface(seen), self._bounds, strict=True)
        ]
        zero = _ZERO * many
        values: list[float] = []
        for field, (bias, unit, weights) in zip(fields[2:], self._columns, strict=False):
            value = bias + (field - zero) * unit / length + sum(map(mul, counts, weights))
            values.append(min(_HIGHEST, max(_LOWEST, value)))
        unknown = 1.0 - fields[1] / many if many else 1.0
        return Scores(tuple(values), (unknown - header.novelty_mean) / header.novelty_spread)


def _sum(table: memoryview, found: set[int], many: int) -> int:
    """Return the sum of some numbers of a table."""
    if many < 2:  # noqa: PLR2004 - of one index a getter makes no tuple
        return sum([table[one] for one in found])
    return sum(itemgetter(*found)(table))


def _unscaled(
    column: Column, scale: tuple[tuple[float, float], ...]
) -> tuple[float, float, tuple[float, ...]]:
    """Return bias, unit and weights of a head for counts as they are, not standardised."""
    weights = [one * spread for one, (_, spread) in zip(column.surface, scale, strict=True)]
    moved = sum(one * centre for one, (centre, _) in zip(weights, scale, strict=True))
    return column.bias - moved, column.unit, tuple(weights)


def load(path: Path) -> Heads:
    """Return the heads of a file, mapped into memory: nothing is read before it is needed.

    Raises:
        ConfigError: the file cannot be read, or is not one of these, or of another version.
    """
    try:
        with path.open("rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as exc:
        message = f"{path}: {exc}"
        raise ConfigError(message) from exc
    header, start = _header(path, mapped)
    made_for = header.bits, header.edge_words, len(header.centre)
    if made_for != (BITS, EDGE_WORDS, len(SURFACE)):
        message = f"{path}: made by another version; run `metabolic train` again"
        raise ConfigError(message)
    size = 8 << header.bits
    wanted = -(-(len(_PARTS) + len(header.columns)) // _FIELDS)
    if len(mapped) != start + wanted * size:
        message = f"{path}: {len(mapped)} bytes, {start + wanted * size} expected"
        raise ConfigError(message)
    tables = (mapped[start + i * size : start + (i + 1) * size].cast("Q") for i in range(wanted))
    return Heads(header, tuple(tables))


def _header(path: Path, mapped: memoryview) -> tuple[Header, int]:
    """Return a file's header and where its tables begin."""
    first = len(MAGIC) + 4
    if bytes(mapped[: len(MAGIC)]) != MAGIC:
        message = f"{path}: no file of heads"
        raise ConfigError(message)
    end = first + int.from_bytes(mapped[len(MAGIC) : first], "little")
    try:
        header = msgspec.json.decode(bytes(mapped[first:end]), type=Header)
    except msgspec.DecodeError as exc:
        message = f"{path}: {exc}"
        raise ConfigError(message) from exc
    return header, -(-end // 8) * 8
