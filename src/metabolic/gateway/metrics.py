"""What ``/metrics`` shows of the traffic; ``docs/metrics.md`` explains every name.

Names follow Prometheus (base units, ``_total``), labels OpenTelemetry's ``gen_ai`` words. Label
values come from the configuration and fixed lists, never from a client's text.
"""

__all__ = ["Metrics"]

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from metabolic.core.attempt import Attempt
from metabolic.core.decision import Speculation
from metabolic.core.receipt import Receipt, Record
from metabolic.gateway.seam import Outcome, Serving
from metabolic.gateway.tally import Counter, Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_SECONDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
)
_OPERATIONS = {
    "chat": ("chat",),
    "completions": ("text_completion",),
    "embeddings": ("embeddings",),
}
"""Dialect → ``gen_ai.operation.name``. Source: OpenTelemetry semantic conventions, GenAI."""

_Cell = list[float]

_MOST_KEPT = 64
"""Requests that are counted together; that takes a quarter of a millisecond."""


class Metrics:
    """The counters of one gateway, in a registry of their own.

    ``prometheus_client`` is imported at the first scrape: whoever is never scraped does without
    it, and everybody starts sooner.
    """

    def __init__(self, runtime: Serving, in_flight: Callable[[], int]) -> None:
        """Make every family; ``in_flight`` is read at each scrape."""
        self._runtime, self._in_flight = runtime, in_flight
        self._families: list[Counter | Histogram] = []
        self._count_requests()
        self._count_answers()
        self._paid, self._power = self.cost.cell(("tokens",)), self.cost.cell(("electricity",))
        self._kept: list[tuple[Record, str, str, int, float]] = []
        self._asked: dict[tuple[str, str, int], _Cell] = {}
        self._made: dict[tuple[str, str, str], tuple[_Cell, _Cell, _Cell, _Cell, _Cell]] = {}

    @cached_property
    def registry(self) -> "CollectorRegistry":
        """Return the registry of every family, made when first asked for."""
        import prometheus_client  # noqa: PLC0415 - only a scrape needs it

        from metabolic.gateway.gauges import Gauges  # noqa: PLC0415 - as above

        made = prometheus_client.CollectorRegistry(auto_describe=False)
        for family in self._families:
            made.register(family)
        made.register(Gauges(self._runtime, self._in_flight))
        prometheus_client.ProcessCollector(registry=made)
        prometheus_client.PlatformCollector(registry=made)
        return made

    def _count_requests(self) -> None:
        """Make the families of requests."""
        operation = ("gen_ai_operation_name",)
        self.requests = self._counter(
            "metabolic_requests",
            "Requests routed, by HTTP status (499: the client left).",
            (*operation, "gen_ai_request_model", "status"),
        )
        self.refused = self._counter(
            "metabolic_refused_requests", "Requests refused before routing.", ("error_type",)
        )
        self.seconds = self._histogram(
            "metabolic_request_duration_seconds",
            "From the request's headers to the answer's last byte.",
            operation,
        )
        self.first_event = self._histogram(
            "metabolic_time_to_first_event_seconds",
            "Until a streamed answer's first event left.",
            operation,
        )

    def _count_answers(self) -> None:
        """Make the families of answers, attempts and bills."""
        self.answers = self._counter(
            "metabolic_answers", "Answers, by who gave them.", ("deployment", "degraded")
        )
        self.deliveries = self._counter(
            "metabolic_deliveries", "Requests, by how their answer was to leave.", ("delivery",)
        )
        self.escalations = self._counter(
            "metabolic_escalations", "Drafts set aside, by who answered.", ("deployment",)
        )
        self.attempts = self._counter(
            "metabolic_attempts",
            "Calls to deployments; outcome is ok or the failure's kind.",
            ("deployment", "role", "outcome"),
        )
        self.tokens = self._counter(
            "metabolic_tokens",
            "Tokens as the engines reported them.",
            ("deployment", "gen_ai_token_type"),
        )
        self.drafted = self._counter(
            "metabolic_speculated_tokens",
            "Tokens that speculation drafted, and those of them that were kept.",
            ("deployment", "outcome"),
        )
        self.speculation = self._counter(
            "metabolic_speculation_decisions",
            "Decisions on who can draft: on, off, or wanted so and not to be had.",
            ("deployment", "outcome"),
        )
        self.energy = self._counter(
            "metabolic_request_energy_joules", "Joules on provisional receipts.", ("origin",)
        )
        self.cost = self._counter(
            "metabolic_request_cost_usd", "Dollars on provisional receipts.", ("kind",)
        )
        self.carbon = self._counter(
            "metabolic_request_carbon_grams", "CO2e on provisional receipts.", ("origin",)
        )

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        """Make and register a counter."""
        family = Counter(name, text, labels)
        self._families.append(family)
        return family

    def _histogram(self, name: str, text: str, labels: tuple[str, ...]) -> Histogram:
        """Make and register a histogram of seconds."""
        family = Histogram(name, text, bounds=_SECONDS, labels=labels)
        self._families.append(family)
        return family

    def refuse(self, code: str) -> None:
        """Count a request that was refused before it was routed."""
        self.refused.add((code,))

    def done(
        self, outcome: Outcome, *, dialect: str, model: str, status: int, seconds: float
    ) -> None:
        """Count a request that was routed, with its attempts and its bill.

        Some are kept and counted together: code that runs many times in a row costs half.
        """
        kept = self._kept
        kept.append((outcome.record, dialect, model, status, seconds))
        if len(kept) >= _MOST_KEPT:
            self._settle()

    def _settle(self) -> None:
        """Count the requests that are kept."""
        kept, self._kept = self._kept, []
        for record, dialect, model, status, seconds in kept:
            self._count(dialect, model, status, seconds)
            for attempt in record.attempts:
                self._attempt(attempt)
            self._bill(record.receipt)
            self.deliveries.add((record.decision.delivery,))
            said = record.decision.speculation
            if said is not None and said.deployment is not None:
                self.speculation.add((said.deployment, _outcome(said)))

    def _count(self, dialect: str, model: str, status: int, seconds: float) -> None:
        """Count one request."""
        asked = (dialect, model, status)
        cell = self._asked.get(asked)
        operation = _OPERATIONS[dialect]
        if cell is None:
            cell = self.requests.cell((*operation, model, str(status)))
            self._asked[asked] = cell
        cell[0] += 1.0
        self.seconds.observe(operation, seconds)

    def began(self, dialect: str, seconds: float) -> None:
        """Count the time a streamed answer took to begin."""
        self.first_event.observe(_OPERATIONS[dialect], seconds)

    def render(self) -> bytes:
        """Return the exposition text."""
        from prometheus_client.exposition import generate_latest  # noqa: PLC0415 - as above

        self._settle()
        return generate_latest(self.registry)

    def content_type(self) -> bytes:
        """Return the media type of what ``render`` gives."""
        from prometheus_client import CONTENT_TYPE_LATEST  # noqa: PLC0415 - as above

        return CONTENT_TYPE_LATEST.encode("ascii")

    def _attempt(self, attempt: Attempt) -> None:
        """Count one call and its tokens."""
        call, failure, usage = attempt.call, attempt.failure, attempt.usage
        made = (call.deployment, call.role, "ok" if failure is None else failure.kind)
        cells = self._made.get(made)
        if cells is None:
            cells = self._made[made] = (self.attempts.cell(made), *self._kinds(call.deployment))
        times, given, said, cached, thought = cells
        times[0] += 1.0
        if usage.input_tokens:
            given[0] += usage.input_tokens
        if usage.output_tokens:
            said[0] += usage.output_tokens
        if usage.cached_tokens:
            cached[0] += usage.cached_tokens
        if usage.reasoning_tokens:
            thought[0] += usage.reasoning_tokens
        drafts = attempt.drafts
        if drafts is not None:
            self.drafted.add((call.deployment, "drafted"), drafts.drafted_tokens)
            self.drafted.add((call.deployment, "accepted"), drafts.accepted_tokens)

    def _kinds(self, name: str) -> tuple[_Cell, _Cell, _Cell, _Cell]:
        """Return the series of a deployment's tokens."""
        cell = self.tokens.cell
        return (
            cell((name, "input")),
            cell((name, "output")),
            cell((name, "cached")),
            cell((name, "reasoning")),
        )

    def _bill(self, receipt: Receipt) -> None:
        """Count the answer; add up joules, dollars and grams; the unknown adds nothing."""
        answer, energy, cost, carbon = receipt.answer, receipt.energy, receipt.cost, receipt.carbon
        if answer is not None:
            self.answers.add((answer.deployment, "true" if answer.degraded else "false"))
            if answer.escalations:
                self.escalations.add((answer.deployment,), answer.escalations)
        if energy is not None:
            self.energy.add((energy.origin,), energy.energy_j)
        if cost.tokens_usd:
            self._paid[0] += cost.tokens_usd
        if cost.electricity_usd:
            self._power[0] += cost.electricity_usd
        if carbon is not None:
            self.carbon.add((carbon.origin,), carbon.carbon_g)


def _outcome(said: Speculation) -> str:
    """Return what became of a decision on drafting."""
    outcome = "on" if said.wanted else "off"
    return outcome if said.applied else f"wanted_{outcome}"
