"""The table of lanes as the runtime uses it: the keeper, its files, and who may label what.

Whoever judges answers (feedback, shadow answers, a judge) makes a ``Label`` with
``decide.evidence_labels.label_of`` and gives it to ``Runtime.observe``. A label is written down
before it is counted, so nothing that was said is lost with the process.
"""

__all__ = ["Lanes"]

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from uuid import uuid4

from msgspec.structs import replace

from metabolic.config import Config
from metabolic.core.errors import LedgerError
from metabolic.core.labels import Label
from metabolic.core.lanes import LanePin, LaneTable
from metabolic.core.ports import Clock, Ledger
from metabolic.core.receipt import Record
from metabolic.decide.evidence_labels import label_of
from metabolic.execute.lane_state import Feedback, LaneRules, LaneView, Peer
from metabolic.execute.lanes import LaneKeeper
from metabolic.execute.vigil import Vigil
from metabolic.wiring.lane_files import LaneFiles

_REMEMBERED = 100_000
_EPOCH_S = 300.0
_BEHIND_S = 900.0
"""How far before the last turn a request may have begun that was not counted in it."""

_LOSSES = {"draft": -1.0, "reference": 1.0, "tie": 0.0}
"""What a preference says keeping the draft lost; the words ``calibrate`` knows."""


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
        self._on = table.mode != "off"
        rules = LaneRules(
            route=table.mode == "route",
            explore_ratio=table.explore_ratio,
            explore_per_epoch=table.explore_per_epoch,
            min_labels=table.min_labels,
            labels_per_epoch=table.labels_per_epoch,
            epoch_s=_EPOCH_S,
        )
        if hasattr(self, "_keeper"):
            self._keeper.configure(rules)
        else:
            state = self._files.state()
            if not state.replica:
                state = replace(state, replica=uuid4().hex[:16])
            self._keeper = LaneKeeper(rules, state)
        self._keeper.meet(self._files.peers())
        self._tell()

    def recover(self, ledger: Ledger) -> None:
        """Take what a crash kept from being counted, from the ledger; blocks while it reads."""
        if not self._on:
            return
        since_s = self._keeper.state().at_s or self._clock.now_s()  # 0: no epoch has ended yet
        try:
            self._keeper.recover(ledger.records(since_s - _BEHIND_S))
        except LedgerError:
            return  # it will say so itself; the counts go on without

    def saw(self, record: Record) -> None:
        """Take an answered request; only a list grows."""
        if self._on and self._keeper.saw(record):
            self._tell()

    def observe(self, label: Label) -> bool:
        """Take a label; false: there was one of that name already. Blocks while it writes.

        Raises:
            OSError: it cannot be kept.
        """
        with self._lock:
            if label.name in self._labelled:
                return False
            self._files.append((label,))
            self._labelled[label.name] = None
            if len(self._labelled) > _REMEMBERED:
                self._labelled.popitem(last=False)
        if self._files.labels is None and self._on:
            self._keeper.label(label)  # nowhere to read it from at the turn
        return True

    def feedback(
        self, given: Feedback, tenant: str | None, record: Record | None, *, vigil: Vigil
    ) -> bool | None:
        """Take a client's label of a request; blocks while it writes.

        ``None``: there is no such request of this tenant; false: it was labelled before.

        Raises:
            OSError: it cannot be kept.
        """
        if record is None or record.ask.tenant != tenant:
            return None
        label = label_of(
            record,
            at_s=self._clock.now_s(),
            by="user_feedback",
            correct=given.score if given.correct is None else float(given.correct),
            preference=given.preferred,
        )
        if not self.observe(label):
            return False
        if given.preferred is not None and record.decision.certified:
            vigil.label(record.signals.lane, loss=_LOSSES[given.preferred])
        return True

    def view(self) -> LaneView:
        """Return the table for who watches it."""
        return self._keeper.view()

    async def run(self) -> None:
        """End an epoch every few minutes."""
        while True:
            await self._clock.sleep(_EPOCH_S)
            await asyncio.to_thread(self.turn)
            self._tell()

    def turn(self) -> None:
        """End the epoch, keep the state, share it; blocks while it reads and writes."""
        if not self._on:
            return
        keeper, files = self._keeper, self._files
        labels, end = files.labels_since(keeper.state().labels_bytes)
        for one in labels:
            keeper.label(one)
        keeper.meet(files.peers())
        keeper.turn(self._clock.now_s(), labels_bytes=end)
        keeper.table(self._pins())  # made here, and not while requests wait
        state = keeper.state()
        files.save(state)
        files.share(Peer(replica=state.replica, epoch=state.epoch, tallies=state.tallies))

    def _tell(self) -> None:
        """Publish the table in force."""
        self._publish(self._keeper.table(self._pins()))

    def _pins(self) -> tuple[LanePin, ...]:
        """Return the pins in force; an operator's file overrules the configuration."""
        pins = {one.lane: one for one in (*self._own, *self._files.pins())}
        return tuple(pins.values())
