"""Questions with exact answers: our own, and sampled ones from data beside the checkout."""

__all__ = [
    "SHOTS",
    "SYSTEM",
    "Grade",
    "Question",
    "half_of",
    "own_questions",
    "prompt",
    "sampled_questions",
]

import json
import random
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast
from zlib import crc32

import msgspec
from msgspec import Struct

from metabolic.core.errors import ConfigError
from metabolic.core.request import Message, Text

Grade = Literal["exact", "number", "regex", "choice"]

SYSTEM = "You answer questions. Reply with only the short answer, no explanation."

SHOTS = (
    ("What is the capital of Italy?", "Rome"),
    ("What is 3 + 4?", "7"),
    ('Is the sentiment of this review positive or negative? "I hated it."', "negative"),
    ('Text: "Bus 12 leaves at 9:05." When does the bus leave?', "9:05"),
    ("Which animal barks?\n(A) cat\n(B) dog\n(C) cow", "B"),
)
"""Worked examples before each question, the same for every model: they ask for brevity."""

_MAX_CHARS = 400
"""Longest sampled question: on a CPU the prompt is most of the cost."""

_KINDS: Mapping[str, Grade] = {
    "exact": "exact",
    "number": "number",
    "label": "choice",
    "any-of list": "exact",
    "mixeval free-form": "exact",
    "mixeval multiple-choice": "choice",
}
"""``answer_kind`` of the data → how it is graded; other kinds need more than a comparison."""

_COLUMNS = frozenset({"dataset", "item_id", "question", "answer", "task", "answer_kind", "extra"})

_NON_COMMERCIAL = frozenset({"ag_news_test"})
"""Sets that may not be used outside research."""

_LETTERS = "ABCDEFGHIJ"


class Question(Struct, frozen=True, kw_only=True):
    """One question.

    ``answers`` are the right ones: any of them (``exact``, ``number``), a pattern (``regex``) or
    one of ``choices`` (``choice``). ``kind`` is the author's own word for the type of question.
    """

    id: str
    set: str
    kind: str
    text: str
    grade: Grade
    answers: tuple[str, ...]
    choices: tuple[str, ...] = ()


def half_of(question_id: str, seed: int) -> int:
    """Return 0 (thresholds are chosen on these questions) or 1 (and reported on these)."""
    return crc32(f"{seed}:{question_id}".encode()) & 1


class _Own(Struct, frozen=True, kw_only=True):
    """A line of our own file; ``answer`` is one answer, several, or ``right|wrong|wrong``."""

    id: str
    kind: str
    task: str
    grade: Grade
    question: str
    answer: str | tuple[str, ...]


def own_questions() -> tuple[Question, ...]:
    """Return the questions that come along, all of our own writing."""
    text = resources.files("metabolic.bench").joinpath("data/questions.jsonl").read_bytes()
    rows = msgspec.json.Decoder(_Own).decode_lines(text)
    return tuple(_own(row) for row in rows)


def _own(row: _Own) -> Question:
    """Return one of our own questions."""
    answers = (row.answer,) if isinstance(row.answer, str) else row.answer
    choices: tuple[str, ...] = ()
    if row.grade == "choice":
        choices = tuple(answers[0].split("|"))
        answers = choices[:1]
    return Question(
        id=f"own/{row.id}",
        set="own",
        kind=row.kind,
        text=row.question,
        grade=row.grade,
        answers=answers,
        choices=choices,
    )


def prompt(question: Question) -> tuple[Message, ...]:
    """Return the conversation that asks a question: instruction, worked examples, question."""
    turns = [("system", SYSTEM)]
    for asked, answered in SHOTS:
        turns += [("user", asked), ("assistant", answered)]
    turns.append(("user", question.text))
    return tuple(Message(role=role, content=(Text(text=text),)) for role, text in turns)


def sampled_questions(data: Path, *, count: int, seed: int) -> tuple[Question, ...]:
    """Return about ``count`` questions from the tables under ``data``, evenly from each set.

    Only sets that can be graded by comparison and may be used commercially; long questions and
    repeated ones are left out.

    Raises:
        ConfigError: there are no such tables, or the ``bench`` extra is not installed.
    """
    rows: dict[str, list[Question]] = {}
    seen: set[str] = set()
    for row in _rows(data):
        question = _sampled(row)
        if question is None or question.text in seen:
            continue
        seen.add(question.text)
        rows.setdefault(question.set, []).append(question)
    if not rows:
        message = f"{data}: no table of questions with exact answers"
        raise ConfigError(message)
    each = -(-count // len(rows))
    chosen: list[Question] = []
    for name in sorted(rows):
        pool = sorted(rows[name], key=lambda one: one.id)
        random.Random(f"{seed}:{name}").shuffle(pool)
        chosen += pool[:each]
    return tuple(chosen)


def _rows(data: Path) -> Iterable[Mapping[str, Any]]:
    """Yield the rows of every fitting table under ``data``, with the labels of label sets."""
    try:
        import pyarrow.parquet as pq  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as exc:
        message = "--data needs pyarrow: pip install 'metabolic[bench]'"
        raise ConfigError(message) from exc
    for path in sorted(data.rglob("*.parquet")):
        if "-nc" in path.stem:
            continue
        parquet = cast("Any", pq)
        if not set(parquet.read_schema(path).names) >= _COLUMNS:
            continue
        table = parquet.read_table(path, columns=sorted(_COLUMNS)).to_pylist()
        labels = _labels(table)
        for row in table:
            yield row | {"labels": labels.get(row["dataset"], ())}


def _labels(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Return the labels that occur in each set whose answers are labels."""
    found: dict[str, set[str]] = {}
    for row in rows:
        if row["answer_kind"] == "label":
            found.setdefault(row["dataset"], set()).add(row["answer"])
    return {name: tuple(sorted(labels)) for name, labels in found.items()}


def _sampled(row: Mapping[str, Any]) -> Question | None:
    """Return a row as a question; ``None`` when it is not one we can ask and grade."""
    grade = _KINDS.get(row["answer_kind"])
    if grade is None or row["dataset"] in _NON_COMMERCIAL:
        return None
    extra: dict[str, Any] = json.loads(row["extra"]) if row["extra"] else {}
    text: str = row["question"].strip()
    answers = (cast("str", row["answer"]),)
    choices: tuple[str, ...] = row["labels"]
    if row["answer_kind"] == "mixeval multiple-choice":
        choices = tuple(map(str, extra["options"]))
        if len(choices) > len(_LETTERS):
            return None
        answers = (_option(choices, row["answer"]),)
        text = _with_options(_with_context(text, extra), choices)
    elif row["answer_kind"] in {"any-of list", "mixeval free-form"}:
        answers = tuple(map(str, json.loads(row["answer"])))
        text = _with_context(text, extra)
    elif grade == "choice":
        what = row["task"].replace("_", " ")
        text = f"Which {what} fits this text: {', '.join(choices)}?\n{text}"
    if len(text) > _MAX_CHARS or not any(answers):
        return None
    return Question(
        id=f"{row['dataset']}/{row['task']}/{row['item_id']}",
        set=row["dataset"],
        kind=row["task"],
        text=text,
        grade=grade,
        answers=answers,
        choices=choices,
    )


def _option(options: tuple[str, ...], answer: str) -> str:
    """Return the right option; an answer is a JSON list with its number, from 0."""
    numbers: list[int] = json.loads(answer)
    return options[numbers[0]]


def _with_context(text: str, extra: Mapping[str, Any]) -> str:
    """Put the passage a question is about before it."""
    context = extra.get("context")
    return f'Text: "{context}"\n{text}' if context else text


def _with_options(text: str, options: tuple[str, ...]) -> str:
    """Put lettered options after a question."""
    lines = (f"({letter}) {one}" for letter, one in zip(_LETTERS, options, strict=False))
    return "\n".join((text, *lines))
