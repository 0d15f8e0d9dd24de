"""What the configured validators take for a draft, for the decision and the receipt."""

__all__ = ["checking_of"]

from collections.abc import Callable
from typing import cast

import msgspec

from metabolic import plugins
from metabolic.config import AdapterTable, Config
from metabolic.core.checking import CheckCost, Checking

_Says = Callable[[msgspec.Struct], CheckCost]


def checking_of(config: Config) -> Checking:
    """Return the sum over the validators, each by what its module's ``check_cost(options)`` says.

    A module without that function says nothing; its validator is named as unknown.

    Raises:
        ConfigError: a validator is not known, or has options that it does not.
    """
    said = [(one.kind, _cost(one)) for one in config.routing.validators]
    known = tuple(one for _, one in said if one is not None)
    every = [one for one in known if not one.gated]
    gated = [one for one in known if one.gated]
    return Checking(
        cpu_s=sum(one.cpu_s for one in every),
        wait_s=sum(one.wait_s for one in every),
        usd=sum(one.usd for one in every),
        gate_cpu_s=sum(one.cpu_s for one in gated),
        gate_wait_s=sum(one.wait_s for one in gated),
        gate_usd=sum(one.usd for one in gated),
        parts=known,
        unknown=tuple(kind for kind, one in said if one is None),
    )


def _cost(table: AdapterTable) -> CheckCost | None:
    """Return what one validator says of itself; ``None``: nothing."""
    module = plugins.load("validators", table.kind)
    says = cast("_Says | None", getattr(module, "check_cost", None))
    if says is None:
        return None
    where = f'validators "{table.kind}"'
    return says(plugins.options(module, table.options, where=where))
