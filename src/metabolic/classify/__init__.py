"""Looks at a request's text, once, and says what kind of work it is and how hard it may be.

A classifier reads the last user turn and a few cheap facts about the rest and returns
``Signals``. It runs on the request path, so it is synchronous and takes microseconds. It never
chooses a deployment, and a prompt it cannot place is ``other``. Modules here are adapters:
reached by name through ``plugins`` only.
"""

__all__: list[str] = []
