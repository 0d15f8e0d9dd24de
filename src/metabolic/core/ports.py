"""The seams: what each adapter must offer, and nothing more.

Every seam has a fake that ships in the package and a conformance suite in ``metabolic.testing``.
"""

__all__ = [
    "Actuator",
    "Backend",
    "Classifier",
    "Clock",
    "Domain",
    "Engine",
    "Explains",
    "Ledger",
    "Meter",
    "MeterReading",
    "Retracting",
    "Sensor",
    "Sink",
    "Stream",
    "Validator",
]

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, Protocol, runtime_checkable

from msgspec import Struct

from metabolic.core.actuation import Knob
from metabolic.core.attempt import Attempt, Call, Reply, Verdict
from metabolic.core.fleet import Endpoint, State
from metabolic.core.hardware import HardwareState, Origin
from metabolic.core.obstacle import Obstacle
from metabolic.core.receipt import Record, Settlement
from metabolic.core.request import Request
from metabolic.core.signals import Signals


class Clock(Protocol):
    """Time, so that tests can move it."""

    def now_s(self) -> float:
        """Return seconds since the epoch."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds that never go back, from an arbitrary start."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Sensor(Protocol):
    """Reads part of the machine; called in a thread, never raises."""

    name: str

    def read(self, state: HardwareState) -> HardwareState:
        """Return ``state`` with what this sensor can read filled in; failures leave ``None``."""
        ...

    def close(self) -> None:
        """Give up handles; called once."""
        ...


Domain = Literal["package", "gpu", "board", "node"]
"""What a meter's joules cover. A ``board`` holds the packages and GPUs on it, a ``node`` all there
is; of meters that hold one another only one may be counted. Two of one domain and of different
names are beside each other."""


class MeterReading(Struct, frozen=True, kw_only=True):
    """A meter's counter now: joules since an arbitrary start, with its origin and bounds.

    ``idle_j`` is that part of it which the machine would have drawn idle (``None``: unknown).
    Readings of two ``epoch_id`` values cannot be subtracted: the counter was lost in between.
    ``cpu_s`` are the CPU seconds of each watched process so far, by pid; a process that is gone
    is absent. ``busy_cpu_s`` are those of the whole machine so far.
    """

    at_s: float
    energy_j: float
    origin: Origin
    low_ratio: float = 1.0
    high_ratio: float = 1.0
    busy_cpu_s: float | None = None
    idle_j: float | None = None
    epoch_id: int = 0
    cpu_s: tuple[tuple[int, float], ...] = ()


class Meter(Protocol):
    """Reads one energy meter: the packages, a GPU, a board, a node."""

    name: str
    domain: Domain

    def read(self, pids: tuple[int, ...]) -> MeterReading | None:
        """Return the counter now, with the CPU seconds of ``pids``; ``None`` if it is lost."""
        ...

    def close(self) -> None:
        """Give up handles; called once."""
        ...


@runtime_checkable
class Explains(Protocol):
    """What a sensor or a meter may offer besides: why it reads nothing, or not all it could."""

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return what stood in the way when it last tried to read; empty when nothing did."""
        ...


class Classifier(Protocol):
    """Looks at a request's text, once, on the request path: half a millisecond at most."""

    name: str

    def classify(self, request: Request) -> Signals:
        """Return what is seen; a classifier that cannot say returns neutral signals."""
        ...


class Stream(Protocol):
    """A streamed answer, event by event.

    Items are the upstream's SSE events as the client may have them, each ending in a blank line,
    without the closing ``[DONE]``: verbatim, but for what only Metabolic asked for (usage,
    log-probabilities), which is taken out. An answer that breaks off raises ``Unreachable`` (or
    ``TimedOut``) from the iteration and never just ends.
    """

    def __aiter__(self) -> "Stream":
        """Return itself."""
        ...

    async def __anext__(self) -> bytes:
        """Return the next event or events (one or more whole events)."""
        ...

    def reply(self) -> Reply:
        """Return what was answered so far, parsed; its ``body`` is empty.

        With ``call.keep`` false only usage and finish reasons are known.
        """
        ...

    def logprobs(self) -> Sequence[float]:
        """Return the token log-probabilities of the first choice so far; empty without them."""
        ...

    async def aclose(self) -> None:
        """Stop: the upstream connection is closed, not reused, unless the answer was whole."""
        ...


class Backend(Protocol):
    """Talks to one deployment in its dialect. Raises ``BackendError`` only."""

    async def complete(self, request: Request, call: Call) -> Reply:
        """Return the whole answer; cancelling the task closes the upstream connection."""
        ...

    async def stream(self, request: Request, call: Call) -> Stream:
        """Begin a streamed answer; returns when the upstream's status is known to be 200."""
        ...

    async def healthy(self) -> bool:
        """Say whether the deployment answers its health check; never raises."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


class Validator(Protocol):
    """Judges an answer. ``cost_s`` is its typical CPU time.

    For the decision its module says the same before anything is made: ``check_cost(options)``
    returns a ``CheckCost``. Without that function it counts as nothing.
    """

    name: str
    cost_s: float

    async def check(self, request: Request, attempt: Attempt, reply: Reply) -> Verdict:
        """Return the verdict; a validator with nothing to say is well-formed, no confidence."""
        ...


class Engine(Protocol):
    """A local server that can be started, put to sleep and stopped. Raises ``EngineError``."""

    deployment: str

    @property
    def state(self) -> State:
        """Return where the engine stands; a process that died is ``failed``."""
        ...

    @property
    def endpoint(self) -> Endpoint | None:
        """Return where it listens; ``None`` unless warm."""
        ...

    async def start(self) -> Endpoint:
        """Start or wake it and wait until it is healthy; concurrent calls share one start."""
        ...

    async def sleep(self) -> None:
        """Free its memory and let it draw nothing; ``start`` wakes it."""
        ...

    async def stop(self) -> None:
        """Stop for good; nothing of it is left."""
        ...


class Actuator(Protocol):
    """Sets limits of the machine: power caps and clocks. Called in a thread, never on the loop."""

    name: str

    def knobs(self) -> tuple[Knob, ...]:
        """Return what can be set now; what is missing or forbidden is left out, never raised."""
        ...

    def set(self, knob: str, value: float) -> None:
        """Set one limit. Raises ``ActuatorError``."""
        ...

    def restore(self, knob: str, value: float | None) -> None:
        """Put one limit back; ``None``: there was none. Raises ``ActuatorError``."""
        ...

    def close(self) -> None:
        """Give up handles; limits stay as they are."""
        ...


class Ledger(Protocol):
    """Keeps records and blobs. ``append`` and ``put`` never block and never raise."""

    def append(self, record: Record) -> None:
        """Queue a record; a full queue drops it and counts the drop."""
        ...

    def settle(self, settlement: Settlement) -> None:
        """Queue what the meters said of a record appended before."""
        ...

    def put(self, digest: str, blob: bytes) -> None:
        """Queue a blob (fleet, policy, state, readings) under its digest, once."""
        ...

    def record(self, request_id: str) -> Record | None:
        """Return one record, with its receipt settled if a settlement is stored."""
        ...

    def records(
        self, since_s: float | None = None, until_s: float | None = None
    ) -> Iterator[Record]:
        """Iterate over records by time. Raises ``LedgerError`` when the store cannot be read."""
        ...

    def blob(self, digest: str) -> bytes | None:
        """Return a blob; ``None`` when retention has removed it."""
        ...

    def counters(self) -> Iterable[tuple[str, int]]:
        """Return ``appended``, ``dropped``, ``spooled``, ``failed``, ``queued`` so far."""
        ...

    def close(self) -> None:
        """Write what is queued and close."""
        ...


class Sink(Protocol):
    """Where a streamed answer leaves; written by ``execute``, offered by the gateway."""

    async def write(self, events: bytes) -> None:
        """Send whole SSE events to the client; waits while the client is slow."""
        ...


@runtime_checkable
class Retracting(Protocol):
    """What a sink may offer besides: to tell its client that what it saw is replaced."""

    async def retract(self, shown: bytes) -> None:
        """Tell the client that all it saw of the answer so far is replaced by what follows.

        ``shown`` is the beginning of what it saw: one or more whole events.
        """
        ...
