"""A hand in memory: wakes and sleeps as told, for tests and for trying a configuration."""

__all__ = ["Fake", "Options", "create"]

from msgspec import Struct

from metabolic.core.errors import EngineError
from metabolic.core.fleet import Endpoint
from metabolic.engines.hand import Handled, NotOffered, Timing


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How it behaves: ``looks`` is how often it is still on its way once it was woken."""

    awake: bool = True
    looks: int = 0
    offers: bool = True
    refuses: bool = False
    timing: Timing = Timing(wake_s=5.0, sleep_s=5.0, look_s=5.0, poll_s=0.001)


def create(options: Options, *, endpoint: Endpoint) -> Handled:
    """Return an engine at ``endpoint`` that only pretends."""
    return Handled(Fake(options), endpoint, options.timing)


class Fake:
    """Counts what is asked of it; ``awake`` may be changed behind its back."""

    def __init__(self, options: Options) -> None:
        """Stand as told."""
        self.awake, self.wakes, self.rests = options.awake, 0, 0
        self._options, self._due = options, 0

    async def wake(self) -> None:
        """Wake, or refuse."""
        self._check()
        self.wakes += 1
        self.awake, self._due = True, self._options.looks

    async def rest(self) -> None:
        """Fall asleep, or refuse."""
        self._check()
        self.rests += 1
        self.awake = False

    async def look(self) -> bool | None:
        """Say where it stands."""
        if not self._options.offers:
            message = "it has no sleep to offer"
            raise NotOffered(message)
        if self.awake and self._due > 0:
            self._due -= 1
            return None
        return self.awake

    def _check(self) -> None:
        """Raise what it is to raise."""
        if not self._options.offers:
            message = "it has no sleep to offer"
            raise NotOffered(message)
        if self._options.refuses:
            message = "it refuses, as told"
            raise EngineError(message)
