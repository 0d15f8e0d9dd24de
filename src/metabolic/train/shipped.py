"""The weights that ship: heads by size and a difficulty, from sets whose licence allows it.

A head by size is the mean outcome of all models of a tier on a question; it says nothing of one
model, but it is where a deployment nobody has labels for can start from. What all sizes find hard
is difficult: one minus their mean.
"""

__all__ = [
    "ALLOWED",
    "Training",
    "card",
    "digest",
    "save",
    "shipped_heads",
    "train",
    "trained_on",
    "write",
]

from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from metabolic.classify.grams import BITS, EDGE_WORDS, SURFACE
from metabolic.classify.heads import MAGIC, SHIPPED, Column, Header, Heads, load
from metabolic.core.errors import ConfigError
from metabolic.train.families import tier_of
from metabolic.train.matrix import Matrix, prompts_of
from metabolic.train.outcomes import Outcomes
from metabolic.train.ridge import LAMBDA, SURFACE_WEIGHT, Fitted, frame, solve, stack

ALLOWED: tuple[tuple[str, str], ...] = (
    (
        "routellm_",
        "RouteLLM evaluation outcomes, Apache-2.0 (MMLU, GSM8K: MIT)",
    ),
    ("zeroeval_", "ZeroEval results, Apache-2.0"),
    ("llmrouter_example", "LLMRouter example data, MIT"),
)
"""Beginning of a set's name → source and licence. No other set is trained on."""

_TIERS = ("tiny", "small", "medium", "large")
_MIN_ROWS = 100
_MIN_SHARE = 0.5
"""A head by size must have been seen on this share of all questions, or sizes do not compare."""

_BY_CATEGORY = frozenset({"llmrouter_example"})
"""Sets that are many tasks in one, each graded in its own way."""

_ZERO, _MOST = 128, 127
_FIELDS = 4


class Training(Struct, frozen=True, kw_only=True):
    """Everything that goes into a file of weights."""

    made: Fitted
    columns: tuple[str, ...]
    rows: tuple[int, ...]
    means: tuple[float, ...]
    sets: tuple[tuple[str, int, int], ...]
    keys: tuple[int, ...]
    seed: int


def train(
    sets: Sequence[Outcomes], *, seed: int = 0, share: float = 1.0, own: bool = False
) -> Training:
    """Return heads trained on the sets that may be used, or on a ``share`` of their questions.

    ``share`` below 1 keeps questions aside, the same ones in every set, by their key. ``own``
    uses every set, and adds a head for each model, as a deployment.

    Raises:
        ConfigError: none of the sets may be used.
    """
    used = [_kept(one, share, seed) for one in sets if own or _licence(one.name)]
    if not used:
        allowed = ", ".join(name for name, _ in ALLOWED)
        message = f"none of the sets may be trained on; allowed: {allowed}"
        raise ConfigError(message)
    prompts = prompts_of([text for one in used for text in one.questions])
    names_all = (*_names(), *(_deployments(used) if own else ()))
    targets = {name: _level([_target(one, name) for one in used], used) for name in names_all}
    made = frame(prompts, len(targets))
    x = stack(made, prompts)
    names: list[str] = []
    rows: list[int] = []
    means: list[float] = []
    for name, target in targets.items():
        known = np.where(~np.isnan(target))[0]
        if len(known) < max(_MIN_ROWS, (not own) * _MIN_SHARE * len(target)):
            continue
        weights, bias = solve(x[known], target[known][:, None], LAMBDA)
        made.weights[:, len(names)], made.bias[len(names)] = weights[:, 0], bias[0]
        names.append(name)
        rows.append(len(known))
        means.append(float(target[known].mean()))
    return Training(
        made=made,
        columns=tuple(names),
        rows=tuple(rows),
        means=tuple(means),
        sets=tuple((one.name, len(one.questions), len(one.models)) for one in used),
        keys=tuple(sorted({digest(key) for one in used for key in one.keys})),
        seed=seed,
    )


def _licence(name: str) -> str | None:
    """Return source and licence of a set that may be trained on."""
    return next((licence for start, licence in ALLOWED if name.startswith(start)), None)


def _deployments(sets: Sequence[Outcomes]) -> tuple[str, ...]:
    """Return the names of the heads of all models."""
    return tuple(f"deployment:{name}" for name in sorted({m for one in sets for m in one.models}))


def _names() -> tuple[str, ...]:
    """Return the names of the heads by size."""
    return tuple(f"size:{tier}" for tier in _TIERS)


def _kept(one: Outcomes, share: float, seed: int) -> Outcomes:
    """Return the part of a set whose keys fall into the share."""
    bound = share * 0x1_0000_0000
    return one.rows([i for i, key in enumerate(one.keys) if digest(f"{seed}:{key}") < bound])


def digest(key: str) -> int:
    """Return the 32-bit digest by which a question's key is kept."""
    return crc32(key.encode())


def _target(one: Outcomes, name: str) -> Matrix:
    """Return what a head should say of each question of a set; NaN where it says nothing."""
    kind, _, which = name.partition(":")
    models = [
        j
        for j, model in enumerate(one.models)
        if which == (tier_of(model) if kind == "size" else model)
    ]
    if not models:
        return np.full(len(one.questions), np.nan)
    return np.asarray(one.scores[:, models].mean(axis=1))


def save(training: Training, folder: Path) -> None:
    """Write weights, model card and the digests of the questions trained on."""
    folder.mkdir(parents=True, exist_ok=True)
    write(training, folder / "heads.bin")
    (folder / "heads.keys").write_bytes(np.asarray(training.keys, dtype="<u4").tobytes())
    (folder / "MODEL_CARD.md").write_text(card(training), encoding="utf-8")


def shipped_heads(weights: Path | None = None) -> tuple[Path, Heads]:
    """Return a file of weights and its heads; ``None``: those that come along.

    Raises:
        ConfigError: the file cannot be used.
    """
    path = SHIPPED if weights is None else weights
    return path, load(path)


def trained_on(weights: Path) -> frozenset[int]:
    """Return the digests of the questions some weights were trained on; empty if not known."""
    path = weights.with_suffix(".keys")
    if not path.is_file():
        return frozenset()
    return frozenset(np.frombuffer(path.read_bytes(), dtype="<u4").tolist())


def _level(targets: Sequence[Matrix], sets: Sequence[Outcomes]) -> Matrix:
    """Return the targets of all sets in one column, each set's mean put to the overall mean.

    How strictly a set is graded is no property of its questions.
    """
    groups = [
        f"{one.name}/{category if one.name in _BY_CATEGORY else ''}"
        for one in sets
        for category in one.categories
    ]
    column = np.concatenate(targets)
    known = ~np.isnan(column)
    if not known.any():
        return column
    place = np.unique(np.asarray(groups)[known], return_inverse=True)[1]
    means = np.bincount(place, column[known]) / np.bincount(place)
    made = column.copy()
    made[known] += column[known].mean() - means[place]
    return made


def write(training: Training, path: Path) -> None:
    """Write the heads as ``metabolic.classify.heads`` reads them."""
    made, size = training.made, 1 << BITS
    squares = made.idf**2
    length_unit = float(squares.max()) / 255 or 1.0
    fields: list[NDArray[np.uint64]] = [
        np.round(squares / length_unit).astype(np.uint64),
        made.known.astype(np.uint64),
    ]
    columns: list[Column] = []
    for j, name in enumerate(training.columns):
        weights = made.weights[:size, j] * made.idf
        unit = float(np.abs(weights).max()) / _MOST or 1.0
        fields.append((np.round(weights / unit) + _ZERO).astype(np.uint64))
        columns.append(
            Column(
                name=name,
                bias=round(float(made.bias[j]), 6),
                unit=unit,
                surface=tuple(_surface(made.weights[size:, j])),
                mean=round(training.means[j], 6),
                rows=training.rows[j],
            )
        )
    header = Header(
        version=2,
        bits=BITS,
        length_unit=length_unit,
        centre=tuple(round(float(v), 6) for v in made.centre),
        spread=tuple(float(f"{1 / v:.6g}") for v in made.spread),
        novelty_mean=round(made.novelty_mean, 6),
        novelty_spread=round(made.novelty_spread, 6),
        columns=tuple(columns),
        sets=tuple(name for name, _, _ in training.sets),
        seed=training.seed,
        edge_words=EDGE_WORDS,
    )
    _store(path, header, fields)


def _surface(weights: Matrix) -> list[float]:
    """Return surface weights with the scale of the fit put in."""
    scale = SURFACE_WEIGHT / len(SURFACE) ** 0.5
    return [float(f"{scale * value:.6g}") for value in weights]


def _store(path: Path, header: Header, fields: list[NDArray[np.uint64]]) -> None:
    """Write header and packed tables."""
    encoded = msgspec.json.encode(header)
    start = MAGIC + len(encoded).to_bytes(4, "little") + encoded
    with path.open("wb") as file:
        file.write(start + b" " * (-len(start) % 8))
        for first in range(0, len(fields), _FIELDS):
            table = np.zeros(1 << header.bits, dtype="<u8")
            for place, field in enumerate(fields[first : first + _FIELDS]):
                table |= field << np.uint64(16 * place)
            file.write(table.tobytes())


def card(training: Training) -> str:
    """Return the model card: data with licences, heads, and what they are not."""
    data = "\n".join(
        f"| {name} | {questions} | {models} | {_licence(name) or 'your own'} |"
        for name, questions, models in training.sets
    )
    heads = "\n".join(
        f"| {name} | {rows} | {mean:.3f} |"
        for name, rows, mean in zip(training.columns, training.rows, training.means, strict=True)
    )
    return _CARD.format(data=data, heads=heads, seed=training.seed, lam=LAMBDA)


_CARD = """\
# Heads that ship with Metabolic

Linear heads on the first and last {{words}} words of a prompt, hashed alone and in pairs (2**17
buckets, 8 bits a weight), and {{n}} surface counts. Made by `metabolic train DIR`, seed {seed},
ridge penalty {lam:g}; nothing was tuned on the figures that are reported. No question or answer is
in the files; `heads.keys` holds 32-bit digests of the questions, so that a benchmark can leave
them out.

## Data

| set | questions | models | source and licence |
|---|---|---|---|
{data}

## Heads

| head | questions | mean |
|---|---|---|
{heads}

`size:…` is the share of models of that size (tiny < 1e9 ≤ small < 7e9 ≤ medium < 20e9 ≤ large
active parameters; those of closed models are assumed) that answered well,
relative to the mean of the question's set, since sets are graded more or less strictly. A size
that too few sets have is left out.

## Limits

English questions of schools, exams, arithmetic and code, asked in 2023 and 2024: on chat, on other
languages and on long documents the heads know next to nothing, and their novelty says so. They say
how a question compares with others, not what a given model will get right: a deployment starts
from them and is soon outweighed by its own labels. Measured by `metabolic bench router` as the
rows of kind `shipped`; see `docs/routing.md`.
""".replace("{{n}}", str(len(SURFACE))).replace("{{words}}", str(EDGE_WORDS))
