"""Adapters that read the machine, each ignorant of the others; ``probe`` polls them all.

Sensors fill a ``HardwareState``; meters count joules. A reader never raises, and what it cannot
read is ``None``, never 0: the absent is not the same as the idle. Readers of ``/sys`` and
``/proc`` take a ``root``, so that recorded machines can be read like the real one. Under ``/``
they keep descriptors open and read with ``pread`` (2 µs instead of 18); under another root they
open each time, so that a file that disappears is seen to be gone.

Time comes in as ``state.taken_at_s``; files that change slowly, or are dear, are read seldom and
their figures carry their age. Use through ``metabolic.plugins``; no adapter is imported directly.
"""

__all__: tuple[str, ...] = ()
