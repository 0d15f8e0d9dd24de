"""The bill. Pure functions: the router predicts with the formulas it bills with.

Tokens, joules and grams in; dollars, joules per call and receipts out. Lies under ``decide`` so
that an estimate and a receipt can never use different arithmetic.
"""
