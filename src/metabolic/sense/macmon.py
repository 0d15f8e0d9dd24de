"""macmon: a Mac's power, temperatures, utilisation and unified memory, without root.

Either ``macmon pipe`` runs here, one JSON object a line, or ``macmon serve`` answers ``/json``.
Its power is a mean over its interval; joules are that times the interval, so derived.
"""

__all__ = ["Options", "create", "samples"]

from msgspec import Struct

from metabolic.sense.apple import AppleSensor, AppleTotals, LiveFeed, ReplayFeed, advanced
from metabolic.sense.apple_sample import AppleSample, from_macmon
from metabolic.sense.apple_stream import SampleStream
from metabolic.sense.node_http import Connection, get

_REMEDY = "install macmon (`brew install macmon`)"
_COMMAND = ("macmon", "pipe")


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to read, and how long a sample counts.

    ``url`` reads a ``macmon serve`` (its ``/json``) instead of running ``command``; ``file`` a
    recording of either, one line every ``every_s``.
    """

    command: tuple[str, ...] = _COMMAND
    url: str | None = None
    every_s: float = 1.0
    stale_s: float = 5.0
    file: str | None = None


def samples(data: bytes) -> tuple[AppleSample, ...]:
    """Return the samples of a recording, one a line. Raises ``SensorError``."""
    return tuple(from_macmon(line) for line in data.splitlines() if line.strip())


def create(options: Options) -> AppleSensor:
    """Return the sensor."""
    if options.file is not None:
        return AppleSensor("macmon", ReplayFeed(options.file, samples, every_s=options.every_s))
    interval = ("-i", str(round(options.every_s * 1e3)))
    stream = SampleStream((*options.command, *interval), end=b"\n", remedy=_REMEDY)
    url, connection = options.url, Connection(timeout_s=options.stale_s)
    totals: AppleTotals | None = None

    def fetch() -> AppleTotals:
        nonlocal totals
        line = stream.next() if url is None else get(url, connection)
        totals = advanced(totals, from_macmon(line), seconds=options.every_s)
        return totals

    feed = LiveFeed(
        fetch,
        name="macmon",
        close=stream.close,
        every_s=options.every_s / 2 if url is None else options.every_s,
        stale_s=options.stale_s,
        needs_mac=url is None and options.command == _COMMAND,
    )
    return AppleSensor("macmon", feed)
