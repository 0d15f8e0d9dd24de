"""The words everyone shares: frozen values and the seams between the floors.

A request is one line of values, each made by one layer and never changed:
``Request`` → ``Ask`` + ``Signals`` → ``Decision`` → ``Run`` → ``Receipt`` → ``Record``.
This package holds those values, the Protocols of the seams and the error tree. It may import
msgspec and typing only: no I/O, no clock, no randomness, no behaviour beyond properties.

Conventions: every value is frozen, containers are tuples, absent is ``None`` (unknown is never 0),
quantities are SI floats with the unit last in the name, every physical figure has an ``Origin``.
"""
