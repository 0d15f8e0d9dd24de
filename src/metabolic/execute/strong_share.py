"""Who asks the largest models how often: a share per tenant that forgets slowly."""

__all__ = ["StrongShares"]

from collections import OrderedDict
from collections.abc import Iterator

_MEMORY = 200.0
"""How many requests the share looks back on."""

_MOST_TENANTS = 10_000


class StrongShares:
    """Counts, for each tenant, the share of requests that went to the largest models first.

    A new tenant begins at 0 and approaches its true share over about 200 requests, so a cap binds
    only who asks for much. Those not heard of longest are forgotten beyond 10,000 tenants.
    """

    def __init__(self) -> None:
        """Know nobody yet."""
        self._shares: OrderedDict[str | None, float] = OrderedDict()

    def of(self, tenant: str | None) -> float:
        """Return a tenant's share, in [0, 1]."""
        return self._shares.get(tenant, 0.0)

    def saw(self, tenant: str | None, *, strong: bool) -> None:
        """Take note of one request."""
        before = self._shares.pop(tenant, 0.0)
        self._shares[tenant] = before + (float(strong) - before) / _MEMORY
        if len(self._shares) > _MOST_TENANTS:
            self._shares.popitem(last=False)

    def shares(self) -> Iterator[tuple[str | None, float]]:
        """Iterate over tenants and their shares, for a report."""
        yield from self._shares.items()
