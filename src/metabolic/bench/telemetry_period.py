"""How well the probe keeps its period, alone and beside programs that take every core."""

__all__ = ["Kept", "keep"]

import os
import subprocess
import sys
import time
from itertools import pairwise

from msgspec import Struct

from metabolic.config import Config
from metabolic.wiring.senses import probe_of

_BUSY = "while True: pass"


class Kept(Struct, frozen=True, kw_only=True):
    """The periods of one run, in seconds, and what the probe's thread cost.

    ``busy`` is how many programs ran beside it, ``wanted_s`` the period asked for.
    """

    busy: int
    wanted_s: float
    periods_s: tuple[float, ...]
    missed: int
    poll_cpu_s: float | None


def keep(config: Config, *, seconds: float, busy: bool) -> Kept:
    """Run the gateway's own probe for a while; ``busy`` keeps all cores busy beside it."""
    count = (os.cpu_count() or 1) if busy else 0
    children = [
        subprocess.Popen([sys.executable, "-c", _BUSY], stdin=subprocess.DEVNULL)
        for _ in range(count)
    ]
    probe = probe_of(config)
    try:
        probe.start()
        time.sleep(seconds)
        starts, stats = probe.starts(), probe.stats()
    finally:
        probe.close()
        for child in children:
            child.kill()
        for child in children:
            child.wait()
    return Kept(
        busy=count,
        wanted_s=config.sense.period_s,
        periods_s=tuple(b - a for a, b in pairwise(starts)),
        missed=stats.missed,
        poll_cpu_s=stats.poll_cpu_s,
    )
