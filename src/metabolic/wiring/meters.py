"""The machine's energy meters as the configuration wants them, and what they have learned.

Without a ``[[meter]]`` the processor has its own (RAPL; else the package power of an AMD APU; else
the model), a Jetson's board has one, and so has every GPU that a deployment draws from. What the
meters learn is small and is kept beside the ledger, so that the first receipts after a restart are
no worse than the last before it.
"""

__all__ = ["Memory", "meters_of"]

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from metabolic import plugins
from metabolic.config import Config
from metabolic.core.errors import ConfigError
from metabolic.core.fleet import Deployment
from metabolic.core.ports import Clock
from metabolic.core.receipt import Settlement, Window
from metabolic.execute.learning import Learned
from metabolic.execute.meters import Meters, Source

_COVERS = "covers"
_GPU_KINDS = ("nvidia", "amd", "intel")
"""Meters of GPUs; their devices are called by the kind and a number."""

_FILE_LEDGERS = frozenset({"sqlite", "jsonl"})

_State = tuple[tuple[str, Learned], ...]


def meters_of(
    config: Config,
    fleet: Mapping[str, Deployment],
    *,
    clock: Clock,
    settled: Callable[[Settlement], None],
    closed: Callable[[Window], None] | None = None,
) -> Meters:
    """Return the configured meters, or those this machine has; nothing is read before ``start``.

    Raises:
        ConfigError: a ``[[meter]]`` names no adapter, or an option it does not have.
    """
    sources = tuple(_configured(config)) if config.meters else tuple(_shipped(config, fleet))
    names = [one.meter.name for one in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        message = f"{config.source}: [[meter]]: two are named {twice[0]}"
        raise ConfigError(message)
    return Meters(sources, clock=clock, settled=settled, closed=closed, fleet=fleet)


def _configured(config: Config) -> list[Source]:
    """Return the meters of the configuration; ``covers`` is ours, the rest the adapter's."""
    found: list[Source] = []
    for number, table in enumerate(config.meters, start=1):
        options = dict(table.options)
        covers = options.pop(_COVERS, ())
        try:
            devices = msgspec.convert(covers, tuple[str, ...])
        except msgspec.ValidationError as exc:
            message = f"{config.source}: [[meter]] number {number} {_COVERS}: {exc}"
            raise ConfigError(message) from exc
        found.append(Source(meter=plugins.meter(table.kind, options), covers=devices))
    return found


def _shipped(config: Config, fleet: Mapping[str, Deployment]) -> list[Source]:
    """Return the processor's meter, and those of the GPUs that are drawn from."""
    energy, root = config.energy, config.sense.root
    table: dict[str, object] = {
        "root": root,
        "cpu_w_per_core": energy.cpu_w_per_core,
        "cpu_idle_w": energy.cpu_idle_w,
    }
    devices = sorted({one.device for one in fleet.values() if one.device is not None})
    found = [*_processors(table), *_boards(root)]
    for name in devices:
        kind = name.rstrip("0123456789")
        if kind in _GPU_KINDS and name not in {one.meter.name for one in found}:
            found.append(Source(meter=plugins.meter(kind, {"device": name, "root": root})))
    return found


def _processors(table: dict[str, object]) -> list[Source]:
    """Return the processor's meter, and where RAPL is not readable the power of an APU's package.

    RAPL is root's alone on most systems; an APU's power anybody may read. What is read comes
    before what is modelled.
    """
    found = [Source(meter=plugins.meter("rapl", table))]
    rapl = plugins.meter("rapl", table | {"fallback": False})
    if rapl.read(()) is None:
        package = plugins.meter("amd", {"root": table["root"]})
        if package.domain == "package" and package.read(()) is not None:
            found.append(Source(meter=package, covers=("cpu", package.name)))
        else:
            package.close()
    rapl.close()
    return found


def _boards(root: str) -> list[Source]:
    """Return the meter of a Jetson's board; elsewhere none."""
    board = plugins.meter("jetson", {"root": root})
    if board.read(()) is not None:
        return [Source(meter=board)]
    board.close()
    return []


class Memory:
    """Where what was learned is kept: one small file, replaced whole."""

    def __init__(self, config: Config) -> None:
        """Choose the file; a ledger that keeps nothing keeps nothing of this either."""
        self.path: Path | None = None
        if config.ledger.kind not in _FILE_LEDGERS:
            return
        if config.ledger.path is not None:
            self.path = Path(config.ledger.path).expanduser().with_suffix(".learned.json")
        else:
            home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
            self.path = Path(home).expanduser() / "metabolic" / "learned.json"

    def load(self) -> _State:
        """Return what was kept; nothing when there is none, or it cannot be read."""
        if self.path is None:
            return ()
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=_State)
        except (OSError, msgspec.MsgspecError):
            return ()

    def save(self, state: _State) -> bool:
        """Keep it; return whether that was possible. Blocks while it writes."""
        if self.path is None or not state:
            return False
        new = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new.write_bytes(msgspec.json.encode(state))
            new.replace(self.path)
        except OSError:
            return False
        return True
