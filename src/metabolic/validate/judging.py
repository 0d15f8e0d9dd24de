"""One claim against several texts: what each says, and which of them counts."""

__all__ = ["Judged", "Lexical", "Reader", "Reading", "judge"]

import re
from typing import Literal, Protocol

from msgspec import Struct

from metabolic.core.attempt import Claim
from metabolic.validate.claims import Span
from metabolic.validate.figures import check_figures
from metabolic.validate.logistic import Logistic
from metabolic.validate.support import FEATURES, Evidence, Index

Status = Literal["supported", "contradicted", "no_evidence", "uncertain"]

_LITTLE = 0.4
"""Share of a claim's content words under which a text says nothing of it."""

_SUPPORTED = 0.5
_CONTRADICTED_P = 0.02
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nobody|neither|nor|without|cannot|\w{2,8}n['’]t|incapable)\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[\"“]([^\"“”\n]{12,300})[\"”]")
_MIN_COVER = 0.8
_RANK: dict[Status, int] = {"contradicted": 2, "supported": 3, "uncertain": 1, "no_evidence": 0}


class Reading(Struct, frozen=True, gc=False):
    """What one text says of one claim: the status, P(supported), and why."""

    status: Status
    p: float | None
    why: str
    begin: int | None = None
    end: int | None = None
    features: tuple[tuple[str, float], ...] = ()


class Judged(Struct, frozen=True, gc=False):
    """A claim, and what was read to judge it."""

    claim: Claim
    features: tuple[tuple[str, float], ...] = ()


class Reader(Protocol):
    """Reads a claim against one text; words alone, or a model."""

    def read(self, claim: str, index: Index) -> Reading:
        """Return what the text says of the claim."""
        ...


class Lexical:
    """Reads by words, numbers, negations and quotations."""

    def __init__(self, model: Logistic) -> None:
        """Score copied runs with ``model``, whose features are ``FEATURES``."""
        self._model = model

    def read(self, claim: str, index: Index) -> Reading:
        """Return what the text says of the claim."""
        evidence = index.evidence(claim)
        p = 1.0 - self._model.p(evidence.features)
        features = tuple(zip(FEATURES, evidence.features, strict=True))
        begin, end = _home(index, evidence)
        figures = check_figures(claim, index, evidence)
        if figures.kind == "contradicts":
            return Reading(
                "contradicted", _CONTRADICTED_P, "number", figures.begin, figures.end, features
            )
        if not _quotes_hold(claim, index):
            return Reading("contradicted", _CONTRADICTED_P, "quote", begin, end, features)
        if _negates(claim, index, evidence):
            return Reading("contradicted", min(p, 0.3), "negation", begin, end, features)
        if evidence.coverage < _LITTLE:
            return Reading("no_evidence", p, "words", None, None, features)
        if p >= _SUPPORTED and figures.kind != "unknown":
            return Reading("supported", p, "words", begin, end, features)
        return Reading(
            "uncertain", p, "number" if figures.kind == "unknown" else "words", begin, end, features
        )


def _home(index: Index, evidence: Evidence) -> tuple[int | None, int | None]:
    """Return the span of the sentence a claim mostly comes from."""
    if evidence.home is None:
        return None, None
    span = index.spans[evidence.home]
    return span.begin, span.end


def _quotes_hold(claim: str, index: Index) -> bool:
    """Say whether every quotation in a claim is in the text, but for space and case."""
    quoted = _QUOTED.findall(claim)
    if not quoted:
        return True
    text = index.plain()
    return all(_plain(one) in text for one in quoted)


def _plain(text: str) -> str:
    """Return a quotation as ``Index.plain`` writes its text, without its closing mark."""
    return " ".join(text.lower().replace("’", "'").split()).strip(" .,;:!?")


def _negates(claim: str, index: Index, evidence: Evidence) -> bool:
    """Say whether one of a claim and its source denies what the other says in the same words."""
    if evidence.home is None or evidence.features[FEATURES.index("cover")] < _MIN_COVER:
        return False
    span = index.spans[evidence.home]
    source = index.text[span.begin : span.end]
    # A long source negates one of many things it says; the claim need not be that one.
    if len(source) > 2 * len(claim) + 40:
        return False
    return bool(_NEGATION.search(claim)) != bool(_NEGATION.search(source))


def judge(claim: str, span: Span, evidence: list[Index], reader: Reader) -> Judged:
    """Return a claim with the text that says most of it: support before contradiction."""
    found = [(reader.read(claim, index), index.source) for index in evidence]
    best, source = max(found, key=lambda one: (_RANK[one[0].status], one[0].p or 0.0))
    return Judged(
        Claim(
            status=best.status,
            from_chars=span.begin,
            to_chars=span.end,
            source=None if best.begin is None else source,
            evidence_from_chars=best.begin,
            evidence_to_chars=best.end,
            p_supported=best.p,
            why=best.why,
        ),
        best.features,
    )
