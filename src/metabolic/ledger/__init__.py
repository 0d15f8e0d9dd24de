"""The ledger: one record per request, kept off the request path, lost never silently.

``sqlite`` is the default, ``jsonl`` an append-only file for other tools, ``memory`` the fake. All
three queue what they are given, write it in batches in a thread of their own, count whatever could
not be kept, and keep no text: a record has none, and ``codec`` takes out the two places (an
upstream's error message, a validator's detail) where some could have slipped in.
"""
