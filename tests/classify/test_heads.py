"""A file of heads, and the sums that read it."""

from pathlib import Path

import msgspec
import pytest

from metabolic.classify.features import look
from metabolic.classify.grams import BITS, EDGE_WORDS, SURFACE, buckets, surface
from metabolic.classify.heads import MAGIC, Column, Header, load
from metabolic.core.errors import ConfigError
from metabolic.core.request import Message, Request, Text

ZERO = 128
COLUMNS = ("size:small", "size:large", "deployment:mine")


def seen(text: str):
    turn = Message(role="user", content=(Text(text=text),))
    return look(Request(id="r", dialect="chat", model="auto", messages=(turn,)))


def header(**fields: object) -> Header:
    columns = tuple(
        Column(name=name, bias=0.5, unit=0.01, surface=(0.0,) * len(SURFACE), mean=0.5, rows=9)
        for name in COLUMNS
    )
    made = Header(
        version=1,
        bits=BITS,
        length_unit=1.0,
        centre=(0.0,) * len(SURFACE),
        spread=(1.0,) * len(SURFACE),
        novelty_mean=0.0,
        novelty_spread=1.0,
        columns=columns,
        edge_words=EDGE_WORDS,
    )
    return msgspec.structs.replace(made, **fields)


def written(path: Path, made: Header, special: dict[int, tuple[int, ...]]) -> Path:
    """Write tables in which every bucket is zero but for the special ones."""
    fields = 2 + len(made.columns)
    tables = [bytearray(8 << BITS) for _ in range(-(-fields // 4))]
    usual = (1, 1, *[ZERO] * len(made.columns))
    plain = usual + (0,) * (-fields % 4)
    for t, table in enumerate(tables):
        packed = sum(plain[4 * t + i] << 16 * i for i in range(4))
        table[:] = packed.to_bytes(8, "little") * (1 << BITS)
    for bucket, values in special.items():
        for t, table in enumerate(tables):
            row = (*values, *(0,) * (-fields % 4))
            packed = sum(row[4 * t + i] << 16 * i for i in range(4))
            table[8 * bucket : 8 * bucket + 8] = packed.to_bytes(8, "little")
    encoded = msgspec.json.encode(made)
    start = MAGIC + len(encoded).to_bytes(4, "little") + encoded
    path.write_bytes(start + b" " * (-len(start) % 8) + b"".join(tables))
    return path


def test_each_head_adds_its_own_weights(tmp_path: Path) -> None:
    fish = min(buckets(["fish"]))
    file = written(tmp_path / "h", header(), {fish: (1, 1, ZERO + 10, ZERO - 20, ZERO + 1)})
    scores = load(file).score(seen("fish"))
    assert scores.values == pytest.approx((0.6, 0.3, 0.51))


def test_a_prompt_of_many_grams_never_runs_over_into_the_next_head(tmp_path: Path) -> None:
    words = [f"w{i}" for i in range(2 * EDGE_WORDS)]
    full: tuple[int, ...] = (255, 1, 255, 0, 255)
    most: dict[int, tuple[int, ...]] = {}
    most.update(dict.fromkeys(buckets(words), full))
    scores = load(written(tmp_path / "h", header(), most)).score(seen(" ".join(words)))
    assert scores.values == (0.99, 0.01, 0.99)
    assert scores.novelty == 0.0


def test_grams_unknown_to_the_training_are_novel(tmp_path: Path) -> None:
    fish = min(buckets(["fish"]))
    heads = load(written(tmp_path / "h", header(), {fish: (1, 0, ZERO, ZERO, ZERO)}))
    assert heads.score(seen("fish")).novelty == 1.0
    assert heads.score(seen("bird")).novelty == 0.0


def test_counts_are_standardised_and_weighed(tmp_path: Path) -> None:
    column = msgspec.structs.replace(
        header().columns[0], surface=(0.1, *(0.0,) * (len(SURFACE) - 1))
    )
    made = header(columns=(column,))
    prompt = seen("fish")
    scores = load(written(tmp_path / "h", made, {})).score(prompt)
    assert scores.values == pytest.approx((0.5 + 0.1 * min(3.0, surface(prompt)[0]),))


@pytest.mark.parametrize("content", [b"", b"nonsense", MAGIC + b"\x02\x00\x00\x00{}"])
def test_what_is_no_file_of_heads_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "h"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=str(path)):
        load(path)


def test_a_file_of_another_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="another version"):
        load(written(tmp_path / "h", header(bits=BITS + 1), {}))


def test_heads_that_read_more_of_a_prompt_are_refused(tmp_path: Path) -> None:
    """Their weights are for other sums."""
    with pytest.raises(ConfigError, match="another version"):
        load(written(tmp_path / "h", header(edge_words=2 * EDGE_WORDS), {}))


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "h", header(), {})
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ConfigError, match="expected"):
        load(path)
