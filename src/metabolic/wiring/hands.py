"""Who may be put to sleep besides the local models: the hands of a configuration.

What waking takes is kept beside the ledger, so that the first decisions after a restart know it.
"""

__all__ = ["Sleepers"]

from collections.abc import Callable, Mapping

import msgspec

from metabolic import plugins
from metabolic.config import Config, DeploymentTable
from metabolic.config.sleep import SleepTable
from metabolic.core.errors import ConfigError
from metabolic.core.fleet import Deployment, Endpoint
from metabolic.core.hardware import HardwareState
from metabolic.core.ports import Engine
from metabolic.core.receipt import Window
from metabolic.decide.drafting import is_twin
from metabolic.decide.provision import Traits
from metabolic.decide.replicas import siblings
from metabolic.execute.keeper import Keeper
from metabolic.execute.meters import Meters
from metabolic.execute.track import Hint
from metabolic.execute.waking import Wake, WakeMeter, Wakes
from metabolic.wiring.meters import Memory

_CPU = "cpu"
_State = tuple[Wake, ...]


class Sleepers:
    """The hands, what is configured of all that may sleep, and what their waking takes."""

    def __init__(
        self,
        config: Config,
        fleet: Mapping[str, Deployment],
        endpoints: Mapping[str, Endpoint],
        *,
        meters: Meters,
        hardware: Callable[[], HardwareState],
    ) -> None:
        """Make the hands; nothing is asked of them.

        Raises:
            ConfigError: a table names no hand, or an option it does not have.
        """
        tables = {one.name: one for one in config.deployments if one.sleep is not None}
        self.engines = {
            name: _made(one, endpoints[name]) for name, one in tables.items() if name in endpoints
        }
        self.deployments = tuple(fleet[name] for name in sorted(self.engines))
        groups = siblings(fleet.values())
        self.hints = {
            name: _hint(one, tables.get(name), groups.get(name))
            for name, one in fleet.items()
            if name in tables or one.kind == "local"
        }
        self.wakes, self._meters, self._hardware = Wakes(), meters, hardware
        self.energy = WakeMeter(meters.sample)
        memory = Memory(config).path
        self._path = None if memory is None else memory.with_name(f"{memory.stem}.wakes.json")
        self.wakes.restore(self._load())

    def rooms(self) -> tuple[tuple[str, int], ...]:
        """Return the free memory of every GPU that says it, in bytes."""
        return tuple(
            (one.name, int(one.memory_total_bytes.value - one.memory_used_bytes.value))
            for one in self._hardware().devices
            if one.memory_total_bytes is not None and one.memory_used_bytes is not None
        )

    def saw(self, window: Window, keeper: Keeper) -> None:
        """Learn from a meter's window in which nobody was answered what its device draws idle.

        Only of a GPU with one deployment: others would be counted in.
        """
        seconds = window.to_s - window.from_s
        name = self._meters.sole(window.meter)
        if window.shares or seconds <= 0.0 or name is None:
            return
        state = dict(keeper.states()).get(name)
        if state is not None:
            self.wakes.stands(name, window.energy_j / seconds, state)

    def save(self) -> bool:
        """Keep what is known of waking; return whether that was possible. Blocks."""
        if self._path is None or not self.wakes.state():
            return False
        new = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new.write_bytes(msgspec.json.encode(self.wakes.state()))
            new.replace(self._path)
        except OSError:
            return False
        return True

    def _load(self) -> _State:
        """Return what was kept; nothing where there is none, or it cannot be read."""
        if self._path is None:
            return ()
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_State)
        except (OSError, msgspec.MsgspecError):
            return ()


def _made(table: DeploymentTable, endpoint: Endpoint) -> Engine:
    """Return the engine of a deployment with its hand. Raises ``ConfigError``."""
    sleep = table.sleep or SleepTable()
    try:
        return plugins.hand(sleep.hand or "", sleep.options, endpoint=endpoint)
    except ConfigError as exc:
        message = f"[[deployment]] {table.name} sleep: {exc}"
        raise ConfigError(message) from exc


def _hint(one: Deployment, table: DeploymentTable | None, group: tuple[str, ...] | None) -> Hint:
    """Return what is configured of one that may sleep."""
    local = one.kind == "local"
    sleep = (table.sleep if table is not None else None) or SleepTable()
    room = "" if local or one.device in {None, _CPU} else one.device or ""
    return Hint(
        traits=Traits(
            group=group[0] if group else "",
            least=sleep.min_awake,
            rate_per_s=sleep.answers_per_s,
            idle_w=sleep.idle_w,
            asleep_w=sleep.asleep_w,
            wake_s=sleep.wake_s,
            wake_j=sleep.wake_j,
        ),
        memory_bytes=sleep.memory_bytes,
        room="elsewhere" if not local and one.device is None else room,
        warm_up=(local and not is_twin(one)) if sleep.warm_up is None else sleep.warm_up,
        idle_s=sleep.idle_s,
    )
