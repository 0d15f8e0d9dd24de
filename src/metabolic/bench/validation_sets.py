"""Labelled answers of a folder, by set; and numbers of supported texts made wrong."""

__all__ = ["Item", "corrupted", "labelled_sets"]

import importlib
import json
import random
import re
from pathlib import Path
from typing import Any

from msgspec import Struct

from metabolic.core.errors import ConfigError

_COLUMNS = ("dataset", "question", "context", "response", "hallucinated", "split_key", "extra")
_NUMBER = re.compile(r"(?<![\w.,])(\d[\d,]*)(?![\w,])")
_MIN_EACH = 5


class Item(Struct, frozen=True, kw_only=True):
    """One answer with its label: 1 is unsupported or false.

    ``group`` keeps answers on one document (or question) in one fold.
    """

    question: str
    context: str
    response: str
    bad: int
    group: str
    logprobs: tuple[float, ...] = ()


def labelled_sets(folder: Path, *, limit: int, seed: int) -> dict[str, list[Item]]:
    """Return up to ``limit`` items of each set found in the Parquet files of a folder.

    Sets with fewer than five items of either label are left out.

    Raises:
        ConfigError: nothing there has the columns, or the extra ``bench`` is missing.
    """
    try:
        pq: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as exc:
        message = 'validation: needs the extra "bench": pip install "metabolic[bench]"'
        raise ConfigError(message) from exc
    found: dict[str, list[Item]] = {}
    for path in sorted(folder.rglob("*.parquet")):
        names: set[str] = set(pq.read_schema(path).names)
        if not {"dataset", "response", "hallucinated"} <= names:
            continue
        columns = [name for name in _COLUMNS if name in names]
        rows: list[dict[str, Any]] = pq.read_table(path, columns=columns).to_pylist()
        for row in rows:
            if row["hallucinated"] is not None and row["response"]:
                found.setdefault(str(row["dataset"]), []).append(_item(row))
    if not found:
        message = f"validation: no Parquet file in {folder} has dataset, response, hallucinated"
        raise ConfigError(message)
    return {
        name: _sampled(items, limit, seed)
        for name, items in sorted(found.items())
        if _MIN_EACH <= sum(one.bad for one in items) <= len(items) - _MIN_EACH
    }


def _sampled(items: list[Item], limit: int, seed: int) -> list[Item]:
    """Return at most ``limit`` items, the same for the same seed."""
    return items if len(items) <= limit else random.Random(seed).sample(items, limit)


def _item(row: dict[str, Any]) -> Item:
    """Return a row of the common schema as an item."""
    context, question = str(row.get("context") or ""), str(row.get("question") or "")
    logprobs: tuple[float, ...] = ()
    extra = row.get("extra")
    if isinstance(extra, str) and "token_logprobs" in extra:
        found: Any = json.loads(extra)
        logprobs = tuple(float(one) for one in found["token_logprobs"] if one is not None)
    return Item(
        question=question,
        context=context,
        response=str(row["response"]),
        bad=int(row["hallucinated"]),
        group=context or question or str(row.get("split_key")),
        logprobs=logprobs,
    )


def corrupted(items: list[Item], *, seed: int) -> list[tuple[Item, Item]]:
    """Return supported items that state a number, each beside itself with one number made wrong.

    The wrong number is drawn anew for each seed: moved by 1 to 9 either way, doubled, or a digit
    changed; it may well stand elsewhere in the document.
    """
    lot = random.Random(seed)
    pairs: list[tuple[Item, Item]] = []
    for item in items:
        if item.bad or not item.context:
            continue
        found = list(_NUMBER.finditer(item.response))
        if not found:
            continue
        match = lot.choice(found)
        right = int(match[1].replace(",", ""))
        wrong = _other(right, lot)
        text = f"{item.response[: match.start(1)]}{wrong}{item.response[match.end(1) :]}"
        changed = Item(
            question=item.question, context=item.context, response=text, bad=1, group=item.group
        )
        pairs.append((item, changed))
    return pairs


def _other(right: int, lot: random.Random) -> int:
    """Return another number, plausible in its place."""
    how = lot.random()
    if how < 0.6:  # noqa: PLR2004 - shares of the three ways
        moved = right + lot.choice((-1, 1)) * lot.randint(1, 9)
        return moved if moved >= 0 and moved != right else right + lot.randint(1, 9)
    if how < 0.8 or right < 10:  # noqa: PLR2004 - as above
        return 2 * right + 1
    digits = list(str(right))
    at = lot.randrange(len(digits))
    digits[at] = lot.choice([one for one in "123456789" if one != digits[at]])
    return int("".join(digits))
