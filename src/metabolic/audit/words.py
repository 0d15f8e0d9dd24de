"""Figures in words: what each is called, and numbers as people read them."""

__all__ = ["WORDS", "amount", "foreseen", "lane_row", "said"]

from metabolic.audit.result import Figure, LaneEvidence

_WHOLE = 100

WORDS = {
    "calls": "calls",
    "failed_calls": "calls that failed",
    "input_tokens": "prompt tokens",
    "cached_tokens": "of them from the prompt cache",
    "output_tokens": "answer tokens",
    "reasoning_tokens": "of them reasoning",
    "cached_ratio": "share of prompt tokens from the cache",
    "spent_usd": "spent",
    "list_price_usd": "at list prices",
    "usd_per_call": "per call",
    "usd_per_month": "per month at this rate",
    "no_model_ratio": "prompts that need no model",
    "recorded_energy_j": "energy by the ledger's receipts",
    "energy_j": "energy",
    "carbon_g": "carbon",
    "net_saving_ratio": "net saving",
    "movable_calls_ratio": "calls that smaller models could have served",
    "foreseen_good_ratio": "good answers a smaller model would have given as well",
    "net_saving_usd_per_month": "net saving per month",
    "break_even_ratio": "saving at which it breaks even",
}


def amount(value: float | None) -> str:
    """Return a number with as many digits as help."""
    if value is None:
        return "not known"
    if value == 0:
        return "0"
    if abs(value) >= _WHOLE:
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.3g}"


def said(one: Figure) -> str:
    """Return a figure with its interval and unit."""
    share, counted = one.unit.startswith("of "), one.unit in {"calls", "tokens"}

    def number(value: float) -> str:
        if counted:
            return f"{value:,.0f}"
        return f"{value:.1%}" if share else amount(value)

    unit = f" {one.unit}"
    spread = ""
    if one.low is not None and one.high is not None:
        spread = f"{number(one.low)} to {number(one.high)}"
    if one.value is None:
        return f"{spread or 'not known'}{unit}"
    return f"{number(one.value)}{unit}" + (f" ({spread})" if spread else "")


def foreseen(one: LaneEvidence) -> str:
    """Return what a learned router foresees of a lane with a model, as a range."""
    if one.foreseen_low is None or one.foreseen_high is None:
        return "–"
    return f"{one.foreseen_low:.0%} to {one.foreseen_high:.0%} (modelled)"


def lane_row(one: LaneEvidence) -> tuple[str, ...]:
    """Return the evidence of one lane and model as text.

    Columns: lane, model, calls, labels, quality lost, adequate, labels needed, what is foreseen.
    """
    lost = (
        "not known"
        if one.loss is None
        else f"{one.loss:.1%} ({one.loss_low:.1%} to {one.loss_high:.1%})"
    )
    needed = "–" if one.labels_needed is None else f"{one.labels_needed:,}"
    calls, labels = f"{one.calls:,}", f"{one.labels:,}"
    return one.lane, one.model, calls, labels, lost, one.adequate, needed, foreseen(one)
