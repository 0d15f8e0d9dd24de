"""What ``/metrics`` shows of the table of lanes, and of who asks the largest models how often.

Series are bounded: the lanes answered most, each deployment of them; the tenants with the largest
shares. Tenants are shown by a hash, in a lane's name too: a metric is read by more people than a
key is known to.
"""

__all__ = ["lane_families", "strong_family", "tenant_hash"]

from collections.abc import Iterable, Iterator
from hashlib import blake2b

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from metabolic.core.lanes import Tally
from metabolic.execute.lane_state import LaneView

_MOST_LANES = 50
_MOST_TENANTS = 50

_Key = tuple[str, str, str]
_Sums = tuple[float, float, float]


def tenant_hash(tenant: str | None) -> str:
    """Return a tenant's name as metrics show it; without keys there is but one.

    >>> tenant_hash(None), len(tenant_hash("alice"))
    ('local', 8)
    """
    return "local" if tenant is None else blake2b(tenant.encode(), digest_size=4).hexdigest()


def lane_families(view: LaneView) -> Iterator[Metric]:
    """Give the counts by lane and deployment, and what became of lanes and exploration."""
    labels = ("lane", "deployment", "variant")
    answers = CounterMetricFamily("metabolic_lane_answers", "Answers by lane.", labels=labels)
    labelled = CounterMetricFamily("metabolic_lane_labels", "Labels by lane.", labels=labels)
    good = GaugeMetricFamily("metabolic_lane_correct_ratio", "Good among labels.", labels=labels)
    for key, (given, rows, correct) in sorted(_bounded(view.tallies).items()):
        answers.add_metric(key, given)
        labelled.add_metric(key, rows)
        if rows:
            good.add_metric(key, correct / rows)
    yield from (answers, labelled, good)
    for name, text, value in (
        ("metabolic_lane_splits", "Lanes split.", view.splits),
        ("metabolic_lane_merges", "Lanes made one again.", view.merges),
        ("metabolic_lane_explored", "Answers of a rival that was tried.", view.explored),
        ("metabolic_lane_left_out", "Labels and lanes beyond the bounds.", view.left_out),
    ):
        yield CounterMetricFamily(name, text, value=value)
    yield GaugeMetricFamily(
        "metabolic_lane_explore_left", "Rivals this epoch may still try.", value=view.explore_left
    )
    yield GaugeMetricFamily("metabolic_lane_epoch", "Epochs so far.", value=view.epoch)
    yield GaugeMetricFamily("metabolic_lane_peers", "Gateways it adds up with.", value=view.peers)
    info = GaugeMetricFamily("metabolic_lane_table_info", "Table in force.", labels=("version",))
    info.add_metric((view.version,), 1.0)
    yield info


def _bounded(tallies: Iterable[Tally]) -> dict[_Key, _Sums]:
    """Return answers, labels and correct ones by lane, deployment and variant.

    An answer counts for a lane and for its parents: do not add up over lanes.
    """
    known = tuple(tallies)
    answered: dict[str, int] = {}
    for one in known:
        answered[one.lane] = answered.get(one.lane, 0) + one.answers
    most = set(sorted(answered, key=lambda lane: (-answered[lane], lane))[:_MOST_LANES])
    found: dict[_Key, _Sums] = {}
    for one in known:
        if one.lane not in most:
            continue
        key = _shown(one.lane), one.deployment, one.variant or ""
        given, rows, correct = found.get(key, (0.0, 0.0, 0.0))
        found[key] = given + one.answers, rows + one.labels, correct + one.correct
    return found


def _shown(lane: str) -> str:
    """Return a lane's name with the tenant's hash in it."""
    label, at, tenant = lane.partition("@")
    if not at or tenant == "local":
        return lane
    place = min([found for mark in "+-" if (found := tenant.find(mark)) > 0], default=len(tenant))
    return f"{label}@{tenant_hash(tenant[:place])}{tenant[place:]}"


def strong_family(shares: Iterable[tuple[str | None, float]]) -> Metric:
    """Give the share of the largest models of the tenants with the largest shares."""
    family = GaugeMetricFamily(
        "metabolic_tenant_strong_share_ratio", "Share of the largest models.", labels=("tenant",)
    )
    known = sorted(shares, key=lambda one: (-one[1], one[0] or ""))
    for tenant, share in known[:_MOST_TENANTS]:
        family.add_metric((tenant_hash(tenant),), share)
    return family
