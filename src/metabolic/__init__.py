"""Metabolic: answer every query with the least hardware that answers it well, and prove it."""

__version__ = "0.1.0"
