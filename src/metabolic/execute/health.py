"""Who failed lately, and how long to leave them alone: a circuit breaker per deployment.

*Closed*: all is well. *Open*: nobody is sent there until the pause is over. *Half-open*: one call
is let through; its answer closes the circuit, its failure opens it for twice as long. An upstream
that says when to come back is believed to the second, and that is no failure of its own. What the
upstream refuses (4xx) says nothing about the upstream and never comes here.
"""

__all__ = ["Health"]

from metabolic.core.ports import Clock

_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 60.0
_LONGEST_RETRY_AFTER_S = 300.0
_FAULTS_TO_OPEN = 3
"""Answers of 5xx in a row that open a circuit; one that cannot be reached opens it at once."""


class _Circuit:
    """What is known against one deployment."""

    __slots__ = ("away", "faults", "openings", "trial", "until_s")

    def __init__(self) -> None:
        self.away = False  # nobody was there: that alone a probe can take back
        self.faults = 0
        self.openings = 0
        self.until_s: float | None = None
        self.trial = False


class Health:
    """The circuits of all deployments; those without one are healthy as far as known."""

    def __init__(self, clock: Clock) -> None:
        """Start with everybody healthy as far as known."""
        self._clock = clock
        self._circuits: dict[str, _Circuit] = {}

    def failed(self, deployment: str) -> None:
        """Open the circuit: two seconds at first, doubling up to a minute."""
        circuit = self._circuit(deployment)
        pause_s = min(_FIRST_PAUSE_S * 2.0**circuit.openings, _LONGEST_PAUSE_S)
        circuit.openings += 1
        circuit.away = circuit.faults == 0
        self._open(circuit, pause_s)

    def reached(self, deployment: str) -> None:
        """Close the circuit of one that was only not to be reached: a probe has reached it."""
        circuit = self._circuits.get(deployment) if self._circuits else None
        if circuit is not None and circuit.away:
            del self._circuits[deployment]

    def busy(self, deployment: str, *, retry_after_s: float | None) -> None:
        """Open the circuit for exactly as long as the deployment asked, or two seconds."""
        pause_s = _FIRST_PAUSE_S if retry_after_s is None else retry_after_s
        circuit = self._circuit(deployment)
        circuit.away = False
        self._open(circuit, min(pause_s, _LONGEST_RETRY_AFTER_S))

    def faulty(self, deployment: str) -> None:
        """Count an answer of 5xx; the third in a row opens the circuit."""
        circuit = self._circuit(deployment)
        circuit.faults += 1
        if circuit.trial or circuit.faults >= _FAULTS_TO_OPEN:
            self.failed(deployment)

    def answered(self, deployment: str) -> None:
        """Forget what was held against it."""
        if self._circuits:
            self._circuits.pop(deployment, None)

    def began(self, deployment: str) -> None:
        """Note a call: after a pause the first one is the trial."""
        if self._circuits:
            circuit = self._circuits.get(deployment)
            if circuit is not None and circuit.until_s is not None:
                circuit.trial = self._clock.monotonic_s() >= circuit.until_s

    def ended(self, deployment: str) -> None:
        """Note that a call is over, however; a trial nobody learned from is free again."""
        if self._circuits:
            circuit = self._circuits.get(deployment)
            if circuit is not None:
                circuit.trial = False

    def ok(self, deployment: str) -> bool | None:
        """Return ``False`` while it is to be left alone; ``None``: nothing known against it."""
        if not self._circuits:
            return None
        circuit = self._circuits.get(deployment)
        if circuit is None or circuit.until_s is None:
            return None
        if circuit.trial or self._clock.monotonic_s() < circuit.until_s:
            return False
        return None

    def open(self) -> tuple[str, ...]:
        """Return whose circuits are not closed, by name."""
        return tuple(
            sorted(name for name, one in self._circuits.items() if one.until_s is not None)
        )

    def _circuit(self, deployment: str) -> _Circuit:
        """Return the circuit of a deployment that has done something wrong."""
        return self._circuits.setdefault(deployment, _Circuit())

    def _open(self, circuit: _Circuit, pause_s: float) -> None:
        """Leave it alone for so long; a pause never shortens one that is under way."""
        circuit.trial = False
        until_s = self._clock.monotonic_s() + pause_s
        circuit.until_s = until_s if circuit.until_s is None else max(circuit.until_s, until_s)
