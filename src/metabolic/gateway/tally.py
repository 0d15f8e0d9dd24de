"""Counters and histograms of one event loop: an addition, no locks.

``prometheus_client``'s own take a lock and a method chain for each increment, 1–2 µs; a request
makes a dozen. These are read by the same thread that writes them, and become its families when
``/metrics`` is asked for. A series is a list, which who adds to it often may keep.
"""

__all__ = ["Counter", "Histogram"]

from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_MAX_SERIES = 10_000
"""Labels come from the configuration, so this is never reached; if it is, memory stays bounded."""


class Counter:
    """Sums by label values; only ever grows. A series that is still 0 is not shown."""

    __slots__ = ("_help", "_labels", "_name", "_sums")

    def __init__(self, name: str, text: str, labels: tuple[str, ...] = ()) -> None:
        """Name it without ``_total``; ``labels`` are the names in order."""
        self._name, self._help, self._labels = name, text, labels
        self._sums: dict[tuple[str, ...], list[float]] = {}

    def cell(self, labels: tuple[str, ...]) -> list[float]:
        """Return the series with these label values: a list of one sum, to be added to."""
        cell = self._sums.get(labels)
        if cell is None:
            cell = [0.0]
            if len(self._sums) < _MAX_SERIES:
                self._sums[labels] = cell
        return cell

    def add(self, labels: tuple[str, ...], amount: float = 1.0) -> None:
        """Add ``amount`` to the series with these label values."""
        self.cell(labels)[0] += amount

    def value(self, labels: tuple[str, ...]) -> float:
        """Return the sum of a series so far."""
        cell = self._sums.get(labels)
        return 0.0 if cell is None else cell[0]

    def collect(self) -> "Iterator[Metric]":
        """Give the family to the registry."""
        from prometheus_client.metrics_core import CounterMetricFamily  # noqa: PLC0415 - scrapes

        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for labels, cell in self._sums.items():
            if cell[0]:
                family.add_metric(labels, cell[0])
        yield family


class Histogram:
    """Counts values by upper bound, by label values."""

    __slots__ = ("_bounds", "_help", "_labels", "_name", "_series")

    def __init__(
        self, name: str, text: str, *, bounds: tuple[float, ...], labels: tuple[str, ...]
    ) -> None:
        """``bounds`` rise; values above the last fall into ``+Inf``."""
        self._name, self._help, self._labels, self._bounds = name, text, labels, bounds
        self._series: dict[tuple[str, ...], list[float]] = {}

    def observe(self, labels: tuple[str, ...], value: float) -> None:
        """Count one value."""
        series = self._series.get(labels)
        if series is None:
            if len(self._series) >= _MAX_SERIES:
                return
            series = self._series[labels] = [0.0] * (len(self._bounds) + 2)
        series[bisect_left(self._bounds, value)] += 1
        series[-1] += value

    def collect(self) -> "Iterator[Metric]":
        """Give the family, its buckets cumulative, to the registry."""
        from prometheus_client.metrics_core import HistogramMetricFamily  # noqa: PLC0415 - scrapes

        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        for labels, series in self._series.items():
            family.add_metric(labels, buckets=self._buckets(series), sum_value=series[-1])
        yield family

    def _buckets(self, series: list[float]) -> list[tuple[str, float]]:
        """Return (upper bound, values up to it)."""
        total, buckets = 0.0, list[tuple[str, float]]()
        for bound, count in zip((*self._bounds, float("inf")), series, strict=False):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else repr(bound), total))
        return buckets
