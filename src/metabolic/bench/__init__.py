"""Benchmarks that run on the user's own machine and say what they show, also if it loses.

Each module exposes ``run(...)`` and returns a ``Report``; ``metabolic bench NAME --json`` prints
it. Baselines run on the same items in the same call, thresholds are chosen on other items than
those reported, and costs are net of everything thrown away. Progress goes to standard error.
"""

__all__: list[str] = []
