"""Dialects: bytes become a ``Request``, answers and errors become bytes.

Sans-I/O and strict: what is refused here never costs an upstream call. Knows nothing of backends;
unknown fields are not looked at and stay in ``Request.body``.
"""

__all__ = ["Dialect", "estimate_tokens", "measure", "needs", "parse", "render"]

from metabolic.edge import render
from metabolic.edge.dialects import Dialect, parse
from metabolic.edge.measure import estimate_tokens, measure, needs
