"""Labelled rows of a file; ``calibrate.labels`` joins them with the ledger's records.

A row needs a score of the draft and what the labeller thinks of it against the reference's answer:
either ``preference`` (``draft``, ``reference``, ``tie``, or a number from -1 to 1: the loss) or
``correct_small`` and ``correct_large`` (true, false, or a share). ``score`` may be empty: such a
draft is never kept. ``logprobs`` (the draft's token log-probabilities) or ``first_8``,
``first_16``, ``first_32``, ``first_64`` (the means of its first tokens) are for checkpoints.
Columns Metabolic does not know are left alone.
"""

__all__ = ["Labelled", "labelled", "loss_of", "number_of", "propensity_of", "read", "thin"]

import csv
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from metabolic.core.errors import ConfigError
from metabolic.decide.tokens import FIRST, firsts_of

_LOSSES = {
    "draft": -1.0,
    "kept": -1.0,
    "small": -1.0,
    "reference": 1.0,
    "large": 1.0,
    "tie": 0.0,
    "both": 0.0,
    "neither": 0.0,
}
_WORDS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}


class Labelled(Struct, frozen=True, kw_only=True):
    """One labelled row.

    ``loss`` is in [-1, 1], 1 where the reference is preferred. ``propensity`` is the probability
    with which this row was chosen to be labelled; ``deployment`` and ``reference`` are ``None``
    where the file does not say. ``firsts`` are the means of the draft's first tokens, as in
    ``LogprobSummary.first``. ``bounded``: only one of the answers was labelled, and ``loss`` is the
    most that keeping the draft can have lost.
    """

    lane: str
    confidence: float | None
    loss: float
    propensity: float = 1.0
    deployment: str | None = None
    reference: str | None = None
    firsts: tuple[float, ...] = ()
    bounded: bool = False


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSON-lines, CSV or Parquet file.

    Raises:
        ConfigError: it cannot be read, or is of another kind.
    """
    try:
        match path.suffix.lower():
            case ".jsonl" | ".ndjson":
                lines = path.read_text(encoding="utf-8").splitlines()
                return [msgspec.json.decode(line) for line in lines if line.strip()]
            case ".csv":
                with path.open(encoding="utf-8", newline="") as file:
                    return list(csv.DictReader(file))
            case ".parquet":
                return _parquet(path)
            case kind:
                message = f'{path}: "{kind}" is not read: give .jsonl, .csv or .parquet'
                raise ConfigError(message)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError, csv.Error) as exc:
        message = f"{path}: cannot be read: {exc}"
        raise ConfigError(message) from exc


def _parquet(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file. Raises ``ConfigError`` without the extra ``bench``."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - only for this kind of file
        import pyarrow.parquet as pq  # noqa: PLC0415 - as above
    except ImportError as exc:
        message = f'{path}: Parquet needs the extra "bench": pip install "metabolic[bench]"'
        raise ConfigError(message) from exc
    arrow, parquet = cast("Any", pa), cast("Any", pq)
    try:
        return parquet.read_table(path).to_pylist()
    except arrow.ArrowException as exc:
        message = f"{path}: cannot be read: {exc}"
        raise ConfigError(message) from exc


def labelled(
    rows: Iterable[Mapping[str, Any]], *, source: str, labeller: str | None = None
) -> list[Labelled]:
    """Return rows of a file as labelled rows; a row without a lane is of lane ``*``.

    Rows that say ``by`` whom they were labelled count only if that is ``labeller``.

    Raises:
        ConfigError: a row has no label, or a figure that is out of range.
    """
    made: list[Labelled] = []
    for number, row in enumerate(rows, start=1):
        if labeller is not None and row.get("by", labeller) != labeller:
            continue
        where = f"{source}: row {number}"
        made.append(
            Labelled(
                lane=str(row.get("lane") or "*"),
                confidence=number_of(row.get("score"), f"{where}: score"),
                loss=loss_of(row, where),
                propensity=propensity_of(row, where),
                deployment=row.get("deployment") or None,
                reference=row.get("reference") or None,
                firsts=_firsts(row, where),
            )
        )
    return made


def _firsts(row: Mapping[str, Any], where: str) -> tuple[float, ...]:
    """Return the means of the draft's first tokens, as far as the row has them."""
    logprobs = row.get("logprobs")
    if isinstance(logprobs, Sequence) and not isinstance(logprobs, str):
        known = [number_of(one, f"{where}: logprobs") for one in cast("Sequence[object]", logprobs)]
        return firsts_of([one for one in known if one is not None])
    made: list[float] = []
    for count in FIRST:
        mean = number_of(row.get(f"first_{count}"), f"{where}: first_{count}")
        if mean is None:
            break
        made.append(mean)
    return tuple(made)


def loss_of(row: Mapping[str, Any], where: str) -> float:
    """Return a row's loss: 1 where the labeller prefers the reference, -1 where the draft.

    Raises:
        ConfigError: there is no label, or none that is understood.

    >>> loss_of({"correct_small": 0, "correct_large": 1}, "row 1")
    1.0
    >>> loss_of({"preference": "draft"}, "row 1")
    -1.0
    """
    preference = row.get("preference")
    if preference not in {None, ""}:
        known = _LOSSES.get(str(preference).strip().lower())
        loss = known if known is not None else number_of(preference, f"{where}: preference")
    else:
        small = number_of(row.get("correct_small"), f"{where}: correct_small")
        large = number_of(row.get("correct_large"), f"{where}: correct_large")
        loss = None if small is None or large is None else large - small
    if loss is None:
        message = f"{where}: no label: give preference, or correct_small and correct_large"
        raise ConfigError(message)
    if not -1.0 <= loss <= 1.0:
        message = f"{where}: the label is out of range: {loss}"
        raise ConfigError(message)
    return loss


def number_of(value: object, where: str) -> float | None:
    """Return a number; ``None`` for nothing. Raises ``ConfigError`` for anything else."""
    if value is None or value == "":
        return None
    if isinstance(value, bool | int | float):
        return float(value)
    text = str(value).strip().lower()
    if text in _WORDS:
        return _WORDS[text]
    try:
        return float(text)
    except ValueError as exc:
        message = f'{where}: "{value}" is no number'
        raise ConfigError(message) from exc


def propensity_of(row: Mapping[str, Any], where: str) -> float:
    """Return the probability that the row was labelled; 1 where it is not said."""
    value = number_of(row.get("propensity"), f"{where}: propensity")
    if value is None:
        return 1.0
    if not 0.0 < value <= 1.0:
        message = f"{where}: propensity must be above 0 and at most 1"
        raise ConfigError(message)
    return value


def thin(rows: Iterable[Labelled], *, seed: int) -> list[Labelled]:
    """Return the rows in random order, thinned to equal propensity.

    A row labelled with probability ``p`` stays with probability ``lowest / p``: what stays is a
    uniform sample, as the test needs. Rows labelled more often are not worth more.
    """
    lot = random.Random(seed)
    known = list(rows)
    lowest = min((one.propensity for one in known), default=1.0)
    kept = [one for one in known if lot.random() * one.propensity < lowest]
    lot.shuffle(kept)
    return kept
