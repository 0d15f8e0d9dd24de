"""Conformance suites for each seam, and fake servers, for those who extend Metabolic.

``metabolic.testing.backends.check_backend`` and its siblings say whether an adapter keeps its
seam's contract. Nothing in Metabolic itself imports this package.
"""

__all__: list[str] = []
