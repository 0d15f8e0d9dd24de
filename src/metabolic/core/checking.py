"""What it takes to check a draft: known to the decision before, and on the receipt after."""

__all__ = ["CheckCost", "Checking", "Checks"]

from msgspec import Struct


class CheckCost(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What one validator typically takes for one draft.

    ``cpu_s`` is CPU time on this machine, ``wait_s`` how long one waits besides (a model that is
    asked elsewhere), ``usd`` what that costs. ``gated``: only drafts behind a confidence gate are
    checked, not what is given anyway.
    """

    name: str
    cpu_s: float
    wait_s: float = 0.0
    usd: float = 0.0
    gated: bool = False


class Checking(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What all validators take for one draft: the sums, and ``parts`` by validator.

    ``gate_*`` is what a draft behind a confidence gate takes besides.
    ``unknown`` are validators that do not say; they count as nothing.
    """

    cpu_s: float
    wait_s: float = 0.0
    usd: float = 0.0
    gate_cpu_s: float = 0.0
    gate_wait_s: float = 0.0
    gate_usd: float = 0.0
    parts: tuple[CheckCost, ...] = ()
    unknown: tuple[str, ...] = ()


class Checks(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What the drafts of one request took to check; always modelled, from ``Checking``.

    ``energy_j`` is beside the receipt's energy and never added to it: no meter tells it apart from
    the rest of what the gateway draws. ``usd`` is its electricity, and models that were asked.
    """

    drafts: int
    cpu_s: float
    energy_j: float
    usd: float
