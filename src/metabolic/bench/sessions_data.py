"""Conversations to replay: rebuilt from traces of prompt blocks, or made up; and cache prices."""

__all__ = ["RATIOS", "Session", "Turn", "ratios_in", "sessions_in", "synthetic"]

import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from msgspec import Struct

from metabolic.bench.report import quantile

RATIOS = (0.1, 0.25, 0.5)
"""Price of a cached token over that of a fresh one, where no price table is given.

Source: what APIs ask: 0.1 (Anthropic), 0.25 and 0.5 (OpenAI's newer and older models).
"""

_BLOCK_TOKENS = 512
_TRACE_COLUMNS = {"trace", "t_s", "in_tokens", "out_tokens", "hash_ids"}
_PRICE_COLUMNS = {"input_usd_per_mtok", "cache_read_usd_per_mtok"}


class Turn(Struct, frozen=True, gc=False):
    """One request of a conversation: when, the whole prompt, the answer; easy enough for any?"""

    at_s: float
    input_tokens: int
    output_tokens: int
    easy: bool


class Session(Struct, frozen=True):
    """A conversation of two turns or more, and the set it is from."""

    name: str
    turns: tuple[Turn, ...]


def synthetic(count: int, *, seed: int) -> dict[str, list[Session]]:
    """Return made-up conversations: a prompt that grows by a question and an answer a turn.

    ``chats`` are like the conversations in Mooncake's trace: prompts of a few thousand tokens,
    answers of a few hundred, a handful of turns and now and then many. ``agents`` are the worst
    that routing by the turn can meet: long prompts, short turns, every other one hard.
    """
    lot = random.Random(seed)
    chats: list[Session] = []
    for number in range(count):
        share = lot.betavariate(2, 1)
        turns = 2 + min(30, int(lot.expovariate(0.25)))
        made = _grown(lot, context=7.5, output=5.3, turns=turns, easy=share)
        chats.append(Session(f"chats-{number}", made))
    agents = [
        Session(f"agents-{number}", _grown(lot, context=10.0, output=4.0, turns=12, easy=0.5))
        for number in range(max(1, count // 4))
    ]
    return {"chats": chats, "agents": agents}


def _grown(
    lot: random.Random, *, context: float, output: float, turns: int, easy: float
) -> tuple[Turn, ...]:
    """Return a conversation; lengths are medians' logarithms, ``easy`` a share of turns."""
    tokens, at_s = int(lot.lognormvariate(context, 0.8)), 0.0
    made: list[Turn] = []
    for _ in range(turns):
        answer = 1 + int(lot.lognormvariate(output, 0.8))
        made.append(Turn(at_s, tokens, answer, lot.random() < easy))
        tokens += answer + int(lot.lognormvariate(output, 1.0))
        at_s += lot.expovariate(1 / 60)
    return tuple(made)


def sessions_in(folder: Path, *, seed: int, most: int) -> dict[str, list[Session]]:
    """Return the conversations of each trace below a folder that has blocks and conversations.

    At most ``most`` of each trace, drawn at random. Which turns are easy no trace says: it is
    drawn, with a share of its own for each conversation.
    """
    found: dict[str, list[Session]] = {}
    for path in sorted(folder.rglob("*.parquet")):
        for row_set, rows in _traces(path).items():
            lot = random.Random(f"{seed}/{row_set}")
            chains = [one for one in _chained(rows) if len(one) > 1]
            lot.shuffle(chains)
            sessions = [
                _session(f"{row_set}-{number}", chain, lot)
                for number, chain in enumerate(chains[:most])
            ]
            if sessions:
                found[row_set] = sessions
    return found


def _traces(path: Path) -> dict[str, list[Mapping[str, Any]]]:
    """Return the rows with blocks of a Parquet file, by trace; empty for one of another kind."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in _rows(path, _TRACE_COLUMNS):
        if row["hash_ids"] and row["t_s"] is not None:
            rows.setdefault(str(row["trace"]), []).append(row)
    return rows


def _rows(path: Path, columns: set[str]) -> Iterable[Mapping[str, Any]]:
    """Return these columns of a Parquet file as rows; none when it does not have them all."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - an extra

    parquet = cast("Any", pq)
    if not columns <= set(parquet.read_schema(path).names):
        return ()
    return cast(
        "list[Mapping[str, Any]]", parquet.read_table(path, columns=sorted(columns)).to_pylist()
    )


def _chained(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Return requests that continue one another, in order of time.

    Block ids are chained hashes: who has the last whole block of an earlier prompt has all of it.
    A prompt continues the one whose whole blocks reach furthest into it.
    """
    chains: list[list[Mapping[str, Any]]] = []
    by_end: dict[int, int] = {}
    for row in sorted(rows, key=lambda one: one["t_s"]):
        blocks = row["hash_ids"][: row["in_tokens"] // _BLOCK_TOKENS]
        number = next((by_end[one] for one in reversed(blocks) if one in by_end), None)
        earlier = None if number is None else chains[number][-1]
        if number is None or earlier is None or earlier["in_tokens"] >= row["in_tokens"]:
            number = len(chains)
            chains.append([])
        chains[number].append(row)
        if len(blocks) > 1:  # the first block is a system prompt that many share
            by_end[blocks[-1]] = number
    return chains


def _session(name: str, chain: Sequence[Mapping[str, Any]], lot: random.Random) -> Session:
    """Return a chain of rows as a conversation."""
    share = lot.betavariate(2, 1)
    return Session(
        name,
        tuple(
            [
                Turn(
                    float(row["t_s"]),
                    int(row["in_tokens"]),
                    max(1, int(row["out_tokens"])),
                    lot.random() < share,
                )
                for row in chain
            ]
        ),
    )


def ratios_in(folder: Path) -> tuple[float, ...]:
    """Return the 10, 50 and 90 % quantiles of cached to fresh price; ``()`` without tables."""
    shares = [
        row["cache_read_usd_per_mtok"] / row["input_usd_per_mtok"]
        for path in sorted(folder.rglob("*.parquet"))
        for row in _rows(path, _PRICE_COLUMNS)
        if row["cache_read_usd_per_mtok"] and row["input_usd_per_mtok"]
    ]
    kept = sorted(share for share in shares if 0 < share <= 1)
    found = [quantile(kept, one) for one in (0.1, 0.5, 0.9)]
    return tuple(sorted({round(one, 3) for one in found if one is not None}))
