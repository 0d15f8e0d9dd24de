"""Local models: their files, and the servers that run them, started only when asked.

``store`` gets model files (``catalogue`` says which, ``hub`` and ``wheels`` fetch them) and
checks them against pinned digests. ``llamacpp``, ``external`` and ``fake`` are engines: each
turns a ``LaunchSpec`` into an ``Endpoint``. Nothing here knows what a request is, and nothing is
fetched or started at import.
"""
