"""macOS powermetrics: power, energy, utilisation and thermal pressure; needs root.

The program runs once and writes a property list every ``every_s``; a thread reads it.
Source: powermetrics(1).
"""

__all__ = ["Options", "create", "samples"]

from msgspec import Struct

from metabolic.sense.apple import AppleSensor, AppleTotals, LiveFeed, ReplayFeed, advanced
from metabolic.sense.apple_sample import AppleSample, from_plists, from_text
from metabolic.sense.apple_stream import SampleStream

_REMEDY = (
    "let the gateway run `sudo -n powermetrics` (a line in sudoers), or install macmon, which "
    "needs no root"
)


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to run it, and how long a sample counts.

    ``file`` reads a recording instead, one sample every ``every_s``; property lists or text.
    """

    command: tuple[str, ...] = ("sudo", "-n", "powermetrics", "-s", "cpu_power,gpu_power,thermal")
    every_s: float = 1.0
    stale_s: float = 5.0
    file: str | None = None


def samples(data: bytes) -> tuple[AppleSample, ...]:
    """Return the samples of a recording, whichever of its two formats it is in.

    Raises:
        SensorError: it is neither.
    """
    begin = data.lstrip(b"\0 \r\n\t")[:64]
    if begin.startswith((b"<?xml", b"<plist", b"<!DOCTYPE", b"bplist")):
        return from_plists(data)
    return from_text(data.decode("utf-8", "replace"))


def create(options: Options) -> AppleSensor:
    """Return the sensor."""
    if options.file is not None:
        return AppleSensor(
            "powermetrics", ReplayFeed(options.file, samples, every_s=options.every_s)
        )
    interval = ("-f", "plist", "-i", str(round(options.every_s * 1e3)))
    stream = SampleStream((*options.command, *interval), end=b"</plist>", remedy=_REMEDY)
    totals: AppleTotals | None = None

    def fetch() -> AppleTotals:
        nonlocal totals
        for sample in from_plists(stream.next()):
            totals = advanced(totals, sample, seconds=options.every_s)
        return totals or AppleTotals(sample=AppleSample())

    feed = LiveFeed(
        fetch,
        name="powermetrics",
        close=stream.close,
        every_s=options.every_s / 2,
        stale_s=options.stale_s,
        needs_mac=options.command == Options().command,
    )
    return AppleSensor("powermetrics", feed)
