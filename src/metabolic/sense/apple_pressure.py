"""A Mac's thermal pressure without root: the level that thermald publishes.

``notifyutil -g com.apple.system.thermalpressurelevel`` prints the name and a number: 0 nominal,
1 moderate, 2 heavy, 3 trapping, 4 sleeping. It is finer than ``ProcessInfo.thermalState``.
Source: OSThermalNotification.h of Apple's SDK; stanislas.blog, "macOS thermal throttling".
"""

__all__ = ["Options", "create", "samples"]

import subprocess

from msgspec import Struct

from metabolic.core.errors import SensorError
from metabolic.core.obstacle import Obstacle
from metabolic.sense.apple import AppleSensor, AppleTotals, LiveFeed, ReplayFeed
from metabolic.sense.apple_sample import AppleSample, level_of

_COMMAND = ("/usr/bin/notifyutil", "-g", "com.apple.system.thermalpressurelevel")


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to run, how often, and how long its word counts; ``file`` is a recording of it."""

    command: tuple[str, ...] = _COMMAND
    every_s: float = 2.0
    stale_s: float = 10.0
    file: str | None = None


def samples(data: bytes) -> tuple[AppleSample, ...]:
    """Return the samples of what ``notifyutil`` printed. Raises ``SensorError``."""
    lines = data.decode("utf-8", "replace").splitlines()
    return tuple(_sample(line) for line in lines if line.strip())


def _sample(line: str) -> AppleSample:
    """Return one line's level."""
    word = line.rsplit(None, 1)[-1]
    level = level_of(int(word)) if word.isdigit() else None
    if level is None:
        message = f"no thermal pressure level in {line!r}"
        raise SensorError(message)
    return AppleSample(level=level)


def create(options: Options) -> AppleSensor:
    """Return the sensor."""
    name = "thermal pressure"
    if options.file is not None:
        return AppleSensor(name, ReplayFeed(options.file, samples, every_s=options.every_s))

    def fetch() -> AppleTotals:
        try:
            done = subprocess.run(
                options.command, capture_output=True, check=True, timeout=options.stale_s
            )
        except (OSError, subprocess.SubprocessError) as exc:
            what = f"{options.command[0]} does not answer: {exc}"
            raise SensorError(what, Obstacle(kind="platform", what=what)) from exc
        (sample, *_) = samples(done.stdout) or (AppleSample(),)
        return AppleTotals(sample=sample)

    feed = LiveFeed(
        fetch,
        name=name,
        close=lambda: None,
        every_s=options.every_s,
        stale_s=options.stale_s,
        needs_mac=options.command == _COMMAND,
    )
    return AppleSensor(name, feed)
