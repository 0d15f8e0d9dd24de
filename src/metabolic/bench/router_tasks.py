"""Task types and levels of our own labelled prompts: the classifier against two baselines."""

__all__ = ["MAPPING", "labelled", "mapped", "measure"]

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from metabolic import plugins
from metabolic.bench.report import Figure, Row, interval
from metabolic.core.request import Message, Request, Text
from metabolic.core.signals import TASKS, Signals

_FOLDS = 5
_LEVELS = ("simple", "medium", "complex")


MAPPING: Mapping[tuple[str, str], str] = {
    ("llmrouter_tasks", "trivia_qa"): "open_qa",
    ("llmrouter_tasks", "natural_qa"): "open_qa",
    ("llmrouter_tasks", "gsm8k"): "open_qa",
    ("llmrouter_tasks", "math"): "open_qa",
    ("llmrouter_tasks", "mbpp"): "code_generation",
    ("llmrouter_tasks", "human_eval"): "code_generation",
    ("llmrouter_tasks", "commongen"): "text_generation",
    ("mt_bench", "coding"): "code_generation",
    ("mt_bench", "extraction"): "extraction",
    ("mt_bench", "writing"): "text_generation",
    ("mt_bench", "math"): "open_qa",
    ("mt_bench", "stem"): "open_qa",
    ("mt_bench", "humanities"): "open_qa",
    ("arena_hard_2.0", "coding"): "code_generation",
    ("arena_hard_2.0", "creative_writing"): "text_generation",
    ("self_instruct_seed", "classification"): "classification",
}
"""Data set and its label → task type, where the label says it; the rest is not mapped.

Questions with options (MMLU, ARC) are left out: they are a form of examination, not a task type.
"""


def mapped(data: Path) -> list[Row]:
    """Return, for tables of labelled prompts under a folder, how often each mapped task is found.

    A table has the columns ``dataset``, ``prompt`` and ``label``.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415 - an extra, and slow to import

    parquet = cast("Any", pq)
    found: dict[tuple[str, str], list[bool]] = {}
    rules = plugins.classifier("rules")
    for path in sorted(data.rglob("*.parquet")):
        if not {"dataset", "prompt", "label"} <= set(parquet.read_schema(path).names):
            continue
        table = parquet.read_table(path, columns=["dataset", "prompt", "label"])
        for row in table.to_pylist():
            task = MAPPING.get((row["dataset"], row["label"]))
            if task is not None and row["prompt"]:
                said = rules.classify(_request(row["prompt"])).task
                found.setdefault((row["dataset"], task), []).append(said == task)
    return [
        {
            "set": name,
            "kind": "mapped task",
            "class": task,
            "method": "ours",
            "n": len(right),
            "recall": sum(right) / len(right),
        }
        for (name, task), right in sorted(found.items())
    ]


def labelled(part: str = "test") -> tuple[tuple[str, str, str], ...]:
    """Return our own prompts: task, level and text.

    The rules were written with the part ``dev`` in sight; ``test`` is what is reported.
    """
    lines = files("metabolic.bench").joinpath("data", "prompts.jsonl").read_text(encoding="utf-8")
    rows = map(json.loads, lines.splitlines())
    return tuple((row["task"], row["level"], row["prompt"]) for row in rows if row["part"] == part)


def measure() -> tuple[dict[str, Figure], list[Row]]:
    """Return accuracy and macro F1, and a row a class for each method."""
    prompts = labelled()
    rules = plugins.classifier("rules")
    signals = [rules.classify(_request(text)) for _, _, text in prompts]
    tasks = [task for task, _, _ in prompts]
    texts = [text for _, _, text in prompts]
    said = {
        "ours": [one.task for one in signals],
        "majority": [Counter(tasks).most_common(1)[0][0]] * len(tasks),
        "prompt length": _by_length(texts, tasks),
    }
    levels = [level for _, level, _ in prompts]
    graded = {
        "ours": [_level(one) for one in signals],
        "majority": [Counter(levels).most_common(1)[0][0]] * len(levels),
        "prompt length": _by_length(texts, levels),
    }
    rows = [row for name, found in said.items() for row in _rows("task", name, TASKS, tasks, found)]
    rows += [
        row
        for name, found in graded.items()
        for row in _rows("level", name, _LEVELS, levels, found)
    ]
    return {
        "task_accuracy": _accuracy(tasks, said["ours"]),
        "task_macro_f1": _macro(TASKS, tasks, said["ours"]),
        "task_accuracy_majority": _accuracy(tasks, said["majority"]),
        "task_accuracy_length": _accuracy(tasks, said["prompt length"]),
        "level_accuracy": _accuracy(levels, graded["ours"]),
        "level_accuracy_majority": _accuracy(levels, graded["majority"]),
        "level_accuracy_length": _accuracy(levels, graded["prompt length"]),
    }, rows


def _request(text: str) -> Request:
    """Return a prompt as a single turn."""
    turn = Message(role="user", content=(Text(text=text),))
    return Request(id="r", dialect="chat", model="auto", messages=(turn,))


def _level(signals: Signals) -> str:
    """Return the likeliest level."""
    chances = (signals.p_simple, signals.p_medium, signals.p_complex)
    return _LEVELS[chances.index(max(chances))]


def _by_length(texts: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Return the commonest label of prompts about as long, each prompt left out with its fold."""
    bins = [len(text).bit_length() for text in texts]
    said: list[str] = []
    for i, own in enumerate(bins):
        others = [j for j in range(len(texts)) if j % _FOLDS != i % _FOLDS]
        near = Counter(labels[j] for j in others if bins[j] == own)
        said.append((near or Counter(labels[j] for j in others)).most_common(1)[0][0])
    return said


def _accuracy(wanted: Sequence[str], said: Sequence[str]) -> Figure:
    """Return the share that is right."""
    right = sum(a == b for a, b in zip(wanted, said, strict=True))
    share = interval(right, len(wanted))
    return Figure(value=share.value, unit="", n=len(wanted), low=share.low, high=share.high)


def _rows(
    kind: str, method: str, labels: Sequence[str], wanted: Sequence[str], said: Sequence[str]
) -> list[Row]:
    """Return precision, recall and F1 of every class."""
    made: list[Row] = []
    for label in labels:
        n, found, both, f1 = _scores(label, wanted, said)
        made.append(
            {
                "set": "our own prompts",
                "kind": kind,
                "class": label,
                "method": method,
                "n": n,
                "precision": both / found if found else None,
                "recall": both / n if n else None,
                "f1": f1,
            }
        )
    return made


def _scores(label: str, wanted: Sequence[str], said: Sequence[str]) -> tuple[int, int, int, float]:
    """Return how many there are, were said, were both, and F1."""
    n, found = wanted.count(label), said.count(label)
    both = sum(a == b == label for a, b in zip(wanted, said, strict=True))
    return n, found, both, 2 * both / (n + found) if n + found else 0.0


def _macro(labels: Sequence[str], wanted: Sequence[str], said: Sequence[str]) -> Figure:
    """Return the mean F1 of all classes."""
    values = [_scores(label, wanted, said)[3] for label in labels]
    return Figure(
        value=sum(values) / len(values),
        unit="",
        n=len(wanted),
        low=min(values),
        high=max(values),
        unit_note="low and high are the worst and the best class",
    )
