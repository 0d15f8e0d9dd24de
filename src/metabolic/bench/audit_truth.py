"""Logs drawn from a pool, and what is true of the pool: the saving at ε, by adding it all up."""

__all__ = ["Drawn", "draw", "price_file", "true_saving"]

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from metabolic.audit.prices import Entry
from metabolic.bench.audit_pools import Array, Pool, Served


class Drawn(Struct, frozen=True, kw_only=True):
    """How a log is drawn: sessions with replacement, each call labelled with a probability."""

    sessions: int
    labelled: float
    seed: int


def true_saving(pool: Pool, *, epsilon: float) -> float:
    """Return the share of the dollars that the cheapest adequate model per lane saves, net."""
    now = _usd(pool, pool.used)
    total = 0.0
    for lane in range(len(pool.lanes)):
        here = pool.moving == lane
        if not here.any():
            continue
        best = 0.0
        for other in pool.others:
            loss = float(np.mean((pool.used.score - other.score)[here]))
            if loss <= epsilon and _dearer(pool.used.entry, other.entry):
                best = max(best, float((now - _usd(pool, other))[here].sum()))
        total += best
    return total / float(now.sum())


def _dearer(used: Entry, other: Entry) -> bool:
    return used.input + used.output > other.input + other.output


def _usd(pool: Pool, served: Served) -> Array:
    """Return what each call costs with one model, its cache warm as it was."""
    fresh, kept, out = served.entry.rates
    return (pool.input - pool.cached) * fresh + pool.cached * kept + served.out * out


def draw(pool: Pool, how: Drawn, path: Path) -> int:
    """Write a log; return its rows."""
    rng = np.random.default_rng(how.seed)
    starts = np.flatnonzero(np.diff(pool.session, prepend=-1))
    ends = np.append(starts[1:], len(pool.session))
    drawn = rng.integers(len(starts), size=how.sessions)
    rows = 0
    with path.open("wb") as file:
        for number, one in enumerate(drawn):
            calls = range(int(starts[one]), int(ends[one]))
            for row in _rows(pool, calls, how, rng):
                row |= {"session": f"s{number}", "at_s": 1.7e9 + 600 * number + row.pop("turn")}
                file.write(msgspec.json.encode(row) + b"\n")
                rows += 1
    return rows


def _rows(
    pool: Pool, calls: range, how: Drawn, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Iterate over the rows of one session."""
    for turn, call in enumerate(calls):
        row: dict[str, Any] = {
            "turn": turn,
            "model": pool.used.entry.model,
            "lane": pool.lanes[pool.lane[call]],
            "input_tokens": int(pool.input[call]),
            "cached_tokens": int(pool.cached[call]),
            "output_tokens": int(pool.used.out[call]),
        }
        if how.labelled > 0 and rng.random() < how.labelled:
            other = pool.others[rng.integers(len(pool.others))]
            row |= {
                "quality": float(pool.used.score[call]),
                "shadow_model": other.entry.model,
                "shadow_quality": float(other.score[call]),
                "shadow_output_tokens": int(other.out[call]),
                "propensity": how.labelled / len(pool.others),
            }
        yield row


def price_file(pool: Pool, path: Path) -> None:
    """Write the pool's prices as a table that goes before the one that comes along."""
    lines = ['as_of = "made"', 'source = "the benchmark\'s own"']
    for served in (pool.used, *pool.others):
        lines.append("[[price]]")
        for name, value in msgspec.structs.asdict(served.entry).items():
            if value is not None:
                lines.append(f"{name} = {msgspec.json.encode(value).decode()}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
