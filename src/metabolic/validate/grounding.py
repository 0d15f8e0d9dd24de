"""Holds each claim of an answer against the evidence the request carries.

A claim is *contradicted* where its numbers are others than the evidence's, where it negates what
the evidence affirms in the same words, or where a quotation is not in it; *supported* where its
words stand in the evidence in long runs; *no_evidence* where the evidence has few of its words;
else *uncertain*. Evidence is the request's own context and, if configured, a fact base. Words can
show that something was copied, not that a paraphrase is true: docs/validation.md says on which
kinds of text this is at chance, and an NLI model can be put in its place (``nli``).
"""

__all__ = ["GroundingValidator", "Options", "check_cost", "create"]

import asyncio
from collections import OrderedDict

from msgspec import Struct

from metabolic.core.attempt import Attempt, Claim, Reply, Signal, Verdict
from metabolic.core.checking import CheckCost
from metabolic.core.request import Request
from metabolic.validate.claims import claims
from metabolic.validate.context import context_of, question_of
from metabolic.validate.facts import FactBase
from metabolic.validate.judging import Judged, Lexical, judge
from metabolic.validate.nli import OnnxNli
from metabolic.validate.shipped import copied
from metabolic.validate.support import Index

_INDEXES_KEPT = 8
_IN_THREAD_CHARS = 20_000
_FACTS = 3

_CLAIMS = 8
_NLI_S, _LOOKED_UP_S = 0.05, 1e-3
"""CPU seconds of a claim that a base-sized NLI model reads (as published for a processor), and of
one that is looked up in the fact base (own measurement)."""


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where evidence is, and what a contradiction does.

    ``facts`` are files or folders of plain text, kept in an index at ``facts_index`` (in memory
    without one). ``contradiction``: ``doubt`` asks a further stage, ``report`` only says so.
    ``nli`` is a folder with an ONNX model and its tokenizer (needs the extra ``nli``).
    ``signals`` records what was read of each answer, for calibration.
    """

    facts: tuple[str, ...] = ()
    facts_index: str | None = None
    contradiction: str = "doubt"
    nli: str | None = None
    signals: bool = False


class GroundingValidator:
    """Judges the claims of an answer; silent where there is nothing to hold them against."""

    name = "grounding"
    cost_s = 2e-3

    def __init__(self, options: Options) -> None:
        """Open the fact base and the NLI model, if there are any."""
        self._options = options
        self._facts = FactBase(options.facts, options.facts_index) if options.facts else None
        self._nli = OnnxNli(options.nli) if options.nli else None
        self._lexical = Lexical(copied())
        self._indexes: OrderedDict[str, Index] = OrderedDict()

    async def check(self, request: Request, attempt: Attempt, reply: Reply) -> Verdict:
        """Return the verdict on the first choice's claims; no confidence without evidence."""
        del attempt
        silent = Verdict(well_formed=True, validator=self.name)
        if request.dialect == "embeddings" or not reply.choices or not reply.choices[0].text:
            return silent
        context = context_of(request)
        if not context and self._facts is None:
            return silent
        text = reply.choices[0].text
        if len(context) + len(text) > _IN_THREAD_CHARS or self._nli is not None:
            found = await asyncio.to_thread(self._judge, context, question_of(request), text)
        else:
            found = self._judge(context, question_of(request), text)
        return self._verdict(found) if found else silent

    def _judge(self, context: str, question: str, text: str) -> list[Judged]:
        """Return every claim with the best evidence found for it."""
        own = [self._index(context)] if context else []
        found: list[Judged] = []
        for span in claims(text):
            claim = text[span.begin : span.end]
            evidence = own + self._looked_up(f"{claim} {question}" if not own else claim)
            if evidence:
                found.append(judge(claim, span, evidence, self._nli or self._lexical))
        return found

    def _looked_up(self, query: str) -> list[Index]:
        """Return passages of the fact base that speak of a claim."""
        if self._facts is None:
            return []
        return [Index(text, source) for source, text in self._facts.search(query, limit=_FACTS)]

    def _index(self, context: str) -> Index:
        """Return the index of a context, kept for its next answer."""
        index = self._indexes.pop(context, None) or Index(context)
        self._indexes[context] = index
        if len(self._indexes) > _INDEXES_KEPT:
            self._indexes.popitem(last=False)
        return index

    def _verdict(self, found: list[Judged]) -> Verdict:
        """Return one verdict for all claims: as sure as the least sure of them."""
        listed = tuple([one.claim for one in found])
        wrong = [one for one in listed if one.status == "contradicted"]
        known = [one.p_supported for one in listed if one.p_supported is not None]
        return Verdict(
            well_formed=True,
            doubtful=bool(wrong) and self._options.contradiction == "doubt",
            confidence=min(known) if known else None,
            reasons=tuple(dict.fromkeys(f"contradicted: {one.why}" for one in wrong)),
            validator=self.name,
            claims=listed,
            signals=_signals(found, listed) if self._options.signals else (),
        )


def _signals(found: list[Judged], listed: tuple[Claim, ...]) -> tuple[Signal, ...]:
    """Return what was read of the claims on average, of the least supported, and the counts."""
    count = len(found)
    sums: dict[str, float] = {}
    for one in found:
        for name, value in one.features:
            sums[name] = sums.get(name, 0.0) + value
    read = [Signal(name=f"ground_{name}", value=total / count) for name, total in sums.items()]
    known = [one.p_supported for one in listed if one.p_supported is not None]
    if known:
        read.append(Signal(name="ground_p_least", value=min(known)))
        read.append(Signal(name="ground_p_mean", value=sum(known) / len(known)))
    for status in ("supported", "contradicted", "no_evidence", "uncertain"):
        share = sum(one.status == status for one in listed) / count
        read.append(Signal(name=f"claims_{status}", value=share))
    return (*read, Signal(name="claims", value=float(count)))


def check_cost(options: Options) -> CheckCost:
    """Return what a draft typically takes: eight claims read by words, or by a model."""
    cpu_s = GroundingValidator.cost_s
    if options.nli is not None:
        cpu_s += _CLAIMS * _NLI_S
    if options.facts:
        cpu_s += _CLAIMS * _LOOKED_UP_S
    return CheckCost(name="grounding", cpu_s=cpu_s)


def create(options: Options) -> GroundingValidator:
    """Return the validator. Raises ``ConfigError`` when facts or model cannot be read."""
    return GroundingValidator(options)
