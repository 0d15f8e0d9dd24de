"""Adapters that read the machine, each ignorant of the others; ``probe`` polls them all.

Sensors fill a ``HardwareState``; meters count joules. A reader never raises, and what it cannot
read is ``None``, never 0: the absent is not the same as the idle. Readers of ``/sys`` and
``/proc`` take a ``root``, so that recorded machines can be read like the real one. Under ``/``
they keep descriptors open and read with ``pread`` (2 µs instead of 18); under another root they
open each time, so that a file that disappears is seen to be gone.

One device has one name, whichever source reads it: ``cpu``, ``board``, ``node``, and a vendor with
an index for accelerators (``nvidia0``, ``amd0``, ``intel0``, ``jetson0``, ``apple0``). Of several
sources of one signal the first that reads it wins, in the order of ``wiring.senses``: the vendor's
library, the kernel's files, the vendor's tool, an exporter; any of them beats a model. A sensor
that can tell why it reads nothing offers ``obstacles()`` (``core.ports.Explains``) for the doctor.
What may block (a driver, a process, a socket) is read by ``background``, never in ``read``.

Time comes in as ``state.taken_at_s``; files that change slowly, or are dear, are read seldom and
their figures carry their age. Use through ``metabolic.plugins``; no adapter is imported directly.
"""

__all__: tuple[str, ...] = ()
