"""A runtime with a shadow: what the gateway passes on, what looks at it, and what is kept of it.

``NAME.shadow.jsonl`` beside the ledger holds one row a line, without any text; a ledger that keeps
nothing keeps no rows either. ``NAME.shadow-texts.jsonl`` is written only with ``keep_texts``.
"""

__all__ = ["ShadowFiles", "Shadowed", "rules_of"]

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec.structs import replace

from metabolic import plugins
from metabolic.config import Config
from metabolic.core.errors import ConfigError, MetabolicError
from metabolic.core.fleet import Deployment, Endpoint, Situation
from metabolic.core.labels import Label
from metabolic.core.ports import Clock
from metabolic.core.relay import Relay
from metabolic.core.request import Ask, Request
from metabolic.core.shadow import ShadowRow
from metabolic.core.signals import Signals
from metabolic.decide.drift import Watch
from metabolic.decide.estimate import Prepared
from metabolic.decide.shadow_totals import Findings, Totals
from metabolic.execute.drive import Driver
from metabolic.execute.lane_state import Feedback
from metabolic.execute.shadow import Heard, Shadows
from metabolic.execute.shadow_rules import Found, ShadowRules
from metabolic.wiring.fleet import UPSTREAM
from metabolic.wiring.meters import Memory
from metabolic.wiring.runtime import Runtime
from metabolic.wiring.shadow_names import candidates_of, reference_of, shadow_references

_log = logging.getLogger("metabolic.shadow")

_MOST_BYTES = 64 * 1024 * 1024
"""Of a longer file only the latest half is kept, at start."""

_REMEMBERED = 10_000
_LEAST_PROPENSITY = Watch(lane="", epsilon=0.0).least_propensity

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(ShadowRow).decode


class ShadowFiles:
    """Where rows and texts of a configuration's shadow lie."""

    def __init__(self, config: Config) -> None:
        """Choose the files, beside what the meters learned."""
        learned = Memory(config).path
        stem = None if learned is None else learned.name.removesuffix("learned.json")
        self.rows, self.texts = (
            None if learned is None else learned.with_name(f"{stem}{name}.jsonl")
            for name in ("shadow", "shadow-texts")
        )

    def append(self, path: Path | None, value: object) -> None:
        """Add a line; blocks. Raises ``OSError``."""
        if path is None:
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(_encode(value) + b"\n")

    def read(self) -> Iterator[ShadowRow]:
        """Yield the rows that are kept; a torn line is none."""
        if self.rows is None or not self.rows.exists():
            return
        with self.rows.open("rb") as file:
            for line in file:
                try:
                    yield _decode(line)
                except msgspec.MsgspecError:
                    continue

    def shorten(self) -> None:
        """Keep the latest half of a file that is too long; blocks. Raises ``OSError``."""
        path = self.rows
        if path is None or not path.exists() or path.stat().st_size <= _MOST_BYTES:
            return
        content = path.read_bytes()[-_MOST_BYTES // 2 :]
        new = path.with_name(f"{path.name}.new")
        new.write_bytes(content.partition(b"\n")[2])
        new.replace(path)


def rules_of(config: Config, fleet: tuple[Deployment, ...]) -> ShadowRules:
    """Return what bounds a shadow. Raises ``ConfigError`` without anybody cheaper to try."""
    table = config.shadow
    reference, candidates = reference_of(table), candidates_of(table, fleet)
    unknown = set(candidates) - {one.name for one in fleet}
    if unknown or not candidates:
        what = f'"{min(unknown)}" is no deployment' if unknown else "nobody is there to be tried"
        message = f"{config.source}: [shadow] candidates: {what}"
        raise ConfigError(message)
    return ShadowRules(
        reference=reference,
        references=shadow_references(table, fleet),
        candidates=candidates,
        sample_ratio=table.sample_ratio,
        concurrency=table.concurrency,
        queue=table.queue,
        busy_in_flight=table.busy_in_flight,
        max_usd_per_day=table.max_usd_per_day,
        max_energy_j_per_day=table.max_energy_j_per_day,
        judge=table.judge,
        keep_texts=table.keep_texts,
        seed=table.seed,
    )


class _Line:
    """The line that a shadow tries out."""

    def __init__(self, runtime: "Shadowed") -> None:
        self._runtime = runtime

    @property
    def driver(self) -> Driver:
        """Return what runs are driven with."""
        return self._runtime.driver

    def classify(self, request: Request, ask: Ask) -> Signals:
        """Return the signals."""
        return self._runtime.classified(request, ask)

    def situation(self) -> Situation:
        """Return the situation now."""
        return self._runtime.situation()

    def prepared(self) -> Prepared:
        """Return the policy in force."""
        return self._runtime.prepared()

    def fleet(self) -> Mapping[str, Deployment]:
        """Return deployments by name."""
        return self._runtime.fleet()

    async def keep(self, found: Found) -> None:
        """Take what was learned."""
        await self._runtime.keep(found)


class Shadowed(Runtime):
    """A runtime whose requests are passed on, and looked at behind their answers."""

    def __init__(
        self, config: Config, *, clock: Clock, say: Callable[[str], None] | None = None
    ) -> None:
        """Make every part; see ``wiring.build``."""
        super().__init__(config, clock=clock, say=say)
        self._now_clock = clock
        self._rules = rules_of(config, self.deployments())
        self._link: Relay = plugins.relay(self._upstream())
        self._files_of_rows = ShadowFiles(config)
        self._totals = Totals()
        self._passed: OrderedDict[str, Found] = OrderedDict()
        self._starting: asyncio.Task[None] | None = None
        self._relayed: Callable[[], Iterable[tuple[str, float]]] = tuple
        self._shadows: Shadows | None = None

    # What the shadow sees of the line.

    @property
    def driver(self) -> Driver:
        """Return what runs are driven with."""
        return self._driver

    def classified(self, request: Request, ask: Ask) -> Signals:
        """Return the signals of a request."""
        return self._classify(request, ask)

    def situation(self) -> Situation:
        """Return the situation now."""
        return self._snapshot.situation()

    def prepared(self) -> Prepared:
        """Return the policy in force."""
        return self._chooser.prepared

    def fleet(self) -> Mapping[str, Deployment]:
        """Return deployments by name."""
        return self._fleet

    # What the gateway needs.

    def relay(self) -> Relay | None:
        """Return what requests are passed on by; ``None`` once they are routed."""
        return self._link if self.config.shadow.observes else None

    def offer(self, heard: Heard) -> None:
        """Take a request that was passed on and answered; never fails, never waits."""
        if self._shadows is not None:
            self._shadows.offer(heard)

    def relayed(self, counters: Callable[[], Iterable[tuple[str, float]]]) -> None:
        """Show these counters among the others."""
        self._relayed = counters

    def findings(self) -> Findings:
        """Return what the shadow has found so far."""
        return self._totals.findings(max_loss_ratio=self.config.shadow.max_loss_ratio)

    def ready(self) -> bool:
        """Say whether a deployment can answer; what is passed on needs none of ours."""
        return self.config.shadow.observes or super().ready()

    async def start(self) -> None:
        """Start the shadow; what is passed on does not wait for the parts beneath it.

        Whatever fails to start there is logged, and requests go on to their upstream.
        """
        loop = asyncio.get_running_loop()
        rules, salt = self._rules, secrets.token_bytes(16)
        self._shadows = Shadows(rules, _Line(self), clock=self._now_clock, salt=salt)
        if not self.config.shadow.observes:
            await super().start()
            return
        self._starting = loop.create_task(self._start_beneath(), name="shadow start")
        self._starting.add_done_callback(_say_how)

    async def _start_beneath(self) -> None:
        """Start what shadows need, and go on from the rows that are kept."""
        await super().start()
        await asyncio.to_thread(self._resume)

    def _resume(self) -> None:
        """Add up the rows that are kept; blocks."""
        self._files_of_rows.shorten()
        for row in self._files_of_rows.read():
            self._totals.add(row)

    async def settled(self) -> None:
        """Wait until the parts beneath are up and no look is under way."""
        if self._starting is not None:
            await asyncio.wait((self._starting,))
        if self._shadows is not None:
            await self._shadows.idle()

    async def aclose(self, *, drain_s: float) -> None:
        """Give looks up, then stop everything."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._shadows is not None:
            await self._shadows.aclose()
        await self._link.aclose()
        await super().aclose(drain_s=drain_s)

    async def reload(self, config: Config) -> None:
        """Take over a configuration; the switch is one of its lines.

        Raises:
            ConfigError: it changes what only a restart can change.
        """
        mine, new = self.config.shadow, config.shadow
        free = {"mode": new.mode, "max_loss_ratio": new.max_loss_ratio, "p_exceed": new.p_exceed}
        if replace(mine, **free) != new:
            message = "of shadow only mode can change while running: restart to change the rest"
            raise ConfigError(message)
        await super().reload(config)

    def feedback(self, given: Feedback, tenant: str | None) -> bool | None:
        """Take a client's label of an answer, also of one that was passed on; blocks."""
        found = self._passed.get(given.id)
        if found is None:
            return super().feedback(given, tenant)
        row = found.row
        if row.tenant != tenant and self.config.keys:
            return None
        return self.observe(
            Label(
                id=row.id,
                at_s=self._now_clock.now_s(),
                tenant=row.tenant,
                lane=row.lane,
                deployment=row.reference,
                correct=given.score if given.correct is None else float(given.correct),
                preference=given.preferred,
            )
        )

    def snapshot_counters(self) -> Iterable[tuple[str, float]]:
        """Return the counters of all parts, the shadow's among them."""
        yield from super().snapshot_counters()
        counted = () if self._shadows is None else self._shadows.counters()
        for name, value in (*self._relayed(), *counted):
            yield f"shadow.{name}", value
        found = self.findings()
        saving, loss = found.saving, found.loss
        if saving is not None:
            yield "shadow.saving_ratio", saving.value
        if saving is not None and saving.low is not None and saving.high is not None:
            yield "shadow.saving_low", saving.low
            yield "shadow.saving_high", saving.high
        if loss is not None:
            yield "shadow.loss_ratio", loss.value

    async def keep(self, found: Found) -> None:
        """Keep a row, and let lanes and certificates learn from its labels."""
        row, files = found.row, self._files_of_rows
        self._totals.add(row)
        self._passed[row.id] = replace(found, texts=())
        if len(self._passed) > _REMEMBERED:
            self._passed.popitem(last=False)
        if found.certified is not None and row.loss is not None:
            p = row.draft_propensity
            if p >= _LEAST_PROPENSITY:
                self.label(found.certified, loss=row.loss, propensity=p)
        await asyncio.to_thread(files.append, files.rows, row)
        for label in found.labels:
            await asyncio.to_thread(self.observe, label)
        if found.texts:
            texts = dict(zip(("question", "draft", "answer"), found.texts, strict=True))
            await asyncio.to_thread(files.append, files.texts, {"id": row.id, **texts})

    def _upstream(self) -> Endpoint:
        """Return where requests are passed on to, with the key that replaces the client's."""
        table = self.config.shadow
        key = None if table.api_key is None else table.api_key.reveal()
        if table.url is not None:
            return Endpoint(deployment=UPSTREAM, base_url=table.url, model="", api_key=key)
        found = next(one for one in self.config.deployments if one.name == table.upstream)
        endpoint = found.endpoint()
        if endpoint is None:
            message = f"{self.config.source}: [shadow] upstream: listens nowhere"
            raise ConfigError(message)
        return Endpoint(
            deployment=endpoint.deployment,
            base_url=endpoint.base_url,
            model=endpoint.model,
            api_key=key or endpoint.api_key,
            engine=endpoint.engine,
        )


def _say_how(task: "asyncio.Task[None]") -> None:
    """Log what kept the parts beneath from starting."""
    if task.cancelled():
        return
    broke = task.exception()
    if broke is not None:
        known = isinstance(broke, MetabolicError)
        reason = str(broke) if known else type(broke).__name__
        _log.error("shadow not started; requests go on", extra={"reason": reason})
