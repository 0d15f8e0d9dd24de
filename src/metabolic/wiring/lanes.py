"""The table of lanes with its files: state, pins and labels, all beside the ledger.

``NAME.lanes.json`` is the state, replaced whole; ``NAME.pins.json`` what ``metabolic lanes --pin``
wrote, read again every epoch; ``NAME.labels.jsonl`` one line a label, as ``metabolic calibrate
--from-records`` reads them. A ledger that keeps nothing keeps nothing of these either.
"""

__all__ = ["LaneFiles", "Lanes"]

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import msgspec

from metabolic.config import Config
from metabolic.core.lanes import LanePin, LaneTable
from metabolic.core.ports import Clock
from metabolic.core.receipt import Record
from metabolic.execute.lanes import Feedback, LaneKeeper, LaneRules, LaneState
from metabolic.execute.vigil import Vigil
from metabolic.wiring.meters import Memory

_REMEMBERED = 100_000
_EPOCH_S = 300.0

_encode = msgspec.json.encode

_LOSSES = {"draft": -1.0, "reference": 1.0, "tie": 0.0}
"""What a preference says keeping the draft lost; the words ``calibrate`` knows."""


class LaneFiles:
    """Where state, pins and labels of a configuration's ledger lie."""

    def __init__(self, config: Config) -> None:
        """Choose the files, beside what the meters learned."""
        self._learned = Memory(config).path

    def _path(self, suffix: str) -> Path | None:
        """Return one file's path; ``None``: nothing is kept."""
        if self._learned is None:
            return None
        stem = self._learned.name.removesuffix("learned.json")
        return self._learned.with_name(f"{stem}{suffix}")

    @property
    def labels(self) -> Path | None:
        """The file of labels."""
        return self._path("labels.jsonl")

    def state(self) -> LaneState:
        """Return what was kept; an empty state where nothing can be read."""
        try:
            path = self._path("lanes.json")
            return (
                LaneState()
                if path is None
                else msgspec.json.decode(path.read_bytes(), type=LaneState)
            )
        except (OSError, msgspec.MsgspecError):
            return LaneState()

    def save(self, state: LaneState) -> bool:
        """Keep the state; return whether that was possible."""
        return _replace(self._path("lanes.json"), _encode(state))

    def pins(self) -> tuple[LanePin, ...]:
        """Return the pins that the command wrote."""
        try:
            path = self._path("pins.json")
            return (
                ()
                if path is None
                else msgspec.json.decode(path.read_bytes(), type=tuple[LanePin, ...])
            )
        except (OSError, msgspec.MsgspecError):
            return ()

    def pin(self, pins: tuple[LanePin, ...]) -> bool:
        """Keep these pins; return whether that was possible."""
        return _replace(self._path("pins.json"), _encode(pins))

    def append(self, line: bytes) -> None:
        """Add a label's line. Raises ``OSError``."""
        path = self.labels
        if path is None:
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(line + b"\n")

    def labelled(self) -> list[str]:
        """Return the ids of requests labelled so far, latest last; bounded."""
        try:
            lines = [] if self.labels is None else self.labels.read_bytes().splitlines()
        except OSError:
            return []
        found: list[str] = []
        for line in lines[-_REMEMBERED:]:
            try:
                found.append(str(msgspec.json.decode(line, type=dict[str, object])["id"]))
            except (msgspec.MsgspecError, KeyError):
                continue  # a torn line labels nothing
        return found


def _replace(path: Path | None, content: bytes) -> bool:
    """Replace a file whole; return whether that was possible."""
    if path is None:
        return False
    new = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.write_bytes(content)
        new.replace(path)
    except OSError:
        return False
    return True


class Lanes:
    """The keeper of the table with its files, as the runtime uses it."""

    def __init__(
        self, config: Config, *, clock: Clock, publish: Callable[[LaneTable | None], None]
    ) -> None:
        """Go on from what was kept; ``publish`` is told what table is in force."""
        self._clock, self._publish = clock, publish
        self._files = LaneFiles(config)
        self._labelled: OrderedDict[str, None] = OrderedDict.fromkeys(self._files.labelled())
        self._lock = threading.Lock()
        self.configure(config, publish)

    def configure(self, config: Config, publish: Callable[[LaneTable | None], None]) -> None:
        """Take over a configuration, at start and after a reload."""
        table = config.lanes
        self._publish = publish
        self._own = tuple(one.pin() for one in config.pins)
        state = self._keeper.state() if hasattr(self, "_keeper") else self._files.state()
        self._on = table.mode != "off"
        self._keeper = LaneKeeper(
            LaneRules(
                route=table.mode == "route",
                explore_ratio=table.explore_ratio,
                explore_per_epoch=table.explore_per_epoch,
                min_labels=table.min_labels,
                labels_per_epoch=table.labels_per_epoch,
            ),
            state,
        )
        self._tell()

    def saw(self, record: Record) -> None:
        """Take an answered request; only a list grows."""
        if self._on and self._keeper.saw(record):
            self._tell()

    def feedback(
        self, given: Feedback, tenant: str | None, record: Record | None, *, vigil: Vigil
    ) -> bool | None:
        """Take a label of a request; blocks while it writes.

        ``None``: there is no such request of this tenant; false: it was labelled before.

        Raises:
            OSError: it cannot be kept.
        """
        if record is None or record.ask.tenant != tenant:
            return None
        value = given.score if given.correct is None else float(given.correct)
        with self._lock:
            if given.id in self._labelled:
                return False
            self._files.append(_encode(_row(given, value, record, at_s=self._clock.now_s())))
            self._labelled[given.id] = None
            if len(self._labelled) > _REMEMBERED:
                self._labelled.popitem(last=False)
        if value is not None and self._on:
            self._keeper.label(record, value)
        if given.preferred is not None and record.decision.certified:
            vigil.label(record.signals.lane, loss=_LOSSES[given.preferred])
        return True

    async def run(self) -> None:
        """End an epoch every few minutes."""
        while True:
            await self._clock.sleep(_EPOCH_S)
            await asyncio.to_thread(self.turn)
            self._tell()

    def turn(self) -> None:
        """End the epoch and keep the state; blocks while it writes."""
        self._keeper.turn(self._clock.now_s())
        if self._on:
            self._files.save(self._keeper.state())

    def _tell(self) -> None:
        """Publish the table in force; an operator's file overrules the configuration."""
        pins = {one.lane: one for one in (*self._own, *self._files.pins())}
        self._publish(self._keeper.table(tuple(pins.values())))


def _row(given: Feedback, value: float | None, record: Record, *, at_s: float) -> dict[str, object]:
    """Return a label as a line of the file: no text, and nothing that the ledger does not have."""
    answer = record.receipt.answer
    row: dict[str, object] = {
        "id": given.id,
        "at_s": at_s,
        "tenant": record.ask.tenant,
        "lane": record.signals.lane,
        "deployment": None if answer is None else answer.deployment,
    }
    return row | ({"preference": given.preferred} if value is None else {"correct": value})
