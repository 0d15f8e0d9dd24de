"""Switch, do not switch, or measure first: and why."""

__all__ = ["MIN_GAIN", "unknowns", "verdict"]

from metabolic.audit.result import PolicyOutcome, Verdict
from metabolic.audit.savings import Savings

MIN_GAIN = 0.02
"""A saving below this share is not worth a change."""


def verdict(
    found: Savings | None, outcomes: tuple[PolicyOutcome, ...], *, epsilon: float
) -> Verdict:
    """Return what to do."""
    if found is None:
        return Verdict(
            word="cannot tell",
            sentence="This log has neither dollars nor tokens with known prices.",
        )
    reasons = _reasons(found, outcomes)
    stay = _stay(found, epsilon)
    if stay is not None:
        return Verdict(word="do not switch", sentence=stay, reasons=reasons)
    if found.low >= MIN_GAIN:
        return Verdict(
            word="switch",
            sentence=f"Moving {_lanes(found)} saves {found.low:.0%} to {found.high:.0%} of the "
            f"dollars, net, at a loss of at most {epsilon:.0%} in each lane.",
            reasons=reasons,
        )
    return Verdict(
        word="measure first",
        sentence=f"Between {found.low:.0%} and {found.high:.0%} of the dollars might be saved; "
        "the log does not say what the cheaper answers are worth. Label a sample in the shadow.",
        reasons=reasons,
    )


def _stay(found: Savings, epsilon: float) -> str | None:
    """Return why not to switch; ``None`` where a change might be worth it."""
    if not found.lanes:
        return "No model that was looked at asks less than the ones in use."
    if found.high >= MIN_GAIN:
        return None
    if all(one.loss.low > epsilon for one in found.lanes):
        return (
            f"The labels say that every model looked at loses more than {epsilon:.0%} in every "
            "lane."
        )
    return (
        f"Even at best the models looked at would save {found.high:.1%} net, under "
        f"the {MIN_GAIN:.0%} that a change is worth."
    )


def _lanes(found: Savings) -> str:
    return ", ".join(f"{one.lane} to {one.model}" for one in found.certain) or "nothing"


def _reasons(found: Savings, outcomes: tuple[PolicyOutcome, ...]) -> tuple[str, ...]:
    """Return what a reader should know before the figures."""
    made: list[str] = []
    if found.blind is not None and found.kept is not None and found.blind - found.kept > MIN_GAIN:
        made.append(
            "Moving everything to the cheapest model looked at: a sum that forgets the prompt "
            f"cache promises {found.blind:.0%}, with the cache it is {found.kept:.0%}. Cached "
            "prompt tokens already cost a fraction."
        )
    if found.lanes and not any(one.loss.labels for one in found.lanes):
        made.append(
            "No answer of a smaller model to these requests was judged: the upper bound takes all "
            "of them for good enough, the lower none."
        )
    single = [one for one in outcomes if one.policy.startswith("always ") and one.loss is not None]
    if found.value and single:
        best = max(single, key=lambda one: one.saving_ratio or 0.0)
        models = {one.model for one in found.likely}
        lanes = {one.lane for one in found.lanes}
        if len(models) == 1 and {one.lane for one in found.likely} == lanes:
            made.append(
                f"One model for everything does as well ({best.policy}): no router is needed."
            )
    return tuple(made)


_NO_QUALITY = "Whether answers were good: only labels say so."
_JOULES = (
    "Joules: vendors do not publish them; ranges are modelled from the size of the models. They "
    "are by attribution, as an equally elastic always-large service would show; on a fixed fleet "
    "of one's own, 0–5 % of them return at the meter unless replicas sleep."
)


def unknowns(
    *, tokens: bool, text: bool, hashes: bool, labels: bool, sessions: bool, times: bool
) -> tuple[str, ...]:
    """Return what cannot be known from such a log, in sentences."""
    quality = "Whether other people would label alike." if labels else _NO_QUALITY
    made = [quality, _JOULES, "What traffic would do after a change: cheap things are asked more."]
    if not tokens:
        made.append("Tokens, and so dollars and joules: this log does not hold them.")
    if not text:
        made.append("Task types, difficulty, what needs no model: the log has no text.")
    if not hashes:
        made.append("Repeats and loops: the log has neither text nor hashes of it.")
    if not sessions:
        made.append("Sessions: nothing in the log links calls; each counts as its own.")
    if not times:
        made.append("Rates and months: the log has no times.")
    return tuple(made)
