"""What ``metabolic doctor`` says of what may sleep and of what may be limited."""

__all__ = ["limits", "restored", "sleeping"]

import asyncio
from collections.abc import Iterator

from metabolic import plugins
from metabolic.cli.finding import Finding
from metabolic.config import Config, DeploymentTable
from metabolic.core.errors import MetabolicError
from metabolic.core.ports import Actuator, Explains
from metabolic.wiring.governor import journal_of, restore

_SLEEP, _LIMITS = "sleep", "limits"


def sleeping(config: Config) -> Iterator[Finding]:
    """Yield what each hand says of its engine; nothing is woken or put to sleep."""
    for table in config.deployments:
        if table.sleep is not None and table.sleep.hand is not None:
            yield asyncio.run(_looked(table, table.sleep.hand))


async def _looked(table: DeploymentTable, kind: str) -> Finding:
    """Look at one engine through its hand."""
    endpoint, sleep = table.endpoint(), table.sleep
    if endpoint is None or sleep is None:
        return Finding(area=_SLEEP, name=table.name, value="has no address", status="warn")
    try:
        engine = plugins.hand(kind, sleep.options, endpoint=endpoint)
    except MetabolicError as exc:
        return Finding(area=_SLEEP, name=table.name, value=str(exc), status="fail")
    state: str = await getattr(engine, "look")()  # noqa: B009 - hands look, other engines need not
    said: str | None = getattr(engine, "reason", None)
    words = f"{kind}: {'awake' if state == 'warm' else state}" + (f"; {said}" if said else "")
    return Finding(area=_SLEEP, name=table.name, value=words, status="warn" if said else "ok")


def limits(config: Config) -> Iterator[Finding]:
    """Yield what may be limited, and what an earlier gateway left; nothing is set."""
    left = journal_of(config).read()
    if left:
        words = (
            f"{len(left)} limits are in {journal_of(config).path}: a gateway runs, or was killed"
        )
        yield Finding(
            area=_LIMITS,
            name="left",
            value=words,
            status="note",
            remedy="metabolic doctor --restore",
        )
    if not config.actuators.enabled:
        return
    for table in config.limiters:
        try:
            actuator = plugins.actuator(table.kind, table.options)
        except MetabolicError as exc:
            yield Finding(area=_LIMITS, name=table.kind, value=str(exc), status="fail")
            continue
        yield from _knobs(table.kind, actuator)
        actuator.close()


def _knobs(kind: str, actuator: Actuator) -> Iterator[Finding]:
    """Yield what one actuator can set, and why it cannot."""
    for knob in actuator.knobs():
        now = "free" if knob.now is None else f"{knob.now:g} {knob.unit}"
        words = f"{now}, may be {knob.least:g} to {knob.full:g} {knob.unit}"
        yield Finding(area=_LIMITS, name=f"{kind} {knob.id}", value=words)
    for one in actuator.obstacles() if isinstance(actuator, Explains) else ():
        words = one.what + (f"; {one.remedy}" if one.remedy else "")
        yield Finding(
            area=_LIMITS, name=kind, value=words, status="warn", why=one.kind, remedy=one.remedy
        )


def restored(config: Config) -> Iterator[Finding]:
    """Put back what a killed gateway left, and yield what was done."""
    said = restore(journal_of(config)) or ["nothing was left to put back"]
    for words in said:
        yield Finding(area=_LIMITS, name="restore", value=words)
