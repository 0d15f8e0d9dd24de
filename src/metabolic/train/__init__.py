"""Learns heads from tables of outcomes: who answered which question well, and at what price.

Runs offline, with NumPy and SciPy (extra ``bench``); the gateway never imports it. What it writes
is a small file of weights that ``metabolic.classify`` maps into memory.
"""

__all__: list[str] = []
