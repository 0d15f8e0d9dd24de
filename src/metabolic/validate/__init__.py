"""Judges answers: is the shape right, and how sure is the model of what it wrote.

A validator looks at one whole answer and says three things: whether it may be given at all
(``well_formed``), whether another model should have a try first (``doubtful``), and how sure it
is (``confidence``). It reads text and calls nobody; ``execute`` merges what several say with
``decide.evidence.merge``. Modules here are adapters: reached by name through ``plugins`` only.
"""

__all__: list[str] = []
