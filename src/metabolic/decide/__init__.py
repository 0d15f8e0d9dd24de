"""The choice. Pure functions: the same inputs give the same decision, always.

``decide`` picks the stages, ``advance`` says what happens next, ``assess`` says what the machine
can afford, ``provision`` which local models wake or sleep. None of them reads a clock, a file, a
socket, a random source or a logger; the gateway, the bench and replay call the same ones.
"""
