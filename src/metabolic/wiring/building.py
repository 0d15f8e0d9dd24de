"""Which runtime a configuration asks for."""

__all__ = ["build"]

from collections.abc import Callable

from metabolic.config import Config
from metabolic.core.ports import Clock
from metabolic.execute.clock import RealClock
from metabolic.wiring.runtime import Runtime


def build(
    config: Config, *, clock: Clock | None = None, say: Callable[[str], None] | None = None
) -> Runtime:
    """Return the runtime of a configuration; nothing is started.

    ``say`` is told, in a line, where the default models come from.

    Raises:
        ConfigError: the configuration names adapters or models that do not exist.
        StoreError: no source of default models may be used.
    """
    if config.shadow.upstream is not None:
        from metabolic.wiring.shadow import Shadowed  # noqa: PLC0415 - only with a shadow

        return Shadowed(config, clock=clock or RealClock(), say=say)
    return Runtime(config, clock=clock or RealClock(), say=say)
