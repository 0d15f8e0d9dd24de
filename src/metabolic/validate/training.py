"""Trains the shipped weights from data whose licence allows it: ``python -m … DATA OUT``.

Answers: ZeroEval (Apache-2.0) on GSM8K, MATH level 5 and CRUX, graded by its own rules; only
questions whose text hashes into the lower half are read, so that the upper half stays unseen. The
general lane: answers of the default fleet to the package's own questions (a ``--save`` file of
``metabolic bench cascade``). Copied runs: sentences of texts under MIT and Apache-2.0, cut and
spliced here. RouteLLM's answers, QAGS, AggreFact, FEVER and HaluEval's labels are never read.
"""

__all__ = ["main", "seen", "spliced"]

import hashlib
import importlib
import json
import random
import sys
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from metabolic.validate.claims import sentences
from metabolic.validate.features import NAMES, lane_of, signals_of
from metabolic.validate.support import FEATURES, Index

SEED = 20261122
_ROWS_A_SET = 9000
_SETS = ("gsm", "math_l5", "crux")
_DOCUMENTS = 700
_READING = frozenset(["words", "triples", "runs", "jump", "novel"])
"""What the scorer of copied runs reads; chosen among eight subsets with the development part of
CNN/DM, CLIFF, XSum, FEVER and HaluEval in sight, fitted without them."""

_FILLERS = ("also", "now", "reportedly", "however", "still", "later", "recently", "he", "they")

_DIRECTION = {
    **dict.fromkeys(("equations_bad", "bad_share", "declines", "loops", "lp_low_share"), -1),
    **dict.fromkeys(("lp_mean", "lp_min", "lp_q05", "lp_q10", "lp_q25", "lp_q50"), 1),
}
"""Signals that may only speak one way: a sum that is wrong never makes an answer better."""

_BOOK_SETS = frozenset(
    ["own", "bbh", "gsm8k_test", "frugalgpt_headlines_test", "frugalgpt_headlines_train"]
)
"""Sets of questions whose labels may teach: our own, MIT, Apache-2.0."""

Row = tuple[tuple[float, ...], int, str]
"""Features, label, group (the question)."""


def seen(question: str) -> bool:
    """Say whether training may read a question: the lower half by hash."""
    return hashlib.sha256(question.strip().encode()).digest()[0] < 128  # noqa: PLR2004


def _library(name: str) -> Any:  # noqa: ANN401 - these libraries are typed too loosely to help
    """Return a library of the extra ``bench``, imported when it is used."""
    return importlib.import_module(name)


def _answers(data: Path) -> dict[str, list[Row]]:
    """Return rows of the lanes with public answers."""
    pq = _library("pyarrow.parquet")

    lanes: dict[str, list[Row]] = {}
    columns = ["query", "response", "score"]
    for name in _SETS:
        path = data / "router" / "zeroeval" / f"{name}.parquet"
        rows: list[dict[str, Any]] = pq.read_table(path, columns=columns).to_pylist()
        random.Random(SEED).shuffle(rows)
        kept = 0
        for row in rows:
            question, answer = str(row["query"]), str(row["response"] or "")
            if not seen(question) or kept == _ROWS_A_SET:
                continue
            kept += 1
            features = signals_of(question, answer)
            lane = lane_of(question, answer)
            lanes.setdefault(lane, []).append((features, int(row["score"] >= 0.5), question))  # noqa: PLR2004
    return lanes


def _own(book: Path) -> list[Row]:
    """Return rows of the default fleet's own answers; the texts of the questions are not in it."""
    rows: list[Row] = []
    sets: dict[str, str] = {}
    for line in book.read_text(encoding="utf-8").splitlines():
        one: dict[str, Any] = json.loads(line)
        if one["type"] == "question":
            sets[one["id"]] = one["set"]
        elif one["type"] == "answer" and one["logprobs"] and sets[one["question"]] in _BOOK_SETS:
            features = signals_of("", str(one["text"]), one["logprobs"])
            rows.append((features, int(one["right"]), str(one["question"])))
    return rows


def _fitted(x: Any, y: Any, *, leaves: int, rounds: int) -> Any:  # noqa: ANN401 - as above
    """Return trees fitted to rows and labels.

    A signal with one value (or none, as log-probabilities of stored texts) cannot be split on.
    """
    np, ensemble = _library("numpy"), _library("sklearn.ensemble")
    plain = x.copy()
    for column in range(plain.shape[1]):
        values = plain[:, column]
        if len(np.unique(values[~np.isnan(values)])) < 2:  # noqa: PLR2004
            plain[:, column] = 0.0
    return ensemble.HistGradientBoostingClassifier(
        max_iter=rounds,
        learning_rate=0.08,
        max_leaf_nodes=leaves,
        min_samples_leaf=30,
        l2_regularization=5.0,
        early_stopping=False,
        monotonic_cst=[_DIRECTION.get(name, 0) for name in NAMES],
        random_state=SEED,
    ).fit(plain, y)


def _grown(rows: list[Row], *, leaves: int, rounds: int) -> tuple[Any, float, dict[str, float]]:
    """Return the fitted trees and their figures, out of fold by question."""
    np = _library("numpy")
    linear = _library("sklearn.linear_model")
    metrics = _library("sklearn.metrics")
    selection = _library("sklearn.model_selection")

    x: Any = np.array([row[0] for row in rows])
    y: Any = np.array([row[1] for row in rows])
    groups = [row[2] for row in rows]

    raw: Any = np.zeros(len(y))
    for train, test in selection.GroupKFold(5).split(x, y, groups):
        raw[test] = _fitted(x[train], y[train], leaves=leaves, rounds=rounds).decision_function(
            x[test]
        )
    scale: Any = linear.LogisticRegression(C=1e6).fit(raw[:, None], y)
    p: Any = scale.predict_proba(raw[:, None])[:, 1]
    figures = {
        "auroc_out_of_fold": float(metrics.roc_auc_score(y, raw)),
        "brier_out_of_fold": float(metrics.brier_score_loss(y, p)),
        "right": float(y.mean()),
        "slope": float(scale.coef_[0, 0]),
        "offset": float(scale.intercept_[0]),
    }
    return _fitted(x, y, leaves=leaves, rounds=rounds), float(len(rows)), figures


def _plain(model: Any, figures: dict[str, float]) -> dict[str, Any]:  # noqa: ANN401 - sklearn is untyped
    """Return fitted trees as plain arrays, in the form of ``trees.Trees``."""
    trees: list[list[list[float]]] = []
    for (grown,) in model._predictors:  # noqa: SLF001 - there is no public way to the nodes
        nodes = grown.nodes
        leaf = [bool(one) for one in nodes["is_leaf"]]
        split = zip(leaf, nodes["value"], nodes["num_threshold"], strict=True)
        trees.append(
            [
                [
                    -1 if end else int(one)
                    for end, one in zip(leaf, nodes["feature_idx"], strict=True)
                ],
                [_short(value if end else cut) for end, value, cut in split],
                [int(one) for one in nodes["left"]],
                [int(one) for one in nodes["right"]],
                [int(one) for one in nodes["missing_go_to_left"]],
            ]
        )
    return {
        "names": list(NAMES),
        "base": float(model._baseline_prediction.ravel()[0]),  # noqa: SLF001 - as above
        "trees": trees,
        "slope": figures["slope"],
        "offset": figures["offset"],
    }


def _short(value: float) -> float:
    """Return a number with five digits; a split at infinity (NaN against the rest) stays finite."""
    return float(f"{min(max(value, -1e9), 1e9):.5g}")


def spliced(documents: Iterable[str], *, seed: int) -> list[tuple[str, str, int]]:
    """Return (text, claim, wrong): sentences cut (right), and spliced or altered (wrong)."""
    lot = random.Random(seed)
    made: list[tuple[str, str, int]] = []
    texts = [text for text in documents if len(sentences(text)) >= 4]  # noqa: PLR2004
    for text, following in pairwise(texts):
        whole = f"{text} {following}"
        words = [whole[one.begin : one.end].split() for one in sentences(whole)]
        long = [one for one in words if 7 <= len(one) <= 50]  # noqa: PLR2004
        if len(long) < 5:  # noqa: PLR2004
            continue
        for _ in range(6):
            first, second = lot.sample(long, 2)
            foreign = lot.choice(texts).split()
            wrong = lot.random() < 0.5  # noqa: PLR2004
            claim = _altered(first, second, foreign, lot) if wrong else _cut(first, lot)
            made.append((whole, " ".join(claim), int(wrong)))
    return made


def _cut(words: list[str], lot: random.Random) -> list[str]:
    """Return a sentence without one clause, its end, or one word: still borne out."""
    inner = range(5, len(words) - 4)
    commas = [at for at in inner if words[at].endswith(",")]
    how = lot.random()
    if how < 0.4 and commas:  # noqa: PLR2004
        at = lot.choice(commas)
        return words[: at + 1] if lot.random() < 0.5 else words[at + 1 :]  # noqa: PLR2004
    if how < 0.6 and len(words) > 10:  # noqa: PLR2004
        return words[: len(words) - lot.randint(1, len(words) // 3)]
    if how < 0.8:  # noqa: PLR2004
        at = lot.randrange(len(words))
        return words[:at] + words[at + 1 :]
    if how < 0.9:  # noqa: PLR2004 - a word of one's own does no harm
        at = lot.randrange(len(words))
        return [*words[:at], lot.choice(_FILLERS), *words[at:]]
    return words


def _altered(
    first: list[str], second: list[str], foreign: list[str], lot: random.Random
) -> list[str]:
    """Return a sentence whose end, or a few words, come from another one or another text."""
    if lot.random() < 0.5:  # noqa: PLR2004
        return first[: lot.randint(3, len(first) - 3)] + second[lot.randint(2, len(second) - 3) :]
    source = foreign if lot.random() < 0.6 else second  # noqa: PLR2004
    at, taken = lot.randrange(len(first)), lot.randrange(len(source))
    size = lot.randint(1, 4)
    return first[:at] + source[taken : taken + size] + first[at + size :]


def _texts(data: Path) -> list[str]:
    """Return the texts that sentences are taken from, shuffled: MIT and Apache-2.0 only."""
    pq = _library("pyarrow.parquet")
    path = data / "hallucination" / "labelled.parquet"
    table: list[dict[str, Any]] = pq.read_table(
        path, columns=["dataset", "context", "response"]
    ).to_pylist()
    found: set[str] = set()
    for row in table:
        if row["dataset"] == "halueval_general":
            found.add(str(row["response"]))
        elif str(row["dataset"]).startswith("refchecker") and row["context"]:
            found.add(str(row["context"]))
    texts = sorted(found)
    random.Random(SEED).shuffle(texts)
    return texts


def _copied(data: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the logistic model of copied runs and its figures."""
    np = _library("numpy")
    linear = _library("sklearn.linear_model")
    metrics = _library("sklearn.metrics")

    texts = _texts(data)
    rows = spliced(texts[: 4 * _DOCUMENTS], seed=SEED)[: 6 * _DOCUMENTS]
    indexes: dict[str, Index] = {}
    x: Any = np.array(
        [indexes.setdefault(text, Index(text)).evidence(claim).features for text, claim, _ in rows]
    )
    y: Any = np.array([wrong for _, _, wrong in rows])
    half = len(y) // 2
    # All the others are set to their mean: what they add here does not carry over to real texts.
    for column, name in enumerate(FEATURES):
        if name not in _READING:
            x[:, column] = x[:, column].mean()
    means, scales = x.mean(axis=0), x.std(axis=0) + 1e-3
    scaled = (x - means) / scales
    fit = linear.LogisticRegression(C=0.05, max_iter=1000)
    held = float(
        metrics.roc_auc_score(
            y[half:], fit.fit(scaled[:half], y[:half]).decision_function(scaled[half:])
        )
    )
    fit.fit(scaled, y)
    model = {
        "names": list(FEATURES),
        "means": [round(float(one), 6) for one in means],
        "scales": [round(float(one), 6) for one in scales],
        "weights": [round(float(one), 6) for one in fit.coef_[0]],
        "offset": round(float(fit.intercept_[0]), 6),
    }
    return model, {"rows": float(len(y)), "auroc_other_half": held}


def main(data: str, out: str, book: str | None = None) -> None:
    """Train everything and write ``answers.json``, ``copied.json`` and ``figures.json``."""
    place = Path(out)
    figures: dict[str, dict[str, float]] = {}
    model, figures["copied"] = _copied(Path(data))
    (place / "copied.json").write_bytes(msgspec.json.encode(model))
    lanes = _answers(Path(data))
    if book is not None:
        lanes["general"] = _own(Path(book))
    made: list[dict[str, Any]] = []
    for name, rows in sorted(lanes.items()):
        if len(rows) < 500:  # noqa: PLR2004 - too few to say anything
            continue
        large = len(rows) > 5000  # noqa: PLR2004
        grown, count, found = _grown(rows, leaves=8 if large else 4, rounds=90 if large else 40)
        made.append({"name": name, "rows": int(count), "trees": _plain(grown, found)})
        figures[name] = {"rows": count, **found}
    body = msgspec.json.encode(made)
    version = f"answers-{hashlib.sha256(body).hexdigest()[:8]}"
    (place / "answers.json").write_bytes(msgspec.json.encode({"version": version, "lanes": made}))
    (place / "figures.json").write_bytes(msgspec.json.format(msgspec.json.encode(figures)))


if __name__ == "__main__":
    main(*sys.argv[1:])
