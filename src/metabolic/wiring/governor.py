"""What limits the machine, from the configuration; off unless it is asked for."""

__all__ = ["governor_of", "journal_of", "restore"]

import logging
import os
from collections.abc import Callable
from pathlib import Path

from metabolic import plugins
from metabolic.config import Config
from metabolic.core.errors import ActuatorError, ConfigError
from metabolic.core.metabolic import MetabolicState
from metabolic.core.ports import Clock
from metabolic.execute.governor import Governor, Journal, put_back

_LOG = logging.getLogger("metabolic.wiring")
_SAME_BIRTH_S = 2.0


def journal_of(config: Config) -> Journal:
    """Return the file that says how limits stood."""
    import psutil  # noqa: PLC0415 - only where limits are set, or were left behind

    return Journal(_place(config), pid=os.getpid(), born_s=psutil.Process().create_time())


def _place(config: Config) -> Path:
    """Return where that file is."""
    given = config.actuators.state_path
    if given is not None:
        return Path(given).expanduser()
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "metabolic" / "limits.json"


def restore(journal: Journal) -> list[str]:
    """Put back what a gateway that was killed left behind; return what was done, in words.

    What a gateway that still runs has set is left to it.
    """
    saved = journal.read()
    if not saved:
        return []
    owner = journal.owner()
    if owner is not None and owner[0] != os.getpid() and _runs(*owner):
        return [f"limits are held by the gateway with pid {owner[0]}, which runs"]
    said, left = put_back(saved, plugins.actuator)
    try:
        if left:
            journal.write(left)
        else:
            journal.clear()
    except (ActuatorError, OSError) as exc:
        said.append(str(exc))
    return said


def _runs(pid: int, born_s: float) -> bool:
    """Say whether that very process still runs."""
    import psutil  # noqa: PLC0415 - as above

    try:
        return abs(psutil.Process(pid).create_time() - born_s) < _SAME_BIRTH_S
    except psutil.Error:
        return False


def governor_of(
    config: Config, *, clock: Clock, state: Callable[[], MetabolicState]
) -> Governor | None:
    """Return what keeps the limits; ``None``: it is off, or another gateway has them.

    What a killed gateway left is put back here.

    Raises:
        ConfigError: an ``[[actuator]]`` does not exist, or has no such option.
    """
    if not config.actuators.enabled and not _place(config).exists():
        return None
    journal = journal_of(config)
    for said in restore(journal):
        _LOG.warning("limits of an earlier run", extra={"reason": said})
    if not config.actuators.enabled:
        return None
    if journal.read():
        return None
    made = [
        (one.kind, one.options, plugins.actuator(one.kind, one.options)) for one in config.limiters
    ]
    if not made:
        message = f"{config.source}: [actuators] enabled: there is no [[actuator]] to set"
        raise ConfigError(message)
    return Governor(made, config.actuators.limits(), journal, clock=clock, state=state)
