"""The text that Prometheus exporters answer; the parser is the core's, shared with the scraper."""

__all__ = ["Sample", "parse"]

from metabolic.core.exposition import Sample, parse
