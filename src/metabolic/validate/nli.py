"""An NLI model in ONNX as the reader of claims, in place of words; needs the extra ``nli``.

A folder holds ``model.onnx``, ``tokenizer.json`` and ``nli.json``, which says which output is
which: ``{"entailment": 0, "contradiction": 2}`` (one of them may be missing). The model takes
``input_ids`` and ``attention_mask`` (and ``token_type_ids`` if it names them) of a pair, evidence
before claim, and gives logits. No model ships with Metabolic, and none is ever downloaded here.
"""

__all__ = ["OnnxNli"]

import importlib
import math
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from metabolic.core.errors import ConfigError
from metabolic.validate.judging import Reading
from metabolic.validate.support import Index

_MAX_TOKENS = 512
_WINDOW = 1
_HIGH = 0.5


class _Labels(Struct, frozen=True, forbid_unknown_fields=True):
    """Which output says what; ``None`` where the model has no such output."""

    entailment: int | None = None
    contradiction: int | None = None


class OnnxNli:
    """Reads a claim against the sentences around its likeliest source."""

    def __init__(self, folder: str) -> None:
        """Load the model on one thread.

        Raises:
            ConfigError: the extra is not installed, or the folder is not whole.
        """
        place = Path(folder).expanduser()
        try:
            onnxruntime: Any = importlib.import_module("onnxruntime")
            tokenizers: Any = importlib.import_module("tokenizers")
        except ImportError as exc:
            message = 'nli: needs the extra "nli": pip install "metabolic[nli]"'
            raise ConfigError(message) from exc
        missing = [
            name
            for name in ("model.onnx", "tokenizer.json", "nli.json")
            if not (place / name).is_file()
        ]
        if missing:
            message = f"nli: {place.name} lacks {', '.join(missing)}"
            raise ConfigError(message)
        try:
            self._labels = msgspec.json.decode((place / "nli.json").read_bytes(), type=_Labels)
        except msgspec.DecodeError as exc:
            message = f"nli: nli.json: {exc}"
            raise ConfigError(message) from exc
        options: Any = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(place / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {one.name for one in self._session.get_inputs()}
        self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(place / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=_MAX_TOKENS, strategy="only_first")

    def read(self, claim: str, index: Index) -> Reading:
        """Return what the text says of the claim, by the model."""
        evidence = index.evidence(claim)
        home = evidence.home or 0
        if not index.spans:
            return Reading("no_evidence", None, "nli")
        begin = index.spans[max(0, home - _WINDOW)].begin
        end = index.spans[min(len(index.spans) - 1, home + _WINDOW)].end
        shares = self._shares(index.text[begin:end], claim[:2000])
        entails = _at(shares, self._labels.entailment)
        denies = _at(shares, self._labels.contradiction)
        if denies is not None and denies >= _HIGH:
            return Reading("contradicted", entails or 1 - denies, "nli", begin, end)
        if entails is not None and entails >= _HIGH:
            return Reading("supported", entails, "nli", begin, end)
        return Reading("uncertain", entails, "nli", begin, end)

    def _shares(self, evidence: str, claim: str) -> list[float]:
        """Return the model's probabilities, in the order of its outputs."""
        encoded: Any = self._tokenizer.encode(evidence, claim)
        fields = {
            "input_ids": encoded.ids,
            "attention_mask": encoded.attention_mask,
            "token_type_ids": encoded.type_ids,
        }
        import numpy as np  # noqa: PLC0415 - comes with the extra

        feed: dict[str, Any] = {
            name: np.asarray([values], dtype=np.int64)
            for name, values in fields.items()
            if name in self._inputs
        }
        logits = [float(one) for one in self._session.run(None, feed)[0][0]]
        if len(logits) == 1:
            return [1.0 / (1.0 + math.exp(-logits[0]))]
        top = max(logits)
        grown = [math.exp(one - top) for one in logits]
        return [one / sum(grown) for one in grown]


def _at(shares: list[float], label: int | None) -> float | None:
    """Return the probability of a label; ``None`` when the model has none."""
    return shares[label] if label is not None and label < len(shares) else None
